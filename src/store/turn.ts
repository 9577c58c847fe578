import type { Unit, UnitResult } from "../core/change.ts"
import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import { type Claim, type ClaimRequest, claimRuns } from "./claim.ts"
import { type Committed, commitUnits } from "./commit.ts"
import { nothingEnded } from "./commit-fanout.ts"
import type { Db } from "./db.ts"
import type { Marks } from "./marks.ts"
import { insertReady, linesOf, runsIn } from "./queue.ts"

/** One transaction: units made durable, then runs claimed. */
export interface TurnRequest {
  readonly units: readonly Unit[]
  readonly claim: ClaimRequest | null
}

export interface TurnResult {
  readonly results: readonly UnitResult[]
  readonly claim: Claim | null
  /** The earliest of the timers that were set; null when none was. */
  readonly timerAt: number | null
  /** Runs put in line that this turn did not claim: other nodes may want to know. */
  readonly left: number
  /** Fan-outs whose last run has ended. */
  readonly ended: number
  /** Fan-outs whose gate has opened. */
  readonly opened: readonly string[]
  /** Runs that are to be cancelled. */
  readonly doomed?: number
  /** The time that counts. */
  readonly now: number
}

export async function turnWith(db: Db, request: TurnRequest, marks: Marks): Promise<TurnResult> {
  let tries = 0
  try {
    return await db.tx(async (tx) => {
      if (++tries > 1) marks.forget()
      return takeTurn(tx, request, marks, await tx.now())
    })
  } catch (error) {
    marks.forget()
    throw error
  }
}

async function takeTurn(tx: Db, { units, claim }: TurnRequest, marks: Marks, now: number): Promise<TurnResult> {
  if (units.length > limits.unitsPerTransaction) throw new FanfareError("too_many", `${units.length} units in one transaction`)
  const { results, timerAt, lines, arrived, doomed, count } = units.length === 0 ? nothing : await commitUnits(tx, units, now)
  marks.lined(lines)
  const claimed = claim === null ? null : await claimRuns(tx, claim, marks, now, arrived)
  if (claim === null) {
    await insertReady(tx, arrived)
    marks.lined(linesOf(arrived))
  }
  const { ended, woken, opened } = await count()
  return {
    results,
    claim: claimed,
    timerAt: woken > 0 ? now : timerAt,
    left: Math.max(0, runsIn(lines) + arrived.length - (claimed?.runs.length ?? 0)),
    ended,
    opened,
    doomed,
    now,
  }
}

const nothing: Committed = { results: [], timerAt: null, lines: new Map(), arrived: [], doomed: 0, count: async () => nothingEnded }
