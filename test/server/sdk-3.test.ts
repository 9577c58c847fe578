import { Inngest, NonRetriableError, referenceFunction, RetryAfterError } from "inngest-v3"
import { serve as serveExpress } from "inngest-v3/express"
import { createServer as nodeAdapter } from "inngest-v3/node"
import { type Home, type Fn, listen, quiet, type Sdk, withExpress } from "./sdk-apps.ts"
import { sdkSuite } from "./sdk-suite.ts"

// The two majors do not get along in one process: each has a file, and so a process, of its own.
const sdks: readonly Sdk[] = [
  {
    name: "inngest 3, Express",
    checkpoints: false,
    linked: false,
    NonRetriable: NonRetriableError,
    RetryAfter: RetryAfterError,
    reference: (functionId, appId = "demo") => referenceFunction({ appId, functionId }),
    async start(id, home, functions) {
      const { client, made, signingKey } = three(id, home, functions)
      return listen(withExpress(serveExpress({ client, functions: made, ...signingKey })), client)
    },
  },
  {
    name: "inngest 3 with checkpoints, node",
    checkpoints: true,
    linked: false,
    NonRetriable: NonRetriableError,
    RetryAfter: RetryAfterError,
    reference: (functionId, appId = "demo") => referenceFunction({ appId, functionId }),
    async start(id, home, functions) {
      const { client, made, signingKey } = three(id, home, functions, true)
      return listen(nodeAdapter({ client, functions: made, ...signingKey }), client)
    },
  },
]

function three(id: string, { signingKey, ...home }: Home, functions: readonly Fn[], checkpointing = false) {
  const client = new Inngest({ id, ...home, logger: quiet, checkpointing })
  const made = functions.map(({ handler, triggers, ...options }) =>
    client.createFunction(options as never, triggers as never, handler as never),
  )
  return { client, made, signingKey: signingKey === undefined ? {} : { signingKey } }
}

sdkSuite(sdks)
