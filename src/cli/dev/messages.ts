import type { SendResult, SendWay, SignalResult, SourceSend, StepReport } from "../../core/attempt.ts"
import type { LogLine } from "../../core/change.ts"
import type { FunctionDefinition } from "../../core/definition.ts"
import type { EventInput } from "../../core/event.ts"
import type { Outcome } from "../../core/outcome.ts"
import type { ClaimedRun } from "../../core/run.ts"
import type { StepRecord } from "../../core/step.ts"
import type { Piece, SourceResult } from "../../core/source.ts"
import type { PackedError } from "../../core/packed-error.ts"

/** From the engine's process to the one that has the user's code. */
export type ToCode =
  | { readonly kind: "execute"; readonly call: number; readonly run: ClaimedRun; readonly steps: readonly StepRecord[] }
  | { readonly kind: "abort"; readonly call: number }
  | { readonly kind: "answer"; readonly ask: number; readonly value?: Answered; readonly error?: PackedError }
  /** The next piece of the source that came with `ask`; `from` with the first one. */
  | { readonly kind: "pull"; readonly ask: number; readonly from?: { readonly taken: number; readonly cursor: string | null } }

export type Answered = StepRecord | SendResult | SignalResult | SourceResult | string | null

/** And back. `ask`s are answered, in any order. */
export type FromCode =
  | { readonly kind: "ready"; readonly apps: readonly { readonly id: string; readonly functions: readonly FunctionDefinition[] }[] }
  | { readonly kind: "unfit"; readonly error: PackedError }
  | { readonly kind: "outcome"; readonly call: number; readonly outcome: Outcome }
  | { readonly kind: "log"; readonly call: number; readonly level: LogLine["level"]; readonly message: string; readonly fields?: string }
  | { readonly kind: "report"; readonly ask: number; readonly call: number; readonly report: StepReport }
  | { readonly kind: "register"; readonly ask: number; readonly call: number }
  /** `call` is null outside of runs. */
  | { readonly kind: "signal"; readonly ask: number; readonly call: number | null; readonly signal: string; readonly data: unknown }
  | {
      readonly kind: "send"
      readonly ask: number
      readonly call: number | null
      readonly key: string
      readonly events: readonly EventInput[]
      readonly way: Omit<SendWay, "joined">
    }
  /** `call` is null for a source outside of runs. */
  | { readonly kind: "source"; readonly ask: number; readonly call: number | null; readonly send: SourceSend }
  /** Null: the source has ended. */
  | { readonly kind: "piece"; readonly ask: number; readonly piece: Piece | null; readonly error?: PackedError }
