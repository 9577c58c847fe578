import { Inngest, NonRetriableError, referenceFunction, RetryAfterError } from "inngest-v3"
import { serve as serveExpress } from "inngest-v3/express"
import { createServer as nodeAdapter } from "inngest-v3/node"
import { type Home, type Fn, listen, quiet, type Sdk, withExpress } from "./sdk-apps.ts"
import { sdkSuite } from "./sdk-suite.ts"

// The two majors do not get along in one process: each has a file, and so a process, of its own.
const kind = {
  linked: false,
  NonRetriable: NonRetriableError,
  RetryAfter: RetryAfterError,
  reference: (functionId: string, appId = "demo") => referenceFunction({ appId, functionId }),
}

// Behind each adapter with and without checkpoints: the one who develops has another adapter than production.
const sdks: readonly Sdk[] = [
  {
    ...kind,
    name: "inngest 3",
    checkpoints: false,
    async start(id, home, functions) {
      const served = three(id, home, functions)
      return home.isDev ? withAdapter.express(served) : withAdapter.node(served)
    },
  },
  {
    ...kind,
    name: "inngest 3 with checkpoints",
    checkpoints: true,
    async start(id, home, functions) {
      const served = three(id, home, functions, true)
      return home.isDev ? withAdapter.node(served) : withAdapter.express(served)
    },
  },
]

const withAdapter = {
  express: ({ client, made, signingKey }: ReturnType<typeof three>) =>
    listen(withExpress(serveExpress({ client, functions: made, ...signingKey })), client),
  node: ({ client, made, signingKey }: ReturnType<typeof three>) => listen(nodeAdapter({ client, functions: made, ...signingKey }), client),
}

function three(id: string, { signingKey, ...home }: Home, functions: readonly Fn[], checkpointing = false) {
  const client = new Inngest({ id, ...home, logger: quiet, checkpointing })
  const made = functions.map(({ handler, triggers, ...options }) =>
    client.createFunction(options as never, triggers as never, handler as never),
  )
  return { client, made, signingKey: signingKey === undefined ? {} : { signingKey } }
}

sdkSuite(sdks)
