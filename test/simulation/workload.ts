import type { App } from "../../src/core/app.ts"
import type { ScheduleInput } from "../../src/core/schedules.ts"
import { Fanfare, NonRetriableError, referenceFunction, RetryAfterError, type StepTools } from "../../src/index.ts"
import { seededRandom } from "../../src/testing/random.ts"
import type { SimulatedNode } from "./world.ts"

export const limitOfChild = 3
/** Flow control: one hot tenant and others; per tenant, for all, and shared by two functions. */
export const tenants = ["hot", "hot", "hot", "b", "c"] as const
export const limitPerTenant = 2
export const limitOfShared = 3
export const throttle = { limit: 4, periodMs: 4_000, burst: 1 } as const
export const rateLimit = { limit: 2, periodMs: 30_000 } as const
export const batchSize = 3
export const childrenPerParent = 4
export const retries = 2

/** Schedules made at run time: one for each way to overlap. */
export const beats: readonly ScheduleInput[] = [
  { id: "allow", every: 7_000, function: "beat", missed: { take: "all", within: "1h", cap: 5 } },
  { id: "skip", cron: "*/5 * * * * *", function: "beat", overlap: "skip", jitter: 900 },
  { id: "queue", every: 4_000, function: "beat", overlap: "queue", missed: "none" },
  { id: "cancel", cron: "*/5 * * * * *", timezone: "Europe/Paris", function: "beat", overlap: "cancel", missed: "all" },
]
/** By then every node has heard, whatever faults slowed it down. */
export const reachMs = 20_000
export const waitMs = 90_000

/** What the outside world saw: the side effects of user code, which no crash can take back. */
export class Ledger {
  /** Event ids that `send` acknowledged, and by name those of functions they must start. */
  readonly acked: { readonly id: string; readonly name: string; readonly key: string | undefined }[] = []
  /** Sends that failed or whose node died: they may be there, whole, or not at all. */
  readonly unknown: (readonly string[])[] = []
  /** run and step → how often its code ran. */
  readonly executions = new Map<string, number>()
  /** run and step → the result that the handler saw. */
  readonly results = new Map<string, string>()
  /** run and attempt → how often its handler began. */
  readonly attempts = new Map<string, number>()
  readonly violations: string[] = []
  /** Names of fan-outs from sources, or ids of those of runs → their items. */
  readonly sources = new Map<string, number>()
  /** Fan-outs that were retried: their end may be announced again. */
  readonly retried = new Set<string>()
  readonly cancelledFanouts = new Set<string>()
  /** Events that runs may wait for, or be cancelled by: when their send began, and when it was acknowledged. */
  readonly told: { readonly name: string; readonly k: string; readonly from: number; readonly until: number }[] = []
  /** Runs whose cancellation was acknowledged, and when. */
  readonly cancelled = new Map<string, number>()

  saw(run: string, step: string, value: unknown): void {
    const key = `${run} ${step}`
    const text = JSON.stringify(value)
    const before = this.results.get(key)
    if (before === undefined) this.results.set(key, text)
    else if (before !== text) this.violations.push(`I4: ${key} was ${before}, is now ${text}`)
  }

  /** @param now virtual time: code of a cancelled run may only still be running on another node, which hears of it at its next pulse */
  did(run: string, step: string, now: number): void {
    const key = `${run} ${step}`
    const since = this.cancelled.get(run)
    if (since !== undefined && now > since + reachMs) this.violations.push(`I15: ${key} ran ${now - since} ms after its cancellation`)
    this.executions.set(key, (this.executions.get(key) ?? 0) + 1)
  }
}

