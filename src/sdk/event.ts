/** An event as a handler gets it. */
export interface HandlerEvent<Name extends string = string, Data = Record<string, unknown>> {
  /** The sender's id, or one made by Fanfare. */
  readonly id: string
  readonly name: Name
  readonly data: Data
  /** Milliseconds since 1970. */
  readonly ts: number
}
