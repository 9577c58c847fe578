import { FanfareError } from "../core/errors.ts"
import type { EventInput } from "../core/event.ts"
import { runSession } from "./call.ts"
import { isSystemName } from "./names.ts"
import { isObject } from "./ops.ts"

/** The event that a form means: `name`, `id`, `ts` and `data` (JSON) are the event's own fields, any other is one of its data. */
export function eventOfForm(form: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { name, id, ts, data, ...rest } = form
  const fields = Object.fromEntries(Object.entries(rest).filter(([, value]) => typeof value === "string"))
  return {
    name,
    data: { ...objectIn(data), ...fields },
    ...(id === undefined ? {} : { id }),
    ...(ts === undefined ? {} : { ts: Number(ts) }),
  }
}

function objectIn(text: unknown): Record<string, unknown> {
  if (typeof text !== "string" || text === "") return {}
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : { data: value }
  } catch {
    return { data: text }
  }
}

const runShape = /^run_[0-9a-z]{22}$/

/** The run from which an app sends, if it says so: in a header, or in the session that the call gave it. */
export function sendingRun(body: unknown, header: string | undefined): string | null {
  const first: unknown = Array.isArray(body) ? body[0] : body
  const meta = isObject(first) && isObject(first["meta"]) ? first["meta"]["propagated_sessions"] : undefined
  const said = header ?? (isObject(meta) ? meta[runSession] : undefined)
  return typeof said === "string" && runShape.test(said) ? said : null
}

/**
 * The events of a request to `/e/:key`: an object or an array of them. What an event has beyond name, data, id and ts is left out.
 * @param seed what the client said to make ids of, so that a request which it repeats starts nothing twice
 * @throws FanfareError `invalid_event`: one of them is not one, or has a name that is kept for the system
 */
export function parseEvents(body: unknown, seed: string | undefined): EventInput[] {
  const list: readonly unknown[] = Array.isArray(body) ? body : [body]
  const idOf = seededIds(seed)
  return list.map((value, i) => {
    const at = `events[${i}]`
    if (!isObject(value)) throw new FanfareError("invalid_event", `${at} must be an object with a name`, { field: at })
    const { name, data, id, ts } = value
    if (typeof name === "string" && isSystemName(name)) {
      throw new FanfareError("invalid_event", `${at}.name is "${name}", which is kept for events of the system`, { field: `${at}.name` })
    }
    const key = typeof id === "string" && id !== "" ? id : idOf?.(i)
    return {
      name: name as string,
      data: isObject(data) && "_inngest" in data ? without(data, "_inngest") : data,
      ...(key === undefined ? {} : { id: key }),
      ...(ts === undefined || ts === null || ts === 0 ? {} : { ts: ts as number }),
    }
  })
}

function without(data: Readonly<Record<string, unknown>>, field: string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(data).filter(([name]) => name !== field))
}

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
const seedShape = /^(\d{1,15}),([A-Za-z0-9+/]{14}==)$/

/**
 * The ids that a seed `<milliseconds>,<10 bytes in base 64>` gives to the events of its request: ULIDs of that time and those bytes, whose
 * last four count. Undefined when the seed is none.
 */
export function seededIds(seed: string | undefined): ((i: number) => string) | undefined {
  const match = seedShape.exec(seed ?? "")
  if (match === null) return undefined
  const ms = Number(match[1])
  if (ms >= 2 ** 48) return undefined
  const bytes = Uint8Array.from(atob(match[2] ?? ""), (char) => char.charCodeAt(0))
  const view = new DataView(bytes.buffer)
  const first = view.getUint32(6)
  // What differs from one to the next are the last four bytes: the last 6 characters, and 2 bits of the one before them.
  const front = view.getUint16(0) * 2 ** 32 + view.getUint32(2)
  const same = base32(ms, 10) + base32(Math.floor(front / 8), 9)
  return (i) => {
    const last = (first + i + 1) % 2 ** 32
    return same + base32((front % 8) * 4 + Math.floor(last / 2 ** 30), 1) + base32(last % 2 ** 30, 6)
  }
}

function base32(value: number, chars: number): string {
  let text = ""
  for (let rest = value; text.length < chars; rest = Math.floor(rest / 32)) text = `${alphabet[rest % 32]}${text}`
  return text
}
