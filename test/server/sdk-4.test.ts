import { Inngest, NonRetriableError, referenceFunction, RetryAfterError } from "inngest"
import { createDefer } from "inngest/experimental"
import { serve as serveExpress } from "inngest/express"
import { createServer as nodeAdapter } from "inngest/node"
import { type Fn, type Home, listen, quiet, type Sdk, withExpress } from "./sdk-apps.ts"
import { expect, it } from "vitest"
import { sdkSuite, startServer, until } from "./sdk-suite.ts"

// The two majors do not get along in one process: each has a file, and so a process, of its own.
const kind = {
  linked: true,
  NonRetriable: NonRetriableError,
  RetryAfter: RetryAfterError,
  reference: (functionId: string, appId = "demo") => referenceFunction({ appId, functionId }),
}

// Behind each adapter with and without checkpoints: the one who develops has another adapter than production.
const sdks: readonly Sdk[] = [
  {
    ...kind,
    name: "inngest 4",
    checkpoints: true,
    async start(id, home, functions) {
      const served = four(id, home, functions)
      return home.isDev ? withAdapter.express(served) : withAdapter.node(served)
    },
  },
  {
    ...kind,
    name: "inngest 4 without checkpoints, streaming behind node",
    checkpoints: false,
    async start(id, home, functions) {
      const served = four(id, home, functions, { checkpointing: false })
      return home.isDev ? withAdapter.node(served, true) : withAdapter.express(served)
    },
  },
]

function four(id: string, home: Home, functions: readonly Fn[], options: { checkpointing?: false } = {}) {
  const client = new Inngest({ id, ...home, logger: quiet, ...options })
  const made = functions.map(({ handler, triggers, ...rest }) =>
    client.createFunction({ ...rest, triggers: [...triggers] } as never, handler as never),
  )
  return { client, made }
}

const withAdapter = {
  express: ({ client, made }: ReturnType<typeof four>) => listen(withExpress(serveExpress({ client, functions: made })), client),
  node: ({ client, made }: ReturnType<typeof four>, streaming = false) =>
    listen(nodeAdapter({ client, functions: made, streaming }), client),
}

sdkSuite(sdks)

it("starts what a run defers when it has ended, once, and not what it gave up", async () => {
  const done: unknown[] = []
  const server = await startServer()
  const client = new Inngest({ id: "defers", isDev: true, baseUrl: server.url ?? "", logger: quiet })
  const later = createDefer(client, { id: "later" }, ({ event }) => void done.push(event.data))
  const ends = client.createFunction({ id: "ends", triggers: [{ event: "d/ends" }] }, async ({ step, defer }) => {
    defer("kept", { function: later, data: { n: 1 } })
    const handle = defer("given up", { function: later, data: { n: 2 } })
    await step.run("a", () => 1)
    await step.sleep("nap", "1s")
    handle.abort()
    await step.run("b", () => done.push("b"))
    return "end"
  })
  const app = await listen(withExpress(serveExpress({ client, functions: [ends, later] })), client)
  await server.apps?.sync(app.url)
  await app.send({ name: "d/ends", data: {} })
  await until(async () => done.length > 1, "the deferred function")
  expect(done).toEqual(["b", { n: 1 }])
  await app.close()
  await server.stop()
})
