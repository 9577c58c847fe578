import { Inngest, NonRetriableError, referenceFunction, RetryAfterError } from "inngest"
import { serve as serveExpress } from "inngest/express"
import { createServer as nodeAdapter } from "inngest/node"
import { listen, quiet, type Sdk, withExpress } from "./sdk-apps.ts"
import { sdkSuite } from "./sdk-suite.ts"

// The two majors do not get along in one process: each has a file, and so a process, of its own.
const sdks: readonly Sdk[] = [
  {
    name: "inngest 4, Express",
    checkpoints: true,
    linked: true,
    NonRetriable: NonRetriableError,
    RetryAfter: RetryAfterError,
    reference: (functionId) => referenceFunction({ appId: "demo", functionId }),
    async start(id, home, functions) {
      const client = new Inngest({ id, ...home, logger: quiet })
      const made = functions.map(({ handler, triggers, ...options }) =>
        client.createFunction({ ...options, triggers: [...triggers] } as never, handler as never),
      )
      return listen(withExpress(serveExpress({ client, functions: made })), client)
    },
  },
  {
    name: "inngest 4 without checkpoints, node",
    checkpoints: false,
    linked: true,
    NonRetriable: NonRetriableError,
    RetryAfter: RetryAfterError,
    reference: (functionId) => referenceFunction({ appId: "demo", functionId }),
    async start(id, home, functions) {
      const client = new Inngest({ id, ...home, logger: quiet, checkpointing: false })
      const made = functions.map(({ handler, triggers, ...options }) =>
        client.createFunction({ ...options, triggers: [...triggers] } as never, handler as never),
      )
      return listen(nodeAdapter({ client, functions: made }), client)
    },
  },
]

sdkSuite(sdks)
