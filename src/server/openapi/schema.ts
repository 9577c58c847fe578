import type { Page } from "../../core/views.ts"

/** A JSON Schema (2020-12), as OpenAPI 3.1 has them, of values of a type: by which the compiler holds routes to what clients expect. */
export interface Schema<T = unknown> {
  /** Never there. */
  readonly of?: T
  readonly type?: string | readonly string[]
  readonly enum?: readonly (string | null)[]
  readonly items?: Schema
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: Schema | boolean
  readonly anyOf?: readonly Schema[]
  readonly $ref?: string
  readonly description?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly maxLength?: number
  readonly maxItems?: number
}

export const text: Schema<string> = { type: "string" }
export const whole: Schema<number> = { type: "integer" }
export const number: Schema<number> = { type: "number" }
export const flag: Schema<boolean> = { type: "boolean" }
export const json: Schema = { description: "Any JSON." }
export const object: Schema<object> = { type: "object" }
/** Milliseconds since 1970. */
export const moment: Schema<number> = { type: "integer", description: "Milliseconds since 1970." }
export const jsonText: Schema<string> = { type: "string", description: "JSON text." }

export function said<T>(schema: Schema<T>, description: string): Schema<T> {
  return { ...schema, description }
}

export function nullable<T>(schema: Schema<T>): Schema<T | null> {
  return typeof schema.type === "string" && schema.enum === undefined
    ? { ...schema, type: [schema.type, "null"] }
    : { anyOf: [schema, { type: "null" }] }
}

export function list<T>(items: Schema<T>): Schema<readonly T[]> {
  return { type: "array", items }
}

export function oneOf<T extends string>(...values: readonly T[]): Schema<T> {
  return { type: "string", enum: values }
}

export function ref(name: string): Schema {
  return { $ref: `#/components/schemas/${name}` }
}

export function page<T>(items: Schema<T>): Schema<Page<T>> {
  return shape<Page<T>>({
    items: list(items),
    next: said(nullable(text), "Give it as `after` for the next page; null on the last one."),
  })
}

/** Fields that need not be there. */
type Optional<T> = { [K in keyof T]-?: undefined extends T[K] ? K : never }[keyof T]

/** An object of the API: every field of its type must be here, and no other. */
export function shape<T>(fields: { readonly [K in keyof T]-?: Schema }, optional: readonly Optional<T>[] = []): Schema<T> {
  const required = Object.keys(fields).filter((name) => !(optional as readonly string[]).includes(name))
  return { type: "object", properties: fields, ...(required.length === 0 ? {} : { required }) }
}