/** The functions of the simulation: each shape of handler that the engine must carry through anything. */
export function createApps(seed: number, ledger: Ledger): (node: SimulatedNode) => readonly App[] {
  return (node) => {
    const life = node.life
    const app = new Fanfare({ id: "sim" })
    // Code of a dead node is a zombie: it may go on, but the world does not count its effects.
    const alive = (): boolean => node.lives(life)
    const chance = (label: string): number => seededRandom(seed, label).next()
    const pause = (label: string): Promise<void> =>
      new Promise((resolve) => void node.world.clock.after(chance(`${label} pause`) * 1_500, () => (alive() ? resolve() : undefined)))
    const began = (runId: string, attempt: number): void => {
      const key = `${runId} ${attempt}`
      ledger.attempts.set(key, (ledger.attempts.get(key) ?? 0) + 1)
    }

    app.createFunction({ id: "plain", triggers: [{ event: "sim/plain" }], retries }, async ({ runId, attempt, logger }) => {
      began(runId, attempt)
      logger.info("began", { attempt })
      await pause(`${runId} ${attempt}`)
      const x = chance(`${runId} ${attempt} outcome`)
      if (x < 0.1) throw new NonRetriableError("never again")
      if (x < 0.2) throw new RetryAfterError("later", 2_000)
      if (x < 0.4) throw new Error("try again")
      return attempt
    })

    app.createFunction({ id: "steps", triggers: [{ event: "sim/steps" }], retries }, async ({ runId, step }) => {
      const work = (id: string) => (): string => {
        if (!alive()) return "zombie"
        ledger.did(runId, id, node.world.clock.now())
        const tries = ledger.executions.get(`${runId} ${id}`) ?? 0
        if (chance(`${runId} ${id} ${tries}`) < 0.2) throw new Error(`${id} fails`)
        return `${id} ${tries} of node ${node.name}`
      }
      ledger.saw(runId, "a", await step.run("a", work("a")))
      await step.sleep("nap", 500 + chance(`${runId} nap`) * 3_000)
      const both = await Promise.all([step.run("b", work("b")), step.run("c", work("c"))])
      ledger.saw(runId, "b+c", both)
      return both
    })

    app.createFunction({ id: "parent", triggers: [{ event: "sim/parent" }], retries }, async ({ runId, attempt, step }) => {
      began(runId, attempt)
      const children = Array.from({ length: childrenPerParent }, (_, i) => ({ name: "sim/child", data: { parent: runId, i } }))
      const sent = await app.send(children)
      ledger.saw(runId, "sent", sent)
      if (attempt === 0 && chance(`${runId} throws`) < 0.4) throw new Error("after the send")
      ledger.saw(runId, "named", await step.sendEvent("named", { name: "sim/child", data: { parent: runId, i: "named" } }))
    })

    app.createFunction(
      { id: "child", triggers: [{ event: "sim/child" }], retries, concurrency: { limit: limitOfChild } },
      async ({ runId, attempt }) => {
        began(runId, attempt)
        await pause(`${runId} ${attempt}`)
        if (chance(`${runId} ${attempt} outcome`) < 0.15) throw new Error("child fails")
      },
    )

    app.createFunction({ id: "join", triggers: [{ event: "sim/join" }], retries }, async ({ runId, attempt, step }) => {
      const items = Math.floor(chance(`${runId} items`) * 5)
      const events = Array.from({ length: items }, (_, i) => ({ name: "sim/leaf", data: { i } }))
      const result = await step.fanOut("leaves", events, { outputs: true })
      ledger.saw(runId, "joined", result)
      if (result.total !== items || result.completed + result.failed + result.cancelled !== items) {
        ledger.violations.push(`a join of ${items} gave ${JSON.stringify(result)}`)
      }
      if (attempt === 0 && chance(`${runId} throws`) < 0.3) throw new Error("after the join")
    })

    app.createFunction({ id: "produce", triggers: [{ event: "sim/produce" }], retries }, async ({ runId, attempt, step }) => {
      const items = 3 + Math.floor(chance(`${runId} items`) * 6)
      const source = pausing(node, `${runId} ${attempt}`, items, alive, chance)
      const result = await step.fanOut("leaves", source, { canary: 2, breaker: { failures: "50%", min: 3 } })
      ledger.saw(runId, "produced", result)
      if (result.fanoutId !== null) ledger.sources.set(result.fanoutId, items)
    })

    app.createFunction({ id: "leaf", triggers: [{ event: "sim/leaf" }], retries }, async ({ runId, attempt, step }) => {
      if (chance(`${runId} sleeps`) < 0.3) await step.sleep("nap", 1_000)
      if (chance(`${runId} ${attempt} outcome`) < 0.3) throw new Error("leaf fails")
      return runId
    })

    app.createFunction({ id: "waiter", triggers: [{ event: "sim/wait" }], retries }, async ({ runId, attempt, step }) => {
      const answer = step.waitForEvent("answer", { event: "sim/answer", match: "data.k", timeout: waitMs })
      if (chance(`${runId} side`) < 0.5) {
        await step.run("side", () => {
          if (!alive()) return
          ledger.did(runId, "side", node.world.clock.now())
          if (chance(`${runId} ${attempt} side`) < 0.2) throw new Error("side fails")
        })
      }
      const first = await Promise.race([answer.then((event) => event?.id ?? null), step.sleep("late", 2 * waitMs).then(() => "late")])
      ledger.saw(runId, "answer", first)
      if (first === "late") ledger.violations.push(`I14: the wait of ${runId} outlived its timeout`)
      if (attempt === 0 && chance(`${runId} throws`) < 0.3) throw new Error("after the wait")
    })

    app.createFunction(
      { id: "stoppable", triggers: [{ event: "sim/stoppable" }], retries, cancelOn: [{ event: "sim/stop", match: "data.k" }] },
      async ({ runId, step }) => {
        for (let i = 0; i < 4; i++) {
          await step.run(`part ${i}`, () => void (alive() && ledger.did(runId, `part ${i}`, node.world.clock.now())))
          await step.sleep(`rest ${i}`, 500 + chance(`${runId} rest ${i}`) * 8_000)
        }
      },
    )

    app.createFunction({ id: "caller", triggers: [{ event: "sim/call" }], retries }, async ({ runId, step }) => {
      const called = await step
        .invoke("leaf", { function: referenceFunction({ appId: "sim", functionId: "leaf" }) })
        .catch((thrown: Error) => thrown.name)
      ledger.saw(runId, "called", called)
    })

    app.createFunction({ id: "cancelled", triggers: [{ event: "fanfare/function.cancelled" }], retries }, ({ runId, attempt }) =>
      began(runId, attempt),
    )

    app.createFunction({ id: "done", triggers: [{ event: "fanfare/fanout.completed" }], retries }, ({ runId, attempt }) =>
      began(runId, attempt),
    )

    flowFunctions(app, { began, pause, chance })
    app.createFunction({ id: "tick", triggers: [{ cron: "*/10 * * * * *" }], retries }, async ({ runId, attempt, event }) => {
      began(runId, attempt)
      return event.data.scheduledAt
    })
    app.createFunction({ id: "beat", triggers: [], retries }, async ({ runId, attempt, step }) => {
      await pause(`${runId} ${attempt}`)
      if (chance(`${runId} sleeps`) < 0.3) await step.sleep("nap", 1_000 + chance(`${runId} nap`) * 6_000)
      if (chance(`${runId} ${attempt} outcome`) < 0.2) throw new Error("beat fails")
    })
    return [app]
  }
}

