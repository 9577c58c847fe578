import type { SendResult } from "./attempt.ts"
import type { EventInput } from "./event.ts"

/** Writes lines that are kept with the run (the first 1,000) and also go to the engine's standard output. */
export interface Logger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
  error(message: string, fields?: Readonly<Record<string, unknown>>): void
}

/** What a middleware sees of a run. */
export interface RunInfo {
  readonly appId: string
  readonly functionId: string
  readonly runId: string
  /** 0 for the first attempt. */
  readonly attempt: number
  readonly logger: Logger
}

/**
 * Something that stands around the runs, steps and sends of an app. Each part may be left out. Several are put around each other in
 * order: the first is the outermost.
 */
export interface Middleware<Context extends object = object> {
  /** For messages. */
  readonly name: string
  /** Adds to what handlers get, before each attempt: connections, settings, a user. */
  readonly context?: (info: RunInfo) => Context | Promise<Context>
  /** Around a handler: `next` runs it and gives its result. Called for each attempt, also one that replays. */
  readonly run?: (info: RunInfo, next: () => Promise<unknown>) => Promise<unknown>
  /** Around the code of a `step.run`, each time it really runs. */
  readonly step?: (info: RunInfo & { readonly stepId: string }, next: () => Promise<unknown>) => Promise<unknown>
  /** Around a send: `next` sends what it is given. */
  readonly send?: (events: readonly EventInput[], next: (events: readonly EventInput[]) => Promise<SendResult>) => Promise<SendResult>
  /** Changes a value before it is kept: the data of an event, the result of a step, the output of a run. It must stay JSON. */
  readonly encode?: (value: unknown, place: "event" | "step" | "output") => unknown
  /** Undoes `encode`; what was not encoded is given back as it is. */
  readonly decode?: (value: unknown) => unknown
}

type ContextOf<M> = M extends Middleware<infer C> ? C : never
type Intersection<U> = (U extends unknown ? (each: U) => void : never) extends (all: infer I) => void ? I : never
/** What all middleware of an app adds to what its handlers get. */
export type Added<M extends readonly Middleware[]> = M extends readonly [] ? object : Intersection<ContextOf<M[number]>> & object

/** All middleware of an app as one; null parts where there is none, so that nothing is paid for them. */
export interface Chain {
  readonly context: ((info: RunInfo) => Promise<object>) | null
  readonly run: Required<Middleware>["run"] | null
  readonly step: Required<Middleware>["step"] | null
  readonly send: Required<Middleware>["send"] | null
  readonly encode: ((value: unknown, place: "event" | "step" | "output") => Promise<unknown>) | null
  readonly decode: ((value: unknown) => Promise<unknown>) | null
}

export function chain(middleware: readonly Middleware[]): Chain | null {
  if (middleware.length === 0) return null
  const having = <K extends keyof Middleware>(part: K): Required<Middleware>[K][] =>
    middleware.flatMap((each) => (each[part] === undefined ? [] : [each[part] as Required<Middleware>[K]]))
  const contexts = having("context")
  const encoders = having("encode")
  const decoders = having("decode").toReversed()
  return {
    context:
      contexts.length === 0
        ? null
        : async (info) => {
            let all = {}
            for (const context of contexts) all = { ...all, ...(await context(info)) }
            return all
          },
    run: around(having("run")),
    step: around(having("step")),
    send: having("send").reduceRight<Chain["send"]>(
      (inner, outer) => (inner === null ? outer : (events, next) => outer(events, (changed) => inner(changed, next))),
      null,
    ),
    encode:
      encoders.length === 0
        ? null
        : async (value, place) => {
            let encoded = value
            for (const encode of encoders) encoded = await encode(encoded, place)
            return encoded
          },
    decode:
      decoders.length === 0
        ? null
        : async (value) => {
            let decoded = value
            for (const decode of decoders) decoded = await decode(decoded)
            return decoded
          },
  }
}

function around<I>(
  parts: readonly ((info: I, next: () => Promise<unknown>) => Promise<unknown>)[],
): ((info: I, next: () => Promise<unknown>) => Promise<unknown>) | null {
  return parts.reduceRight<((info: I, next: () => Promise<unknown>) => Promise<unknown>) | null>(
    (inner, outer) => (inner === null ? outer : (info, next) => outer(info, () => inner(info, next))),
    null,
  )
}

/** Events with their data as it is kept. */
export async function encodeEvents(code: Chain | null, events: readonly EventInput[]): Promise<readonly EventInput[]> {
  const encode = code?.encode ?? null
  if (encode === null) return events
  return Promise.all(events.map(async (event) => ({ ...event, data: await encode(event.data ?? {}, "event") })))
}
