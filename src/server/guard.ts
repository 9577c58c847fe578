import type { Context, Hono, Next } from "hono"
import { FanfareError } from "../core/errors.ts"
import { paths } from "../protocol/api.ts"
import type { Access } from "./access.ts"
import { bodyBound } from "./body-bound.ts"
import { bodiesBound } from "./flow.ts"
import { type Identity, isCrossSite } from "./identity.ts"
import { isForm } from "./request.ts"
import type { Role } from "./person.ts"
import { withoutPayloads } from "./payloads.ts"

/** What is refused before any route is looked at. */
export function guard(api: Hono, identity: Identity): void {
  const { access } = identity
  api.use(bodyBound())
  api.use(bodiesBound())
  if (access.kind === "dev") api.use(localOnly)
  // Pages of other sites can have the browser send requests along with what it keeps for us. Events may come from anywhere: who sends
  // them has the key in the path.
  api.use(async (c, next) => {
    const reads = isReading(c.req.method)
    const open = access.kind === "cloud" && c.req.path.startsWith("/e/")
    if (!reads && !open && isCrossSite((name) => c.req.header(name))) {
      throw new FanfareError("cross_site", "this request was made by a page of another site", {
        hint: "Behind a proxy: let it pass the header Host on, or say it as X-Forwarded-Host.",
      })
    }
    const form = c.req.path === loginPath
    const json = form || access.kind === "cloud" ? c.req.path.startsWith("/api/") : !isWebhook(c.req.path)
    const type = c.req.header("content-type") ?? ""
    const other = (c.req.path.startsWith("/e/") && isForm(type)) || (isConnect(c.req.path) && type === "application/protobuf")
    // No page can send a DELETE elsewhere without asking first, and it has no body.
    const typed = !reads && c.req.method !== "DELETE"
    if (typed && json && !type.startsWith("application/json") && !other) {
      throw new FanfareError("invalid_option", "the content type must be application/json", { field: "content-type" })
    }
    await next()
  })
  api.use("/api/*", (c, next) => allowed(c, next, identity))
}

/** The page that asks for the key. */
export const loginPath = "/login"

/** What services send to us has whatever type it has. */
function isWebhook(path: string): boolean {
  return path.startsWith("/hooks/")
}

/** What workers say is no JSON; no form has that type either. */
function isConnect(path: string): boolean {
  return path.startsWith("/v0/connect/")
}

/** Exactly these are answered to everybody. */
const open: ReadonlySet<string> = new Set([paths.health, paths.session])

/** Commands that only ask. */
const asking: ReadonlySet<string> = new Set([paths.runsCount, paths.fanoutPlan])

/** What only admins may look at. */
const closed: ReadonlySet<string> = new Set([paths.keys])

/** What somebody must be to be answered. */
export function roleNeeded(method: string, path: string): Role | "nobody" {
  if (open.has(path)) return "nobody"
  if (closed.has(path)) return "admin"
  return isReading(method) || (method === "POST" && asking.has(path)) ? "read" : "admin"
}

async function allowed(c: Context, next: Next, identity: Identity): Promise<void> {
  const { method, path } = c.req
  const needed = roleNeeded(method, path)
  if (needed === "nobody" || (method === "POST" && path === paths.events && eventKeyOf(c, identity.access) !== null)) return next()
  const person = await identity.of(c)
  if (person === null) {
    throw new FanfareError("not_allowed", "neither the authorization header nor a cookie carries a key of this server", {
      field: "authorization",
      hint: "The command line takes it from FANFARE_SIGNING_KEY, FANFARE_ADMIN_KEY or FANFARE_READ_KEY.",
    })
  }
  if (needed === "admin" && person.role === "read") {
    throw new FanfareError("read_only", isReading(method) ? "this is for admin keys only" : "this key may look and change nothing", {
      field: "authorization",
    })
  }
  await next()
  if (person.role === "read" && !identity.access.readPayloads) c.res = await withoutPayloads(c.res)
}

/** The event key that a request carries: who has one may send events here too, with the key where no log shows it. */
export function eventKeyOf(c: Context, access: Access): string | null {
  const [, key] = /^Bearer +(\S+)$/i.exec(c.req.header("authorization") ?? "") ?? []
  return access.kind === "cloud" && key !== undefined && access.isEventKey(key) ? key : null
}

function isReading(method: string): boolean {
  return method === "GET" || method === "HEAD"
}

const localNames = new Set(["127.0.0.1", "localhost", "[::1]"])

export function isLocalName(hostname: string): boolean {
  return localNames.has(hostname)
}

/** A page elsewhere may have its name point to this machine: only those who call us by a local name are answered. */
async function localOnly(c: Context, next: Next): Promise<void> {
  const { hostname } = new URL(c.req.url)
  if (!isLocalName(hostname)) {
    throw new FanfareError("invalid_option", `the API answers to a local name only, not to "${hostname}"`, { field: "host" })
  }
  await next()
}
