import type { StandardJSONSchemaV1, StandardSchemaV1 } from "@standard-schema/spec"
import { FanfareError } from "../core/errors.ts"

/** Event names and what their data looks like: Standard Schemas of whichever library (zod, valibot, arktype). */
export type EventSchemas = Readonly<Record<string, StandardSchemaV1>>

/**
 * Checks a value; gives what the schema made of it.
 * @throws FanfareError `schema_mismatch` naming the path of the first thing that does not fit
 */
export async function checkSchema(schema: StandardSchemaV1, value: unknown, field: string): Promise<unknown> {
  let result = schema["~standard"].validate(value)
  if (result instanceof Promise) result = await result
  if (result.issues === undefined) return result.value
  const issues = result.issues.map((issue) => `${[field, ...(issue.path ?? []).map(segment)].join(".")}: ${issue.message}`)
  throw new FanfareError("schema_mismatch", `${issues.slice(0, 5).join("; ")}${issues.length > 5 ? "; …" : ""}`, {
    field: issues[0]?.split(":")[0] ?? field,
  })
}

function segment(part: PropertyKey | StandardSchemaV1.PathSegment): string {
  return String(typeof part === "object" ? part.key : part)
}

/**
 * What may be sent, as JSON Schema in text: for forms. Undefined when the library does not say it (`~standard.jsonSchema`: zod 4.2,
 * arktype 2.1.28, valibot by `toStandardJsonSchema`), or cannot say this one.
 */
export function jsonSchemaOf(schema: StandardSchemaV1): string | undefined {
  const { jsonSchema } = schema["~standard"] as StandardSchemaV1.Props & Partial<StandardJSONSchemaV1.Props>
  try {
    return JSON.stringify(jsonSchema?.input({ target: "draft-2020-12" }))
  } catch {
    return undefined
  }
}
