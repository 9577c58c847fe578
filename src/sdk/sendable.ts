import type { StandardSchemaV1 } from "@standard-schema/spec"
import type { EventSchemas } from "./schema.ts"

/** An event to send: with schemas, one of theirs; without, any name and any object that JSON can carry. */
export type SendableEvent<S extends EventSchemas> = string extends keyof S
  ? SendableOf<string, object | undefined>
  : { [Name in keyof S & string]: SendableOf<Name, StandardSchemaV1.InferInput<S[Name]>> }[keyof S & string]

type SendableOf<Name extends string, Data> = {
  readonly name: Name
  /** Makes the send idempotent: the same id within 24 h starts nothing twice. */
  readonly id?: string
  /** Milliseconds since 1970; in the future: the runs start then. */
  readonly ts?: number
} & (undefined extends Data ? { readonly data?: Data } : { readonly data: Data })
