import { createHash } from "node:crypto"
import type { Context, Hono } from "hono"
import { FanfareError } from "../core/errors.ts"
import { paths, type SessionView } from "../protocol/api.ts"
import { loginPath } from "./guard.ts"
import type { Identity } from "./identity.ts"
import { prefixOf } from "./prefix.ts"
import { objectBody } from "./request.ts"

/** Logging in and out: as a page of plain HTML, and as routes for programs. */
export function loginRoutes(api: Hono, identity: Identity): void {
  const { access } = identity
  const view = (person: SessionView["role"]): SessionView => ({
    role: person,
    payloads: person === "admin" || (person === "read" && access.readPayloads),
    login: access.sessions !== null,
  })
  api.get(paths.keys, (c) => c.json({ items: access.keys, next: null }))
  api.get(paths.session, async (c) => c.json(view((await identity.of(c))?.role ?? null)))
  api.post(paths.session, async (c) => {
    const { key } = await objectBody(c)
    return c.json(view(identity.login(c, key).role))
  })
  api.delete(paths.session, async (c) => {
    await identity.logout(c)
    return c.json(view(access.sessions === null ? "admin" : null))
  })

  api.get(loginPath, (c) => page(c, c.req.query("to"), null))
  api.post(loginPath, async (c) => {
    const form = new URLSearchParams(await c.req.text())
    const to = form.get("to") ?? undefined
    try {
      identity.login(c, form.get("key"))
    } catch (error) {
      if (error instanceof FanfareError) return page(c, to, error)
      throw error
    }
    return c.redirect(prefixOf(c) + within(to), 303)
  })
}

/** Where somebody who is not logged in is sent, to come back after that. */
export function loginFor(c: Context): string {
  const { pathname, search } = new URL(c.req.url)
  return `${prefixOf(c)}${loginPath}?to=${encodeURIComponent(pathname + search)}`
}

/** A path of this server, never an address elsewhere. */
function within(to: string | undefined): string {
  return to !== undefined && /^\/(?![/\\])[^\s\\]*$/.test(to) ? to : "/"
}

const style = `body{margin:0;min-height:100vh;display:grid;place-items:center;font:16px/1.5 system-ui,sans-serif;background:#f6f6f4;color:#1c1c1a}
main{width:min(22rem,90vw)}h1{font-size:1.25rem}label{display:block;margin-bottom:.25rem}
input,button{box-sizing:border-box;width:100%;padding:.6rem;font:inherit;border:1px solid #8a8a84;border-radius:.4rem}
button{margin-top:.75rem;background:#1c1c1a;color:#fff;cursor:pointer}[role=alert]{color:#a3231a}small{color:#5c5c57}
@media(prefers-color-scheme:dark){body{background:#171716;color:#ececea}input{background:#232321;color:inherit}button{background:#ececea;color:#171716}
[role=alert]{color:#ff8f85}small{color:#a9a9a3}}`

const guards = {
  "content-type": "text/html; charset=utf-8",
  "content-security-policy": `default-src 'none'; style-src 'sha256-${createHash("sha256").update(style).digest("base64")}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store",
}

function page(c: Context, to: string | undefined, refused: FanfareError | null): Response {
  const alert =
    refused === null
      ? ""
      : `<p role="alert">${refused.code === "busy" ? "Too many wrong keys. Wait some seconds." : "This is no key of this server."}</p>`
  const html = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Fanfare: log in</title>
<style>${style}</style><main><h1>Fanfare</h1><form method="post" action="${prefixOf(c)}${loginPath}">${alert}
<input type="hidden" name="to" value="${encodeURI(within(to)).replaceAll(/[&"'<>]/g, (char) => `&#${char.charCodeAt(0)};`)}">
<label for="key">Key of this server</label><input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button></form><p><small>The admin key, the read key or the signing key.</small></p></main></html>`
  return c.body(html, refused === null ? 200 : refused.code === "busy" ? 429 : 401, guards)
}
