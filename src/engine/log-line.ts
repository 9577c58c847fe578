import { limits } from "../core/limits.ts"

/** A message of a length that is kept. */
export function cut(text: string): string {
  return text.length <= limits.logLineChars ? text : `${text.slice(0, limits.logLineChars - 1)}…`
}

/** Logging never fails: what JSON cannot carry is shown as text. */
export function encodeFields(fields: Readonly<Record<string, unknown>> | undefined): string | null {
  if (fields === undefined || fields === null) return null
  const seen = new WeakSet<object>()
  try {
    const text = JSON.stringify(fields, (_key, value: unknown) => {
      if (typeof value === "bigint") return value.toString()
      if (value instanceof Error) return { name: value.name, message: value.message, stack: value.stack }
      if (typeof value !== "object" || value === null) return value
      if (seen.has(value)) return "(seen above)"
      seen.add(value)
      return value
    })
    return text === undefined ? null : text.length <= limits.logLineChars ? text : JSON.stringify({ cut: cut(text) })
  } catch {
    return JSON.stringify({ cut: "(fields cannot be shown)" })
  }
}
