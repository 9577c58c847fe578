import type { Failure } from "../core/failure.ts"
import type { StepKind, StepRecord } from "../core/step.ts"

export interface StoredStep {
  run_id: string
  key: string
  fence: number
  kind: StepKind
  state: StepRecord["state"]
  attempts: number
  output: string | null
  failure: string | null
  due_at: number | null
  started_at: number
  ended_at: number
}

export function toStep(row: StoredStep): StepRecord {
  return {
    key: row.key,
    kind: row.kind,
    state: row.state,
    attempts: row.attempts,
    output: row.output,
    failure: toFailure(row.failure),
    dueAt: row.due_at,
    startedAt: row.started_at,
    endedAt: row.ended_at,
  }
}

export function toFailure(text: string | null): Failure | null {
  return text === null ? null : (JSON.parse(text) as Failure)
}
