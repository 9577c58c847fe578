import { debounceUntil, type Gate, isFull, type Pending, type Rate, takeRate } from "./gate.ts"
import type { LimitClaim, NewRun } from "./run.ts"

/** What the store knows of the keys of gates, under their locks. */
export interface GateFacts {
  readonly rates: ReadonlyMap<string, Rate>
  /** Runs that wait for more events, by key: only those that still do. */
  readonly pending: ReadonlyMap<string, Pending>
  /** Of singletons: the run that has not ended. */
  readonly open: ReadonlyMap<string, string>
}

/** A run that ends before it begins. */
export interface EndedAtOnce {
  readonly run: NewRun
  readonly state: "skipped" | "failed" | "cancelled"
  readonly reason: string
}

export interface GateDecisions {
  /** Runs to add, some with another time than they came with. */
  readonly added: NewRun[]
  readonly ended: EndedAtOnce[]
  /** Runs of before that a later event replaces. */
  readonly replaced: { readonly runId: string; readonly reason: string }[]
  /** Runs of before that a new one cancels. */
  readonly cancelled: { readonly runId: string; readonly reason: string }[]
  /** Events that join a batch: their own runs are not needed. */
  readonly joined: { readonly runId: string; readonly run: NewRun }[]
  /** Batches of before that are full: they start now. */
  readonly full: { readonly key: string; readonly runId: string }[]
  readonly rates: Map<string, Rate>
  readonly pending: Map<string, Pending | null>
}

/** Decides about new runs, one after the other: what one leaves behind the next one finds. Pure. */
export function decideGates(runs: readonly NewRun[], facts: GateFacts, now: number): GateDecisions {
  const keeper = new Gatekeeper(facts, now)
  for (const run of runs) keeper.decide(run)
  return keeper.decisions
}

class Gatekeeper {
  readonly decisions: GateDecisions = {
    added: [],
    ended: [],
    replaced: [],
    cancelled: [],
    joined: [],
    full: [],
    rates: new Map(),
    pending: new Map(),
  }
  readonly #facts: GateFacts
  readonly #now: number
  readonly #open: Map<string, string>

  constructor(facts: GateFacts, now: number) {
    this.#facts = facts
    this.#now = now
    this.#open = new Map(facts.open)
  }

  decide(run: NewRun): void {
    let admitted = run
    for (const gate of run.gates ?? []) {
      const next = this.#pass(admitted, gate)
      if (next === null) return
      admitted = next
    }
    this.decisions.added.push(admitted)
  }

