import { Inngest, NonRetriableError, referenceFunction, RetryAfterError } from "inngest"
import { connect } from "inngest/connect"
import { connectedUrl } from "../../src/core/http-app.ts"
import { quiet } from "./sdk-apps.ts"
import { sdkSuite } from "./sdk-suite.ts"

// In a process of its own: a connection has a thread, and its apps are not called.
sdkSuite(
  [
    {
      name: "inngest 4, connected",
      checkpoints: true,
      linked: true,
      NonRetriable: NonRetriableError,
      RetryAfter: RetryAfterError,
      reference: (functionId, appId = "demo") => referenceFunction({ appId, functionId }),
      async start(id, home, functions) {
        const client = new Inngest({ id, ...home, logger: quiet })
        const made = functions.map(({ handler, triggers, ...options }) =>
          client.createFunction({ ...options, triggers: [...triggers] } as never, handler as never),
        )
        const connection = await connect({ apps: [{ client, functions: made }], handleShutdownSignals: [] })
        return {
          url: connectedUrl,
          send: (events) => client.send(events as never),
          close: () => connection.close(),
        }
      },
    },
  ],
  ["cloud"],
)
