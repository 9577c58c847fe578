import type { App } from "../../src/core/app.ts"
import { Fanfare, NonRetriableError, RetryAfterError, type StepTools } from "../../src/index.ts"
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

  saw(run: string, step: string, value: unknown): void {
    const key = `${run} ${step}`
    const text = JSON.stringify(value)
    const before = this.results.get(key)
    if (before === undefined) this.results.set(key, text)
    else if (before !== text) this.violations.push(`I4: ${key} was ${before}, is now ${text}`)
  }

  did(run: string, step: string): void {
    const key = `${run} ${step}`
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
        ledger.did(runId, id)
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
      if (result.total !== items || result.completed + result.failed !== items) {
        ledger.violations.push(`a join of ${items} gave ${JSON.stringify(result)}`)
      }
      if (attempt === 0 && chance(`${runId} throws`) < 0.3) throw new Error("after the join")
    })

    app.createFunction({ id: "leaf", triggers: [{ event: "sim/leaf" }], retries }, async ({ runId, attempt, step }) => {
      if (chance(`${runId} sleeps`) < 0.3) await step.sleep("nap", 1_000)
      if (chance(`${runId} ${attempt} outcome`) < 0.3) throw new Error("leaf fails")
      return runId
    })

    app.createFunction({ id: "done", triggers: [{ event: "fanfare/fanout.completed" }], retries }, ({ runId, attempt }) =>
      began(runId, attempt),
    )

    flowFunctions(app, { began, pause, chance })
    app.createFunction({ id: "tick", triggers: [{ cron: "*/10 * * * * *" }], retries }, async ({ runId, attempt, event }) => {
      began(runId, attempt)
      return event.data.scheduledAt
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
