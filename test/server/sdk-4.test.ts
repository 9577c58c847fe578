import { Inngest, NonRetriableError, referenceFunction, RetryAfterError } from "inngest"
import { createDefer } from "inngest/experimental"
import { serve as serveExpress } from "inngest/express"
import { createServer as nodeAdapter } from "inngest/node"
import { listen, quiet, type Sdk, withExpress } from "./sdk-apps.ts"
import { expect, it } from "vitest"
import { sdkSuite, startServer, until } from "./sdk-suite.ts"

// The two majors do not get along in one process: each has a file, and so a process, of its own.
const sdks: readonly Sdk[] = [
  {
    name: "inngest 4, Express",
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
      return listen(withExpress(serveExpress({ client, functions: made })), client)
    },
  },
  {
    name: "inngest 4 without checkpoints, node, streaming",
    checkpoints: false,
    linked: true,
    NonRetriable: NonRetriableError,
    RetryAfter: RetryAfterError,
    reference: (functionId, appId = "demo") => referenceFunction({ appId, functionId }),
    async start(id, home, functions) {
      const client = new Inngest({ id, ...home, logger: quiet, checkpointing: false })
      const made = functions.map(({ handler, triggers, ...options }) =>
        client.createFunction({ ...options, triggers: [...triggers] } as never, handler as never),
      )
      return listen(nodeAdapter({ client, functions: made, streaming: true }), client)
    },
  },
]

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
