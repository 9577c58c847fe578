import { readdirSync, readFileSync } from "node:fs"
import { extname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { gzip } from "node:zlib"
import type { Context, Hono } from "hono"
import type { Identity } from "./identity.ts"
import { loginFor } from "./login.ts"
import { prefixOf } from "./prefix.ts"

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
}

/** Nothing from elsewhere, nothing inline, in nobody's frame. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'self'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ")

const guards = {
  "content-security-policy": policy,
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
}

const compress = promisify(gzip)

interface File {
  readonly type: string
  readonly plain: Uint8Array<ArrayBuffer>
  readonly zipped: Uint8Array<ArrayBuffer>
}

/** The dashboard's files as they were built into the package; this file may run from `dist` or from `src`. */
const folders = ["../dashboard", "../../dist/dashboard"].map((path) => fileURLToPath(new URL(path, import.meta.url)))

/**
 * The dashboard, for whatever path the API does not have: its pages are one document, and the browser knows which page it is. A proxy
 * that takes a prefix off the path says so with `x-forwarded-prefix`.
 */
export function dashboardRoutes(api: Hono, identity: Identity): void {
  const root = folders.find(isBuilt)
  const files = new Map<string, Promise<File>>()
  const read = (name: string): Promise<File> => {
    const known = files.get(name)
    if (known !== undefined) return known
    const file = readFile(join(root ?? "", name))
    files.set(name, file)
    return file
  }
  const names = new Set(root === undefined ? [] : readdirSync(join(root, "assets")))

  api.get("/assets/:name", async (c, next) => {
    const name = c.req.param("name")
    if (!names.has(name)) return next()
    return answer(c, await read(`assets/${name}`), "public, max-age=31536000, immutable")
  })
  api.get("*", async (c, next) => {
    const { path } = c.req
    if (path === "/api" || path.startsWith("/api/") || path.startsWith("/assets/")) return next()
    if ((await identity.of(c)) === null) {
      // A browser without a key, not one with a wrong one in its address.
      if (c.req.header("authorization") === undefined && /\btext\/html\b/.test(c.req.header("accept") ?? ""))
        return c.redirect(loginFor(c), 303)
      return c.text("The dashboard asks for a key of this server, as the password; the name does not matter.", 401, {
        ...guards,
        "www-authenticate": 'Basic realm="Fanfare: a key of this server is the password", charset="UTF-8"',
      })
    }
    if (root === undefined) return c.text("The dashboard is not built: npm run build", 404, guards)
    const { type, plain } = await read("index.html")
    const html = new TextDecoder().decode(plain).replace('<base href="/"', `<base href="${prefixOf(c)}/"`)
    const bytes = new TextEncoder().encode(html)
    return answer(c, { type, plain: bytes, zipped: bytes }, "no-cache")
  })
}

function isBuilt(folder: string): boolean {
  try {
    return readdirSync(folder).includes("index.html")
  } catch {
    return false
  }
}

async function readFile(path: string): Promise<File> {
  const plain = new Uint8Array(readFileSync(path))
  return { type: types[extname(path)] ?? "application/octet-stream", plain, zipped: new Uint8Array(await compress(plain)) }
}

function answer(c: Context, { type, plain, zipped }: File, cacheControl: string): Response {
  const zip = zipped !== plain && /\bgzip\b/.test(c.req.header("accept-encoding") ?? "")
  return c.body(zip ? zipped : plain, 200, {
    ...guards,
    "content-type": type,
    "cache-control": cacheControl,
    vary: "accept-encoding",
    ...(zip ? { "content-encoding": "gzip" } : {}),
  })
}
