import { Fanfare } from "../../dist/index.js"
import { createServer } from "../../dist/server.js"
import { type Peer, tenantLimit } from "./peer.ts"

/** What is measured is the built package, as users get it, with its defaults. */
export function fanfare(store: "sqlite" | "postgres"): Peer {
  return {
    store,
    package: "fanfare",
    settings: "defaults",
    keeps: "event, run, attempts, result, for 30 days",
    step: "`step.run`",
    fair: `\`concurrency: { limit: ${tenantLimit}, key: "event.data.tenant" }\``,
    join: { by: "`step.fanOut`", most: 1_000_000 },
    async open(place, handler) {
      const app = new Fanfare({ id: "bench" })
      app.createFunction({ id: "noop", triggers: [{ event: "bench/noop" }] }, ({ event }) => handler(event.data as never))
      app.createFunction({ id: "step", triggers: [{ event: "bench/step" }] }, async ({ event, step }) => {
        await handler(event.data as never)
        await step.run("work", () => 1)
      })
      app.createFunction(
        {
          id: "tenant",
          triggers: [{ event: "bench/tenant" }],
          concurrency: { limit: tenantLimit, key: "event.data.tenant" },
        },
        ({ event }) => handler(event.data as never),
      )
      let joined: () => void = () => undefined
      let children: object[] = []
      app.createFunction({ id: "parent", triggers: [{ event: "bench/parent" }] }, async ({ step }) => {
        const result = await step.fanOut(
          "all",
          children.map((data) => ({ name: "bench/noop", data })),
        )
        if (result.completed !== children.length) throw new Error(`the join gave ${result.completed} of ${children.length}`)
        joined()
      })
      const server = await createServer({ client: app, db: place, http: { port: 0 }, logs: "none", stopGrace: 100 })
      await server.start()
      return {
        async send(work, items) {
          await app.send(items.map((data) => ({ name: `bench/${work}`, data })))
        },
        async join(items) {
          children = items.map((item) => ({ ...item }))
          const all = new Promise<void>((resolve) => {
            joined = resolve
          })
          await app.send({ name: "bench/parent", data: {} })
          await all
        },
        ended: async () => ((await (await fetch(`${server.url}/api/v1/status`)).json()) as { completed: number }).completed,
        close: () => server.stop(),
      }
    },
  }
}
