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
  app.createFunction({ id: "fail", triggers: [{ event: "fail" }], retries: 0 }, () => {
    throw new Error("as it should")
  })
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
  await exerciseFanouts(app)
  await store.prune(Date.now() + 1_000, 10)
  await store.lost("node_other", 10)
  await store.releaseMissed()
  await node.stop()
}

/** Fan-outs with rules, from a source, that fail, are retried, resumed and cancelled. */
async function exerciseFanouts(app: Fanfare): Promise<void> {
  const events = Array.from({ length: 4 }, (_, i) => ({ name: "fail", data: { i }, id: `fan ${systemClock.now()} ${i}` }))
  const { fanoutId } = await app.send(events, { canary: 1, breaker: { failures: "50%" } })
  const id = fanoutId ?? ""
  const stands = async (state: string): Promise<void> => {
    while ((await app.fanouts.get(id)).state !== state) await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await stands("paused")
  const [group] = await app.fanouts.failures(id)
  await app.fanouts.plan(events)
  await app.fanouts.retry(id, { fingerprint: group?.fingerprint ?? "" })
  await stands("paused")
  await app.fanouts.retry(id, { runId: group?.runId ?? "", data: { i: 9 } })
  await app.fanouts.resume(id)
  await app.fanouts.cancel(id)
  await stands("ended")
  const name = `source ${systemClock.now()}`
  await app.fanOut({ id: name, source: (cursor) => ({ items: [{ name: "nobody" }], next: cursor === null ? "2" : null }) })
  await app.fanOut({ id: name, source: [] })
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
  await reader.failureGroups("fan_1")
  await reader.operation("op_1")
  await reader.knownKeys(["key 1"])
  await reader.functionList()
  await reader.depth()
  await reader.nodes()
}
