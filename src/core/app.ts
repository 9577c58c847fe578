import type { Intake } from "./attempt.ts"
import type { FunctionDefinition } from "./definition.ts"
import type { Chain } from "./middleware.ts"

/** The event as user code gets it. */
export interface ReceivedEvent {
  readonly id: string
  readonly name: string
  readonly data: unknown
  readonly ts: number
}

/** A function that runs in this process: its rules, its code, and the check of the events that reach it. */
export interface HostedFunction {
  readonly definition: FunctionDefinition
  readonly handler: (context: never) => unknown
  /** Throws, or gives the event with its data as the schema made it. */
  /** What stands around its runs; none when undefined. */
  readonly chain?: Chain | null
  /** It undoes what cancelled runs of another function have done, with the code of that one. */
  readonly compensates?: boolean
  readonly receive: (event: ReceivedEvent) => Promise<ReceivedEvent> | ReceivedEvent
}

/** A set of functions registered together, as the engine sees it. */
export interface App {
  readonly id: string
  hosted(): ReadonlyMap<string, HostedFunction>
  /** From now on, `send` outside of runs goes to `intake`; returns the way back. */
  connect(intake: Intake): () => void
}
