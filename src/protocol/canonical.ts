/** A JSON value as RFC 8785 (JCS) text: what signatures are made over, so that both sides sign the same bytes whatever wrote them. */
export function canonicalJson(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null"
  if (Array.isArray(value)) {
    let list = ""
    for (const item of value) list += list === "" ? canonicalJson(item) : `,${canonicalJson(item)}`
    return `[${list}]`
  }
  const fields = value as Readonly<Record<string, unknown>>
  let text = ""
  // By UTF-16 code units, which is how texts compare here. Made with each call of an app: plain loops, which cost half.
  for (const key of Object.keys(fields).sort()) {
    const inner = fields[key]
    if (inner === undefined) continue
    text += `${text === "" ? "" : ","}${JSON.stringify(key)}:${canonicalJson(inner)}`
  }
  return `{${text}}`
}
