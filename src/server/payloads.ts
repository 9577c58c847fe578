/** Fields that carry what users' code sends, gets or says. Error messages are not among them: whoever looks needs them. */
const payloads: ReadonlySet<string> = new Set(["data", "output", "logs", "fields"])

const hidden = "(hidden)"

/** An answer for those who may not see payloads. */
export async function withoutPayloads(response: Response): Promise<Response> {
  if (!/json/.test(response.headers.get("content-type") ?? "")) return response
  const text = JSON.stringify(JSON.parse(await response.text(), (name, value: unknown) => (payloads.has(name) ? hide(value) : value)))
  const headers = new Headers(response.headers)
  headers.delete("content-length")
  return new Response(text, { status: response.status, headers })
}

/** As what it was: JSON text stays JSON text. */
function hide(value: unknown): unknown {
  if (value === null || Array.isArray(value)) return value === null ? null : []
  return typeof value === "string" ? JSON.stringify(hidden) : hidden
}
