import type { RunPace } from "../core/admit.ts"
import type { FanoutPart, UnitResult } from "../core/change.ts"
import { checkRules, type FanOutRules, type SettledRules, settleRules } from "../core/gate.ts"

/** Where a part of a send comes from. */
export interface SendOrigin {
  readonly runId: string | null
  /** The fan-out that it belongs to, and its place in it. */
  readonly fanout: FanoutPlace | null
  /** The only function that it is for. */
  readonly functionId: string | null
  /** Where the send stands in a trace. */
  readonly trace: string | null
}

export interface FanoutPlace extends Pick<FanoutPart, "id" | "key" | "from" | "sealed" | "cursor" | "runsBefore"> {
  readonly rules: SettledRules | null
  /** When the fan-out began: starts are spread from there. */
  readonly startedAt: number
}

export function paceOf({ rules, startedAt, runsBefore, from }: FanoutPlace, runs: number, events: number): RunPace | null {
  return rules === null ? null : { ...rules, startedAt, runsBefore: runsBefore + runs, eventsBefore: from + events }
}

export interface Written {
  readonly result: UnitResult
  /** The ids under which the events are stored, those of duplicates included. */
  readonly ids: readonly string[]
  /** Runs that they started, without those of duplicates. */
  readonly runs: number
  /** When every event was a duplicate: the fan-out of the first ones. */
  readonly firstFanoutId?: string | null
}

/** @throws FanfareError `invalid_option` */
export function rulesFor(rules: FanOutRules | undefined, events: number | null): SettledRules | null {
  const checked = rules === undefined ? null : checkRules(rules)
  return checked === null ? null : settleRules(checked, events)
}
