import { debounceUntil, type Entry, isFull, type Pending, type Rate, takeRate } from "./entry.ts"
import type { LimitClaim, NewRun } from "./run.ts"

/** What the store knows of the keys of entries, under their locks. */
export interface EntryFacts {
  readonly rates: ReadonlyMap<string, Rate>
  /** Runs that wait for more events, by key: only those that still do. */
  readonly pending: ReadonlyMap<string, Pending>
  /** Of singletons: runs that have not ended. */
  readonly open: ReadonlyMap<string, readonly string[]>
}

/** A run that ends before it begins. */
export interface EndedAtOnce {
  readonly run: NewRun
  readonly state: "skipped" | "failed"
  readonly reason: string
}

export interface EntryDecisions {
  /** Runs to add, some with another time than they came with. */
  readonly added: NewRun[]
  readonly ended: EndedAtOnce[]
  /** Runs of before that a later event replaces. */
  readonly replaced: { readonly runId: string; readonly reason: string }[]
  /** Runs of before that a new one cancels: it waits until they have ended. */
  readonly doomed: { readonly runId: string; readonly reason: string }[]
  /** Events that join a batch: their own runs are not needed. */
  readonly joined: { readonly runId: string; readonly run: NewRun }[]
  /** Batches of before that are full: they start now. */
  readonly full: { readonly key: string; readonly runId: string }[]
  readonly rates: Map<string, Rate>
  readonly pending: Map<string, Pending | null>
}

/** Decides about new runs, one after the other: what one leaves behind the next one finds. Pure. */
export function decideEntries(runs: readonly NewRun[], facts: EntryFacts, now: number): EntryDecisions {
  const keeper = new Doorkeeper(facts, now)
  for (const run of runs) keeper.decide(run)
  return keeper.decisions
}

class Doorkeeper {
  readonly decisions: EntryDecisions = {
    added: [],
    ended: [],
    replaced: [],
    doomed: [],
    joined: [],
    full: [],
    rates: new Map(),
    pending: new Map(),
  }
  readonly #facts: EntryFacts
  readonly #now: number
  readonly #open: Map<string, readonly string[]>

  constructor(facts: EntryFacts, now: number) {
    this.#facts = facts
    this.#now = now
    this.#open = new Map(facts.open)
  }

  decide(run: NewRun): void {
    let admitted = run
    for (const entry of run.entries ?? []) {
      const next = this.#pass(admitted, entry)
      if (next === null) return
      admitted = next
    }
    this.decisions.added.push(admitted)
  }

  /** The run as it goes on from a entry; null when it goes no further. */
  #pass(run: NewRun, entry: Entry): NewRun | null {
    switch (entry.kind) {
      case "refuse":
        return this.#end(run, entry.state, entry.reason)
      case "rate":
        return this.#rate(run, entry)
      case "debounce":
        return this.#debounce(run, entry)
      case "batch":
        return this.#batch(run, entry)
      case "singleton":
        return this.#singleton(run, entry)
      default:
        return entry satisfies never
    }
  }

  #end(run: NewRun, state: EndedAtOnce["state"], reason: string): null {
    this.decisions.ended.push({ run, state, reason })
    return null
  }

  #rate(run: NewRun, entry: Extract<Entry, { kind: "rate" }>): NewRun | null {
    const { rates } = this.decisions
    const known = rates.get(entry.key) ?? this.#facts.rates.get(entry.key) ?? null
    const taken = takeRate(known, entry.limit, entry.periodMs, this.#now)
    if ("rate" in taken) {
      rates.set(entry.key, taken.rate)
      return run
    }
    const until = new Date(taken.until).toISOString()
    const what =
      entry.name === "idempotency" ? "a run with this value was started within 24 h" : `${entry.limit} per ${entry.periodMs / 1_000} s`
    return this.#end(run, "skipped", `${entry.name}: ${what} (${entry.key}); the next may start at ${until}`)
  }

  #pendingOf(key: string): Pending | null {
    const { pending } = this.decisions
    return pending.has(key) ? (pending.get(key) ?? null) : (this.#facts.pending.get(key) ?? null)
  }

  #debounce(run: NewRun, entry: Extract<Entry, { kind: "debounce" }>): NewRun | null {
    const { pending } = this.decisions
    const waiting = this.#pendingOf(entry.key)
    if (waiting !== null && entry.ts < waiting.ts) {
      return this.#end(run, "skipped", `debounce: run ${waiting.runId} waits with an event that is newer (${entry.key})`)
    }
    if (waiting !== null)
      this.#drop(waiting.runId, "skipped", `debounce: an event that came later replaced it, see run ${run.id} (${entry.key})`)
    const since = waiting?.since ?? this.#now
    const until = Math.max(debounceUntil(entry, since, this.#now), run.dueAt)
    pending.set(entry.key, { runId: run.id, since, until, n: (waiting?.n ?? 0) + 1, bytes: 0, ts: entry.ts })
    return dueAt(run, until)
  }

  #batch(run: NewRun, entry: Extract<Entry, { kind: "batch" }>): NewRun | null {
    const { pending, joined, full } = this.decisions
    const waiting = this.#pendingOf(entry.key)
    const n = (waiting?.n ?? 0) + 1
    const bytes = (waiting?.bytes ?? 0) + entry.bytes
    const done = isFull(entry, { n, bytes })
    if (waiting === null) {
      const until = this.#now + entry.timeoutMs
      pending.set(entry.key, done ? null : { runId: run.id, since: this.#now, until, n, bytes, ts: this.#now })
      return done ? closed(dueAt(run, this.#now), entry.key) : dueAt(run, until)
    }
    joined.push({ runId: waiting.runId, run })
    pending.set(entry.key, done ? null : { ...waiting, n, bytes })
    if (done && !this.#replaceAdded(waiting.runId, (first) => closed(dueAt(first, this.#now), entry.key))) {
      full.push({ key: entry.key, runId: waiting.runId })
    }
    return null
  }

  #singleton(run: NewRun, entry: Extract<Entry, { kind: "singleton" }>): NewRun | null {
    const before = this.#open.get(entry.key) ?? []
    const [first] = before
    if (first !== undefined && entry.mode === "skip") {
      return this.#end(run, "skipped", `singleton: run ${first} has not ended (${entry.key})`)
    }
    for (const id of before) this.#drop(id, "cancelled", `singleton: run ${run.id} took its place (${entry.key})`)
    const still = this.#open.get(entry.key) ?? []
    this.#open.set(entry.key, [...still, run.id])
    return still.length === 0 ? run : waiting(run, entry.key)
  }

  /** An earlier run ends: one of these, which is not written yet, or one of before. */
  #drop(runId: string, state: "skipped" | "cancelled", reason: string): void {
    const { added, replaced, doomed, ended } = this.decisions
    const i = added.findIndex(({ id }) => id === runId)
    const [own] = i === -1 ? [] : added.splice(i, 1)
    if (own === undefined && state === "cancelled") {
      if (!doomed.some((each) => each.runId === runId)) doomed.push({ runId, reason })
      return
    }
    for (const [key, open] of this.#open)
      if (open.includes(runId))
        this.#open.set(
          key,
          open.filter((id) => id !== runId),
        )
    if (own === undefined) replaced.push({ runId, reason })
    // It was never there for anybody, so it is not cancelled.
    else ended.push({ run: own, state: "skipped", reason })
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

/** A run that takes its place when those before it have left. */
function waiting(run: NewRun, key: string): NewRun {
  return { ...run, limits: run.limits.map((claim): LimitClaim => (claim.key === key ? { ...claim, hold: "run" } : claim)) }
}