interface Shapes {
  began(runId: string, attempt: number): void
  pause(label: string): Promise<void>
  chance(label: string): number
}

/** A function for each rule that says when runs may start. */
function flowFunctions(app: Fanfare, { began, pause, chance }: Shapes): void {
  const key = "event.data.tenant"
  const work = async ({ runId, attempt, step }: { runId: string; attempt: number; step: StepTools }): Promise<void> => {
    const sleeps = chance(`${runId} sleeps`) < 0.3
    // Who sleeps is called once more after it.
    if (!sleeps) began(runId, attempt)
    if (sleeps) await step.sleep("nap", 1_000 + chance(`${runId} nap`) * 4_000)
    else await pause(`${runId} ${attempt}`)
    if (chance(`${runId} ${attempt} outcome`) < 0.1) throw new Error("flow fails")
    if (chance(`${runId} ${attempt} rest`) < 0.05) throw new RetryAfterError("slow down", 2_000, { limit: "shared" })
  }
  const on = (name: string) => ({ id: `flow-${name}`, triggers: [{ event: `sim/flow.${name}` }], retries })
  const shared = { limit: limitOfShared, scope: "env", key: "'shared'" } as const
  app.createFunction({ ...on("keys"), concurrency: [{ limit: limitPerTenant, key }, shared] }, work)
  app.createFunction({ ...on("whole"), concurrency: [{ limit: limitPerTenant, key, mode: "run" }, shared] }, work)
  app.createFunction({ ...on("throttle"), throttle: { limit: throttle.limit, period: throttle.periodMs, burst: throttle.burst } }, work)
  app.createFunction({ ...on("rate"), rateLimit: { limit: rateLimit.limit, period: rateLimit.periodMs, key } }, work)
  app.createFunction({ ...on("debounce"), debounce: { period: 2_000, timeout: 5_000, key } }, work)
  app.createFunction({ ...on("skip"), singleton: { mode: "skip", key } }, work)
  app.createFunction({ ...on("cancel"), singleton: { mode: "cancel", key } }, work)
  app.createFunction({ ...on("batch"), batchEvents: { maxSize: batchSize, timeout: 3_000, key } }, async (context) => {
    await work(context)
    return context.events.map(({ id }) => id)
  })
}

export const flowEvents = ["keys", "whole", "throttle", "rate", "debounce", "skip", "cancel", "batch"].map((name) => `sim/flow.${name}`)
/** Items of a source that takes its time, page by page, and breaks now and then. */
export function pausing(
  node: SimulatedNode,
  label: string,
  items: number,
  alive: () => boolean,
  chance: (label: string) => number,
): (cursor: string | null) => Promise<{ items: { name: string; data: { i: number } }[]; next: string | null }> {
  return async (cursor) => {
    const from = Number(cursor ?? 0)
    await new Promise<void>((resolve) => {
      node.world.clock.after(chance(`${label} page ${from}`) * 400, () => (alive() ? resolve() : undefined))
    })
    if (chance(`${label} breaks ${from}`) < 0.1) throw new Error("the source broke")
    const to = Math.min(items, from + 1 + Math.floor(chance(`${label} size ${from}`) * 3))
    return {
      items: Array.from({ length: to - from }, (_, k) => ({ name: "sim/leaf", data: { i: from + k } })),
      next: to === items ? null : String(to),
    }
  }
}
