import { systemClock } from "../../src/engine/system.ts"
import { Engine } from "../../src/engine/engine.ts"
import { Fanfare } from "../../src/index.ts"
import type { Reader, Store } from "../../src/store/store.ts"
import { localTransport } from "../../src/transport/local.ts"

/** Has a real engine do one of everything on a store, so that every statement of it is asked. */
export async function exercise(store: Store, reader: Reader): Promise<void> {
  const app = new Fanfare({ id: "app" })
  let ended = 0
  app.createFunction(
    { id: "f", triggers: [{ event: "go" }, { cron: "* * * * * *" }], concurrency: 2 },
    async ({ step, logger, attempt }) => {
      logger.info("hello")
      await step.run("work", () => 1)
      await step.sleep("nap", 1)
      if (attempt === 0) throw new Error("again")
    },
  )
  const rules = {
    throttle: { limit: 1_000, period: "1s", key: "event.data.t" },
    rateLimit: { limit: 3, period: "1h", key: "event.data.t" },
    debounce: { period: "1s" },
    singleton: { mode: "cancel", key: "event.data.t" },
    concurrency: [
      { limit: 1, key: "event.data.t", mode: "run" },
      { limit: 5, scope: "env", key: "'all'" },
    ],
  } as const
  app.createFunction({ id: "rules", triggers: [{ event: "rules" }], ...rules }, () => (ended++, null))
  app.createFunction({ id: "batch", triggers: [{ event: "rules" }], batchEvents: { maxSize: 2, timeout: "1s" } }, () => null)
  const node = new Engine({
    store,
    reader,
    exclusive: true,
    apps: [app],
    transport: localTransport([app]),
    clock: systemClock,
    random: { next: () => 0 },
    host: "h",
    pid: 1,
  })
  node.telemetry.listen((fact) => fact.name === "run.ended" && ended++)
  await node.start()
  await app.send([{ name: "go", id: `a ${systemClock.now()}` }, { name: "go" }, { name: "go" }])
  while (ended < 3) await new Promise((resolve) => setTimeout(resolve, 20))
  for (let i = 0; i < 3; i++) await app.send([1, 1, 2].map((t) => ({ name: "rules", data: { t } })))
  await store.setLimit("env:all", 4)
  await store.pause("app-rules", "keep")
  await store.pause("app-rules", null)
  const began = ended
  while (ended === began) await new Promise((resolve) => setTimeout(resolve, 20))
  await store.prune(Date.now() + 1_000, 10)
  await store.lost("node_other", 10)
  await store.releaseMissed()
  await node.stop()
}

/** Asks a reader everything that people can ask. */
export async function exerciseReader(reader: Reader): Promise<void> {
  const filters = [
    {},
    { functionId: "f" },
    { fanoutId: "x" },
    { state: "failed" },
    { state: "ready" },
    { functionId: "f", state: "completed" },
    { after: "run_5", functionId: "f" },
  ] as const
  for (const filter of filters) await reader.runs(filter)
  await reader.run("run_1")
  await reader.run("run_0000000000000000000001")
  await reader.fanouts(null, 10)
  await reader.fanout("fan_1")
  await reader.functionList()
  await reader.depth()
  await reader.nodes()
  await reader.limits("a", 10)
}
