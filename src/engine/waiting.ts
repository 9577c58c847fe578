import type { StepReport } from "../core/attempt.ts"
import type { Change } from "../core/change.ts"
import { FanfareError } from "../core/errors.ts"
import { functionInvokedEvent } from "../core/event.ts"
import { compilePairCondition, type ExpressionEvent } from "../core/expression.ts"
import type { IdKind } from "../core/id.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { ClaimedRun } from "../core/run.ts"
import type { StepRecord } from "../core/step.ts"
import { eventTopic, offerOf, resolveDemand, runTopic, signalTopic, type Wait, type Watch, watchOf } from "../core/wait.ts"
import type { Store } from "../store/store.ts"
import type { Committer } from "./committer.ts"
import { causedRun } from "./intake.ts"
import type { Registry } from "./registry.ts"

export interface WaitingParts {
  readonly store: Pick<Store, "watch" | "unkeyedWaits" | "recentEvents">
  readonly committer: Committer
  readonly registry: Registry
  readonly reload: () => Promise<void>
  readonly clock: Clock
  readonly newId: (kind: IdKind) => string
}

/** A wait that has begun: the step as it is kept, and all that is written with it. */
export interface Begun {
  readonly step: StepRecord
  readonly changes: readonly Change[]
}

export type WaitReport = Extract<StepReport, { kind: "event" | "signal" | "invoke" }>

const busyMs = 250

/** How steps begin to wait for events, signals and other runs. */
export class Waiting {
  readonly #parts: WaitingParts
  /** When this node last made sure that every sender knows a name and field. */
  readonly #watched = new Map<string, number>()

  constructor(parts: WaitingParts) {
    this.#parts = parts
  }

  /** Makes names and fields known to every sender, before the first run waits for them. */
  async watch(watches: readonly Watch[]): Promise<void> {
    const { store, clock, reload } = this.#parts
    const fresh = clock.now() - limits.watchFreshMs
    const wanted = watches.filter(({ name, path }) => (this.#watched.get(`${path} ${name}`) ?? 0) <= fresh)
    if (wanted.length === 0) return
    const unique = [...new Map(wanted.map((each) => [`${each.path} ${each.name}`, each])).values()]
    while (!(await this.#insist(() => store.watch(unique)))) await new Promise<void>((resolve) => void clock.after(busyMs, resolve))
    await this.#insist(reload)
    for (const key of unique.map(({ name, path }) => `${path} ${name}`)) this.#watched.set(key, clock.now())
  }

  async begin(run: ClaimedRun, report: WaitReport): Promise<Begun> {
    switch (report.kind) {
      case "event":
        return this.#event(run, report)
      case "signal":
        return this.#begun(run, report, {
          kind: "signal",
          topic: signalTopic(report.signal),
          key: "",
          condition: null,
          replace: report.replace,
        })
      case "invoke":
        return this.#invoke(run, report)
      default:
        return report satisfies never
    }
  }

  /** Looks at events that came before the wait, and offers it the first that fits. The wait must be durable by now. */
  async lookBack(run: ClaimedRun, { demand, since }: Extract<WaitReport, { kind: "event" }>): Promise<void> {
    if (since === null) return
    const { store, committer } = this.#parts
    const own = ownEvent(run)
    const { path, key, condition } = resolveDemand(demand, own)
    const recent = await this.#insist(() => store.recentEvents(demand.event, since))
    const found = recent.find((event) => {
      if (event.id === own.id || !offerOf(event, [path]).keys.includes(key)) return false
      return condition === null || compilePairCondition(condition, "if", "invalid_step").holds(own, event)
    })
    if (found === undefined) return
    await committer.insist({
      changes: [{ kind: "wait.offer", eventId: null, offer: offerOf(found, [path], run.id) }],
      guard: null,
      registry: null,
    })
  }

  async #event(run: ClaimedRun, report: Extract<WaitReport, { kind: "event" }>): Promise<Begun> {
    const { demand } = report
    const { topic, key, condition } = resolveDemand(demand, ownEvent(run))
    if (key === "" && condition !== null) await this.#checkUnkeyed(demand.event)
    await this.watch([watchOf(demand)])
    return this.#begun(run, report, { kind: "event", topic, key, condition })
  }

  async #checkUnkeyed(name: string): Promise<void> {
    const waits = await this.#insist(() => this.#parts.store.unkeyedWaits(eventTopic(name), limits.waitsUnkeyed))
    if (waits < limits.waitsUnkeyed) return
    throw new FanfareError("too_many", `${limits.waitsUnkeyed} runs wait for "${name}" with a condition that has to be tried one by one`, {
      field: "if",
      bound: limits.waitsUnkeyed,
      hint: 'Use match, or an "if" with an equality such as async.data.userId == event.data.userId: such waits are found by an index.',
    })
  }

  async #invoke(run: ClaimedRun, report: Extract<WaitReport, { kind: "invoke" }>): Promise<Begun> {
    const { registry, reload, clock, newId } = this.#parts
    if (!registry.definitions.has(report.functionId)) await this.#insist(reload)
    const definition = registry.definitions.get(report.functionId)
    if (definition === undefined) {
      throw new FanfareError("not_found", `step.invoke: there is no function "${report.functionId}"`, {
        field: "function",
        hint: `Known are: ${[...registry.definitions.keys()].slice(0, 20).join(", ") || "none"}. Its app must have registered it once.`,
      })
    }
    const now = clock.now()
    const caused = causedRun(definition, { name: functionInvokedEvent, data: report.data, ts: now }, newId, now, run)
    const begun = this.#begun(run, report, { kind: "run", topic: runTopic(caused.runId), key: "", condition: null })
    return { ...begun, changes: [...caused.changes, ...begun.changes] }
  }

  /** A store that fails is asked again: the handler has done nothing wrong. */
  async #insist<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await ask()
      } catch (error) {
        if (!(error instanceof FanfareError) || error.code !== "store_failed") throw error
        await new Promise<void>((resolve) => void this.#parts.clock.after(limits.restMs, resolve))
      }
    }
  }

  #begun(run: ClaimedRun, report: WaitReport, wait: Omit<Wait, "stepKey" | "dueAt">): Begun {
    const now = this.#parts.clock.now()
    const { key, kind, timeoutAt } = report
    const step: StepRecord = {
      key,
      kind,
      state: "waiting",
      attempts: 1,
      output: null,
      failure: null,
      dueAt: timeoutAt,
      startedAt: now,
      endedAt: now,
    }
    return {
      step,
      changes: [
        { kind: "step.save", runId: run.id, fence: run.fence, step },
        { kind: "wait.add", runId: run.id, wait: { ...wait, stepKey: key, dueAt: timeoutAt } },
      ],
    }
  }
}

function ownEvent({ event: { id, name, ts, data } }: ClaimedRun): ExpressionEvent {
  return { id, name, ts, data: JSON.parse(data) as unknown }
}
