import { roleNeeded } from "../guard.ts"
import { version } from "../version.ts"
import { type Route, routes, takesIdempotencyKey } from "./routes.ts"
import { ref, type Schema, text } from "./schema.ts"
import { schemas } from "./schemas.ts"

/** The API as an OpenAPI 3.1 document, made from the table of its routes. */
export function openApi(): Record<string, unknown> {
  const operations = Map.groupBy(routes, ({ path }) => path.replaceAll(/:(\w+)/g, "{$1}"))
  return {
    openapi: "3.1.0",
    info: {
      title: "Fanfare",
      version,
      license: { name: "MIT", identifier: "MIT" },
      description:
        "Times are milliseconds since 1970. Errors are application/problem+json. Lists are pages: give `next` as `after` for the next one.",
    },
    servers: [{ url: "/" }],
    security: [{ bearer: [] }, { session: [] }],
    paths: Object.fromEntries(
      Array.from(operations, ([path, of]) => [path, Object.fromEntries(of.map((route) => [route.method, operation(route)]))]),
    ),
    components: {
      schemas,
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer", description: "A signing, admin or read key; for events the event key too." },
        session: { type: "apiKey", in: "cookie", name: "fanfare", description: "A login, see /api/v1/session. Over TLS: __Host-fanfare." },
      },
    },
  }
}

function operation(route: Route): Record<string, unknown> {
  const { method, path, id, says, query = {}, body, answer, type = "application/json" } = route
  const role = roleNeeded(method.toUpperCase(), path)
  const isOurs = path.startsWith("/api/") || path === "/metrics"
  const open = role === "nobody" || !isOurs
  const inPath = Array.from(path.matchAll(/:(\w+)/g), ([, name = ""]) => parameter("path", name, text, true))
  const inQuery = Object.entries(query).map(([name, schema]) => parameter("query", name, schema, false))
  const error = isOurs ? { "application/problem+json": { schema: ref("Problem") } } : { "application/json": { schema: ref("Refusal") } }
  const refused = { description: "What is wrong with the request.", content: error }
  const key = takesIdempotencyKey(route) ? [parameter("header", "idempotency-key", idempotencyKey, false)] : []
  return {
    operationId: id,
    summary: says,
    ...(open ? { security: [] } : { "x-role": role }),
    parameters: [...inPath, ...inQuery, ...key],
    ...(body === undefined ? {} : { requestBody: { content: { "application/json": { schema: body } } } }),
    responses: {
      "200": { description: "Done.", content: { [type]: { schema: answer } } },
      "4XX": refused,
      default: { ...refused, description: "An error." },
    },
  }
}

const idempotencyKey: Schema = {
  type: "string",
  maxLength: 255,
  description: "The same again within 24 h gives the same answer and does nothing twice.",
}

function parameter(place: "path" | "query" | "header", name: string, schema: Schema, required: boolean): Record<string, unknown> {
  return { in: place, name, schema, ...(required ? { required } : {}) }
}
