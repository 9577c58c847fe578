/** A JSON Schema (2020-12), as OpenAPI 3.1 has them. */
export interface Schema {
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

export const text: Schema = { type: "string" }
export const whole: Schema = { type: "integer" }
export const number: Schema = { type: "number" }
export const flag: Schema = { type: "boolean" }
export const json: Schema = { description: "Any JSON." }
export const object: Schema = { type: "object" }
/** Milliseconds since 1970. */
export const moment: Schema = { type: "integer", description: "Milliseconds since 1970." }
export const jsonText: Schema = { type: "string", description: "JSON text." }

export function said(schema: Schema, description: string): Schema {
  return { ...schema, description }
}

export function nullable(schema: Schema): Schema {
  return typeof schema.type === "string" && schema.enum === undefined
    ? { ...schema, type: [schema.type, "null"] }
    : { anyOf: [schema, { type: "null" }] }
}

export function list(items: Schema): Schema {
  return { type: "array", items }
}

export function oneOf(...values: readonly string[]): Schema {
  return { type: "string", enum: values }
}

export function ref(name: string): Schema {
  return { $ref: `#/components/schemas/${name}` }
}

export function page(items: Schema): Schema {
  return shape<{ items: unknown; next: unknown }>({
    items: list(items),
    next: said(nullable(text), "Give it as `after` for the next page; null on the last one."),
  })
}

/** Fields that need not be there. */
type Optional<T> = { [K in keyof T]-?: undefined extends T[K] ? K : never }[keyof T]

/** An object of the API: every field of its type must be here, and no other. */
export function shape<T>(fields: { readonly [K in keyof T]-?: Schema }, optional: readonly Optional<T>[] = []): Schema {
  const required = Object.keys(fields).filter((name) => !(optional as readonly string[]).includes(name))
  return { type: "object", properties: fields, ...(required.length === 0 ? {} : { required }) }
}
