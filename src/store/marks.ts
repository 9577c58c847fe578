import { limits } from "../core/limits.ts"
import type { Db } from "./db.ts"
import type { Lines, QueueRow } from "./queue.ts"

/** A place in the line of a function: behind it may be runs to claim. */
export interface Mark {
  readonly rank: number
  readonly runId: string
}

const beginning: Mark = { rank: -1, runId: "" }

/**
 * Where each function's line begins, as far as this node knows. PostgreSQL leaves the rows that were claimed in the index until a vacuum
 * may clear them, which a long transaction can put off for hours: a claim that began at the front each time would walk over all of
 * them. So it begins where the last one ended, or where this node has put something in line since. What other nodes put before that is
 * found by a look at the whole line: again after `limits.lookMs`, or less often where such a look takes long.
 */
export class Marks {
  readonly #clock: { now(): number }
  readonly #marks = new Map<string, Mark>()
  #lookedAt = Number.NEGATIVE_INFINITY
  #lookMs = 0
  #looking = false
  /** What was put in line while a claim was under way that may have come too early to see it. */
  #meanwhile: Lines[] | null = null

  constructor(clock: { now(): number }) {
    this.#clock = clock
  }

  /** A claim begins: the functions, of those given, that may have runs in line, in the order of their ids. */
  async waiting(db: Db, functionIds: readonly string[]): Promise<{ functions: string[]; lookInMs: number | null }> {
    this.#meanwhile = []
    const began = this.#clock.now()
    const lookInMs = this.#lookedAt + this.#gapMs() - began
    if (lookInMs > 0) return { functions: functionIds.filter((id) => this.#marks.has(id)).toSorted(), lookInMs }
    const functions = await hostedInLine(db, functionIds)
    this.#lookedAt = began
    this.#looking = true
    this.#marks.clear()
    for (const id of functions) this.#marks.set(id, beginning)
    return { functions, lookInMs: null }
  }

  from(functionId: string): Mark {
    return this.#marks.get(functionId) ?? beginning
  }

  /** A line that gave fewer than it was asked for has come to its end. */
  took(functionId: string, rows: readonly QueueRow[], asked: number): void {
    const last = rows.at(-1)
    if (last === undefined || rows.length < asked) this.#marks.delete(functionId)
    else this.#marks.set(functionId, last)
  }

  /** The claim is over. */
  claimed(): void {
    if (this.#looking) this.#lookMs = this.#clock.now() - this.#lookedAt
    this.#looking = false
    const meanwhile = this.#meanwhile ?? []
    this.#meanwhile = null
    for (const lines of meanwhile) this.lined(lines)
  }

  /** This node has put runs in line. */
  lined(lines: Lines): void {
    this.#meanwhile?.push(lines)
    this.joined(lines)
  }

  /** The claim that is under way has put runs in line. */
  joined(lines: Lines): void {
    for (const [functionId, { rank }] of lines) {
      const mark = this.#marks.get(functionId)
      if (mark === undefined || mark.rank >= rank) this.#marks.set(functionId, { rank, runId: "" })
    }
  }

  /** A transaction was rolled back: what it noted is not true. */
  forget(): void {
    this.#lookedAt = Number.NEGATIVE_INFINITY
  }

  #gapMs(): number {
    return Math.max(this.#marks.size === 0 ? 0 : limits.lookMs, Math.min(this.#lookMs * restPerLook, limits.lookMostMs))
  }
}

/** A look at all lines may take this share of the time: one in so many. */
const restPerLook = 20

/** A walk over the index from one function to the next: its cost follows the number of functions, not of runs. */
async function hostedInLine(db: Db, functionIds: readonly string[]): Promise<string[]> {
  const rows = await db.query<{ id: string | null }>(
    `with recursive f(id) as (
       select min(function_id) from ready
       union all select (select min(function_id) from ready where function_id > f.id) from f where f.id is not null)
     select id from f where id is not null`,
  )
  const hosted = new Set(functionIds)
  return rows.flatMap(({ id }) => (id === null || !hosted.has(id) ? [] : [id]))
}