  /** The run as it goes on from a gate; null when it goes no further. */
  #pass(run: NewRun, gate: Gate): NewRun | null {
    switch (gate.kind) {
      case "refuse":
        return this.#end(run, gate.state, gate.reason)
      case "rate":
        return this.#rate(run, gate)
      case "debounce":
        return this.#debounce(run, gate)
      case "batch":
        return this.#batch(run, gate)
      case "singleton":
        return this.#singleton(run, gate)
      default:
        return gate satisfies never
    }
  }

  #end(run: NewRun, state: EndedAtOnce["state"], reason: string): null {
    this.decisions.ended.push({ run, state, reason })
    return null
  }

  #rate(run: NewRun, gate: Extract<Gate, { kind: "rate" }>): NewRun | null {
    const { rates } = this.decisions
    const known = rates.get(gate.key) ?? this.#facts.rates.get(gate.key) ?? null
    const taken = takeRate(known, gate.limit, gate.periodMs, this.#now)
    if ("rate" in taken) {
      rates.set(gate.key, taken.rate)
      return run
    }
    const until = new Date(taken.until).toISOString()
    const what =
      gate.name === "idempotency" ? "a run with this value was started within 24 h" : `${gate.limit} per ${gate.periodMs / 1_000} s`
    return this.#end(run, "skipped", `${gate.name}: ${what} (${gate.key}); the next may start at ${until}`)
  }

  #pendingOf(key: string): Pending | null {
    const { pending } = this.decisions
    return pending.has(key) ? (pending.get(key) ?? null) : (this.#facts.pending.get(key) ?? null)
  }

  #debounce(run: NewRun, gate: Extract<Gate, { kind: "debounce" }>): NewRun | null {
    const { pending } = this.decisions
    const waiting = this.#pendingOf(gate.key)
    if (waiting !== null && gate.ts < waiting.ts) {
      return this.#end(run, "skipped", `debounce: run ${waiting.runId} waits with an event that is newer (${gate.key})`)
    }
    if (waiting !== null)
      this.#drop(waiting.runId, "skipped", `debounce: an event that came later replaced it, see run ${run.id} (${gate.key})`)
    const since = waiting?.since ?? this.#now
    const until = Math.max(debounceUntil(gate, since, this.#now), run.dueAt)
    pending.set(gate.key, { runId: run.id, since, until, n: (waiting?.n ?? 0) + 1, bytes: 0, ts: gate.ts })
    return dueAt(run, until)
  }

  #batch(run: NewRun, gate: Extract<Gate, { kind: "batch" }>): NewRun | null {
    const { pending, joined, full } = this.decisions
    const waiting = this.#pendingOf(gate.key)
    const n = (waiting?.n ?? 0) + 1
    const bytes = (waiting?.bytes ?? 0) + gate.bytes
    const done = isFull(gate, { n, bytes })
    if (waiting === null) {
      const until = this.#now + gate.timeoutMs
      pending.set(gate.key, done ? null : { runId: run.id, since: this.#now, until, n, bytes, ts: this.#now })
      return done ? closed(dueAt(run, this.#now), gate.key) : dueAt(run, until)
    }
    joined.push({ runId: waiting.runId, run })
    pending.set(gate.key, done ? null : { ...waiting, n, bytes })
    if (done && !this.#replaceAdded(waiting.runId, (first) => closed(dueAt(first, this.#now), gate.key))) {
      full.push({ key: gate.key, runId: waiting.runId })
    }
    return null
  }

  #singleton(run: NewRun, gate: Extract<Gate, { kind: "singleton" }>): NewRun | null {
    const before = this.#open.get(gate.key)
    if (before !== undefined && gate.mode === "skip") {
      return this.#end(run, "skipped", `singleton: run ${before} has not ended (${gate.key})`)
    }
    if (before !== undefined) this.#drop(before, "cancelled", `singleton: run ${run.id} took its place (${gate.key})`)
    this.#open.set(gate.key, run.id)
    return run
  }

  /** An earlier run ends: one of these, which is not written yet, or one of before. */
  #drop(runId: string, state: "skipped" | "cancelled", reason: string): void {
    const { added, replaced, cancelled, ended } = this.decisions
    for (const [key, open] of this.#open) if (open === runId) this.#open.delete(key)
    const i = added.findIndex(({ id }) => id === runId)
    const [own] = i === -1 ? [] : added.splice(i, 1)
    if (own !== undefined) ended.push({ run: own, state, reason })
    else (state === "skipped" ? replaced : cancelled).push({ runId, reason })
  }

  #replaceAdded(runId: string, change: (run: NewRun) => NewRun): boolean {
    const { added } = this.decisions
    const i = added.findIndex(({ id }) => id === runId)
    const found = added[i]
    if (found === undefined) return false
    added[i] = change(found)
    return true
  }
}

/** A run that is due at another time keeps its priority. */
function dueAt(run: NewRun, at: number): NewRun {
  return { ...run, dueAt: at, rank: at + (run.rank ?? run.dueAt) - run.dueAt }
}

/** A batch that waits for nothing more. */
function closed(run: NewRun, key: string): NewRun {
  return { ...run, limits: run.limits.map((claim): LimitClaim => (claim.key === key ? { ...claim, hold: "events" } : claim)) }
}
