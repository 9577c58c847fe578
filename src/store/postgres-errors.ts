import { FanfareError } from "../core/errors.ts"
import { Conflict } from "./db.ts"

/**
 * What an error of PostgreSQL or of the way to it means to a transaction.
 * - `conflict`: another transaction was first; run it again.
 * - `away`: the server cannot be reached now; whatever was under way may or may not have happened.
 * - `pooled`: prepared statements do not survive between transactions here (a pooler); go on without them.
 * - `refused`: the server said no, and nothing was written.
 */
export type Meaning = "conflict" | "away" | "pooled" | "refused"

const conflicts = new Set(["40001", "40P01", "23505", "55P03"])
const pooled = new Set(["26000", "42P05", "08P01"])
/** Shutting down, crashed, starting up; the session ended by a timeout; no connection left; the network. */
const away = new Set(
  "57P01 57P02 57P03 57P05 25P03 53300 08000 08001 08003 08004 08006 ECONNREFUSED ECONNRESET ECONNABORTED EPIPE ETIMEDOUT EHOSTUNREACH ENETUNREACH EAI_AGAIN ENOTFOUND".split(
    " ",
  ),
)

export function meaningOf(error: unknown): Meaning {
  if (error instanceof Conflict) return "conflict"
  if (error instanceof FanfareError) return "refused"
  const code = codeOf(error)
  if (conflicts.has(code)) return "conflict"
  if (pooled.has(code)) return "pooled"
  if (away.has(code)) return "away"
  // Errors of the connection itself have no code: "Connection terminated", "Query read timeout", "timeout exceeded when trying to connect" …
  return code === "" && error instanceof Error && /connect|timeout|terminat|closed|queryable|socket/i.test(error.message)
    ? "away"
    : "refused"
}

interface Advice {
  readonly fit: boolean
  readonly what: string
  readonly hint: string
}

/** By SQLSTATE, or the system's own code. `fit: false`: no waiting will help. */
const advice: Readonly<Record<string, Advice>> = {
  ENOTFOUND: { fit: false, what: "its host name is not known", hint: "Check the host in the URL." },
  ECONNREFUSED: { fit: true, what: "nothing listens there", hint: "Check host and port in the URL, and that the server runs." },
  "28P01": {
    fit: false,
    what: "the password is wrong",
    hint: "Check user and password in the URL; encode special characters (%40 for @).",
  },
  "28000": {
    fit: false,
    what: "the server does not let this user in",
    hint: "Check the user in the URL, and pg_hba.conf or TLS (?sslmode=require).",
  },
  "3D000": { fit: false, what: "there is no such database", hint: "Create it, or correct the name at the end of the URL." },
  "42501": {
    fit: false,
    what: "the user lacks rights",
    hint: "Let it create the schema (grant create on database … to …), or make the schema beforehand with this user as its owner.",
  },
  "25006": { fit: false, what: "the server is read-only", hint: "It is a standby: use the URL of the primary." },
  "53300": { fit: true, what: "it has too many connections", hint: "A node needs up to 8. Raise max_connections, or use a pooler." },
  "53100": {
    fit: true,
    what: "its disk is full",
    hint: "Free space on the server. Nothing acknowledged is lost; work goes on when there is room.",
  },
  "57014": {
    fit: true,
    what: "a statement took too long and was cancelled",
    hint: "Ask for less at a time, or look for what slows the server down.",
  },
  "57P03": { fit: true, what: "it is starting up or shutting down", hint: "Work goes on when it is back." },
}

/** The error as users meet it: what happened, why, what to do. */
export function toStoreError(error: unknown, name: string): FanfareError {
  if (error instanceof FanfareError) return error
  const code = codeOf(error)
  const message = error instanceof Error ? error.message : String(error)
  const known = advice[code]
  if (known === undefined) return new FanfareError("store_failed", `${name}: ${message}`, { field: "db", cause: error })
  return new FanfareError(known.fit ? "store_failed" : "store_unfit", `${name}: ${known.what} (${message})`, {
    field: "db",
    hint: known.hint,
    cause: error,
  })
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code
  if (typeof code === "string") return code
  // A host with several addresses fails with one error for each.
  const [first] = error instanceof AggregateError ? (error.errors as unknown[]) : []
  return first === undefined ? "" : codeOf(first)
}
