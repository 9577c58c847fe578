import { systemClock } from "../../src/engine/system.ts"
import { Engine } from "../../src/engine/engine.ts"
import { Fanfare } from "../../src/index.ts"
import type { Reader, Store } from "../../src/store/store.ts"
import { seededRandom } from "../../src/testing/random.ts"
import { localTransport } from "../../src/transport/local.ts"

/** Has a real engine do one of everything on a store, so that every statement of it is asked. */
export async function exercise(store: Store, reader: Reader): Promise<void> {
  const app = new Fanfare({ id: "app" })
  let ended = 0
  const worked: string[] = []
  app.createFunction(
    { id: "f", triggers: [{ event: "go" }, { cron: "* * * * * *" }], concurrency: 2 },
    async ({ step, logger, attempt, runId }) => {
      logger.info("hello")
      await step.run("work", () => 1)
      worked.push(runId)
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
    random: seededRandom(1),
    host: "h",
    pid: 1,
  })
  node.telemetry.listen((fact) => fact.name === "run.ended" && ended++)
  await node.start()
  await app.send([{ name: "go", id: `a ${systemClock.now()}` }, { name: "go" }, { name: "go" }])
  const waiting = app.createFunction(
    { id: "w", triggers: [{ event: "wait" }], cancelOn: [{ event: "stop", match: "data.id" }], timeouts: { start: "1h", finish: "1h" } },
    async ({ step }) => {
      await Promise.race([
        step.waitForEvent("a", { event: "a", match: "data.id", timeout: "1h", lookBack: "1m" }),
        step.waitForEvent("b", { event: "b", if: "async.data.n > event.data.n", timeout: "1h" }),
        step.waitForSignal("s", { signal: "s", timeout: "1h", onConflict: "replace" }),
        step.waitForEvent("late", { event: "late", timeout: 1 }),
      ])
    },
  )
  await node.register([app])
  app.createFunction({ id: "c", triggers: [{ event: "call" }] }, async ({ step }) => step.invoke("w", { function: waiting, timeout: "1h" }))
  await node.register([app])
  await app.send([{ name: "wait", data: { id: 1, n: 1 } }, { name: "wait", data: { id: 2, n: 1 } }, { name: "call" }])
  await new Promise((resolve) => setTimeout(resolve, 300))
  await until(() => worked.length > 0)
  await app.send([
    { name: "a", data: { id: 1 } },
    { name: "b", data: { n: 2 } },
    { name: "stop", data: { id: 2 } },
  ])
  await app.sendSignal("s")
  const { items } = await app.runs.list()
  for (const { id } of items.slice(0, 5)) await app.runs.cancel(id)
  await app.runs.replay(items[0]?.id ?? "")
  await app.runs.replay(worked[0] ?? "", { fromStep: "work", data: { other: true } })
  for (const kind of ["retry", "replay", "cancel"] as const) await app.runs.bulk(kind, { functionId: "app-w" })
  await app.runs.bulk("retry", { state: "failed", fingerprint: "none", fanoutId: "fan_1" })
  await app.runs.bulk("cancel", { state: "waiting", functionId: "app-none" })
  await app.runs.bulk("cancel", { state: "running", functionId: "app-none" })
  await app.runs.stop((await app.runs.bulk("replay", { state: "skipped" })).id).catch(() => undefined)
  await until(() => ended >= 3)
  await exerciseSchedules(app)
  await store.gone([["run_1", 1]])
  await exerciseFanouts(app)
  for (let i = 0; i < 3; i++) await app.send([1, 1, 2].map((t) => ({ name: "rules", data: { t } })))
  await store.setLimit("env:all", 4)
  await store.pause("app-rules", "keep")
  await store.pause("app-rules", null)
  const began = ended
  await until(() => ended > began)
  await store.prune(Date.now() + 1_000, 10)
  await store.others("node_other")
  await store.declareDead(["node_other"])
  await store.lost("node_other", 10)
  await store.releaseMissed()
  await node.stop()
}

async function until(is: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await is())) await new Promise((resolve) => setTimeout(resolve, 20))
}

