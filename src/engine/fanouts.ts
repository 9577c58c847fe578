import { FanfareError } from "../core/errors.ts"
import { checkEvent, type EventInput } from "../core/event.ts"
import type { FailureGroup, FanoutPlan, Fanouts, Operation, RetryOptions } from "../core/fanouts.ts"
import type { IdKind } from "../core/id.ts"
import { hasEnded } from "../core/join.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { FanoutSummary, Page } from "../core/views.ts"
import type { NewOperation } from "../store/operate.ts"
import type { Reader, Store } from "../store/store.ts"
import type { Registry } from "./registry.ts"

export interface FanoutsParts {
  readonly store: Pick<Store, "addOperation" | "resume">
  readonly reader: Pick<Reader, "fanout" | "fanouts" | "failureGroups" | "operation" | "knownKeys">
  readonly registry: Pick<Registry, "match">
  readonly clock: Clock
  readonly newId: (kind: IdKind) => string
  /** There is an operation to do. */
  readonly begun: () => void
  /** There may be runs to claim. */
  readonly claimable: () => void
}

/** Events that a plan shows. */
const samples = 5

/** Fan-outs as one thing: looked at, waited for, repaired. */
export class StoredFanouts implements Fanouts {
  readonly #parts: FanoutsParts
  readonly #waiting = new Set<() => void>()

  constructor(parts: FanoutsParts) {
    this.#parts = parts
  }

  async get(id: string): Promise<FanoutSummary> {
    const fanout = await this.#parts.reader.fanout(id)
    if (fanout === null) throw new FanfareError("not_found", `there is no fan-out ${id}`, { field: "id" })
    return fanout
  }

  list({ after, limit }: { readonly after?: string; readonly limit?: number } = {}): Promise<Page<FanoutSummary>> {
    return this.#parts.reader.fanouts(after ?? null, limit ?? limits.pageRows)
  }

  async failures(id: string): Promise<readonly FailureGroup[]> {
    await this.get(id)
    return this.#parts.reader.failureGroups(id)
  }

  async wait(id: string, timeoutMs = Number.POSITIVE_INFINITY): Promise<FanoutSummary> {
    const { clock } = this.#parts
    const end = clock.now() + timeoutMs
    for (;;) {
      // Heard from now on: an end that comes while the answer is on its way is not missed.
      const rung = this.#nextEnd()
      const fanout = await this.get(id)
      if (hasEnded(fanout) || clock.now() >= end) {
        rung.cancel()
        return fanout
      }
      await rung.within(Math.min(limits.restMs, end - clock.now()))
    }
  }

  /** Fan-outs have ended on this node: whoever waits looks again. What ends on others is found by looking each second. */
  ended(): void {
    for (const ring of this.#waiting) ring()
  }

  async retry(id: string, options: RetryOptions = {}): Promise<Operation> {
    const { fingerprint = null, runId = null, data } = options
    if (data !== undefined && runId === null) {
      throw new FanfareError("invalid_option", "data goes with runId: it is for one run", { field: "data" })
    }
    const text = data === undefined ? null : checkEvent({ name: "retry", data }, "retry").data
    return this.#begin({ kind: "retry", fanoutId: id, fingerprint, runId }, text)
  }

  cancel(id: string): Promise<Operation> {
    return this.#begin({ kind: "cancel", fanoutId: id, fingerprint: null, runId: null }, null)
  }

  async pause(id: string): Promise<FanoutSummary> {
    await this.get(id)
    await this.#begin({ kind: "pause", fanoutId: id, fingerprint: null, runId: null }, null)
    return this.get(id)
  }

  async resume(id: string): Promise<FanoutSummary> {
    await this.get(id)
    if (!(await this.#parts.store.resume(id))) {
      throw new FanfareError("invalid_option", `the fan-out ${id} has nothing to resume: it was cancelled, or nothing stopped it`, {
        field: "id",
      })
    }
    this.#parts.claimable()
    return this.get(id)
  }

  async operation(id: string): Promise<Operation> {
    const operation = await this.#parts.reader.operation(id)
    if (operation === null) throw new FanfareError("not_found", `there is no operation ${id}`, { field: "id" })
    return operation
  }

  async plan(events: readonly EventInput[]): Promise<FanoutPlan> {
    const { registry, reader, clock } = this.#parts
    const checked = events.map((event, i) => checkEvent(event, `events[${i}]`))
    const keys = checked.flatMap(({ key }) => key ?? [])
    const known = new Set(await reader.knownKeys([...new Set(keys)]))
    const runs = new Map<string, number>()
    const sample: FanoutPlan["sample"][number][] = []
    let duplicates = 0
    for (const { name, data, key, ts } of checked) {
      if (key !== null && known.has(key)) {
        duplicates++
        continue
      }
      if (key !== null) known.add(key)
      const parsed: unknown = JSON.parse(data)
      if (sample.length < samples) sample.push({ name, data: parsed, id: key })
      const functions = registry.match(name, () => ({ name, data: parsed, id: key ?? "", ts: ts ?? clock.now() }))
      for (const { id } of functions) runs.set(id, (runs.get(id) ?? 0) + 1)
    }
    const functions = Array.from(runs, ([functionId, n]) => ({ functionId, runs: n }))
    return { events: events.length, duplicates, runs: functions.reduce((sum, each) => sum + each.runs, 0), functions, sample }
  }

  async #begin(what: Omit<NewOperation, "id" | "event">, data: string | null): Promise<Operation> {
    const { newId, store, begun } = this.#parts
    const event = data === null ? null : { id: newId("evt"), data }
    const operation = await store.addOperation({ ...what, id: newId("op"), event })
    begun()
    return operation
  }

  #nextEnd(): { within(ms: number): Promise<void>; cancel(): void } {
    let ring = (): void => undefined
    const rung = new Promise<void>((resolve) => {
      ring = resolve
    })
    this.#waiting.add(ring)
    const cancel = (): void => void this.#waiting.delete(ring)
    return {
      cancel,
      within: async (ms) => {
        const quiet = this.#parts.clock.after(ms, ring)
        await rung
        quiet()
        cancel()
      },
    }
  }
}