async function exerciseSchedules(app: Fanfare): Promise<void> {
  const { schedules } = app
  for (const overlap of ["allow", "skip", "queue", "cancel"] as const) {
    await schedules.upsert({ id: overlap, every: "1s", event: "go", overlap, tag: "t" })
  }
  await schedules.upsert({ id: "one", every: "1s", function: "f", overlap: "cancel" })
  await new Promise((resolve) => setTimeout(resolve, 2_300))
  await schedules.pause("skip", { note: "n" })
  await schedules.resume("skip")
  await schedules.run("one")
  await schedules.backfill("one", systemClock.now() - 60_000, systemClock.now(), { overlap: "queue" })
  await schedules.delete("one")
}

/** Fan-outs with rules, from a source, that fail, are retried, resumed and cancelled. */
async function exerciseFanouts(app: Fanfare): Promise<void> {
  const events = Array.from({ length: 4 }, (_, i) => ({ name: "fail", data: { i }, id: `fan ${systemClock.now()} ${i}` }))
  const { fanoutId } = await app.send(events, { canary: 1, breaker: { failures: "50%" } })
  const id = fanoutId ?? ""
  const stands = (state: string): Promise<void> => until(async () => (await app.fanouts.get(id)).state === state)
  await stands("paused")
  const [group] = await app.fanouts.failures(id)
  await app.fanouts.plan(events)
  await app.fanouts.retry(id, { fingerprint: group?.fingerprint ?? "" })
  await stands("paused")
  await app.fanouts.retry(id, { runId: group?.runId ?? "", data: { i: 9 } })
  await app.fanouts.resume(id)
  await app.fanouts.cancel(id)
  await stands("ended")
  const [broken] = (await app.runs.list({ state: "failed" })).items
  if (broken !== undefined) await app.runs.retry(broken.id)
  const plain = await app.send([1, 2].map(() => ({ name: "go", ts: systemClock.now() + 3_600_000 })))
  await app.fanouts.pause(plain.fanoutId ?? "")
  await new Promise((resolve) => setTimeout(resolve, 100))
  await app.fanouts.resume(plain.fanoutId ?? "")
  await app.fanouts.cancel(plain.fanoutId ?? "")
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
    { after: "run_5", state: "failed", functionId: "f" },
    { eventId: "evt_1" },
    { fanoutId: "fan_1", state: "failed" },
    { fanoutId: "fan_1", state: "waiting" },
  ] as const
  for (const filter of filters) await reader.runs(filter)
  await reader.run("run_1")
  await reader.run("run_0000000000000000000001")
  for (const { id } of (await reader.runs({ limit: 20 })).items) await reader.runFamily(id)
  await reader.fanouts(null, 10)
  await reader.fanout("fan_1")
  await reader.failureGroups("fan_1")
  await reader.failureTimes("fan_0000000000000000000001")
  for (const { id } of (await reader.fanouts(null, 3)).items) await reader.failureTimes(id)
  await reader.operation("op_1")
  await reader.knownKeys(["key 1"])
  await reader.functionList()
  await reader.schedule(["a", "b"])
  await reader.schedules({})
  await reader.schedules({ tag: "t", app: "app", after: "a" })
  await reader.scheduleLoad()
  await reader.ticks("app-s1", null, 10)
  await reader.countRuns({ functionId: "f", state: "failed", fingerprint: "a", fanoutId: "fan_1", from: 1 })
  for (const state of ["waiting", "scheduled", "running", "ready"] as const) await reader.countRuns({ functionId: "f", state })
  await reader.operations(null, 10)
  await reader.operations("op_5", 10)
  await reader.depth()
  await reader.standing()
  await reader.backlog()
  await reader.placing(null, 10)
  await reader.placing("run_5", 10)
  await reader.nodes()
  await reader.limits("a", 10)
  await reader.limits(null, 10, "app-f")
  await reader.tallies("", 0)
  await reader.talliesByFunction(0)
  await reader.events(null)
  await reader.events("evt_5", 10)
  await reader.event("evt_1", 10)
  await reader.failureCauses()
  await reader.fanoutCells("fan_1")
  await reader.fanoutCell("fan_1", 5)
  await reader.sentFanouts("run_1")
  await reader.isLoggedOut({ id: "a", keyId: "k", beganAt: 1 })
}
