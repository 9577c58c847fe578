import { FanfareError } from "../core/errors.ts"
import type { ConcurrencyOptions, FlowOptions, FlowRules } from "../core/flow.ts"
import { isObject } from "./ops.ts"

/** A function's flow control as it stands in a registration; `defineFunction` checks it. 0 is no limit, and a batch of one is none. */
export function flowFromWire(body: Readonly<Record<string, unknown>>, at: string): FlowOptions {
  const given = Object.fromEntries(
    ["throttle", "rateLimit", "debounce", "batchEvents", "priority", "singleton", "idempotency"].flatMap((name) => {
      const value = isObject(body[name]) ? filled(body[name]) : body[name]
      return value === undefined || value === null || value === "" ? [] : [[name, value]]
    }),
  ) as FlowOptions
  const { batchEvents, ...rest } = given
  return {
    ...(batchEvents === undefined || (batchEvents.maxSize as unknown) === 1 ? rest : given),
    ...concurrencyFromWire(body["concurrency"], `${at}.concurrency`),
  }
}

/** A number, an object or an array of them; or an object that has those under `step`, and under `fn` those that hold a place for the whole run. */
function concurrencyFromWire(value: unknown, at: string): Pick<FlowOptions, "concurrency"> {
  const isSplit = isObject(value) && ("step" in value || "fn" in value)
  const wholeRuns = isSplit ? listOf(value["fn"]).map((rule) => (isObject(rule) ? { ...rule, mode: "run" } : rule)) : []
  const list = [...listOf(isSplit ? value["step"] : value), ...wholeRuns]
  const rules = list.map((each, i): ConcurrencyOptions => {
    const rule = typeof each === "number" ? { limit: each } : each
    if (isObject(rule) && typeof rule["limit"] === "number") return filled(rule) as unknown as ConcurrencyOptions
    throw new FanfareError("invalid_function", `${at}[${i}] must be a number or have a limit`, { field: `${at}[${i}]` })
  })
  const real = rules.filter(({ limit }) => limit !== 0)
  return real.length === 0 ? {} : { concurrency: real }
}

function listOf(value: unknown): unknown[] {
  return value === undefined || value === null ? [] : Array.isArray(value) ? value : [value]
}

/** What apps of other languages leave empty is not given. */
function filled(value: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, given]) => given !== null && given !== ""))
}

/** The other side of `flowFromWire`. */
export function flowToWire(flow: FlowRules | null): Record<string, unknown> {
  if (flow === null) return {}
  const { concurrency, throttle, rateLimit, debounce, batch, priority, singleton, idempotency } = flow
  return {
    ...(concurrency.length === 0 ? {} : { concurrency: concurrency.map(keyed) }),
    ...(throttle === null ? {} : { throttle: timed(throttle) }),
    ...(rateLimit === null ? {} : { rateLimit: timed(rateLimit) }),
    ...(debounce === null ? {} : { debounce: timed(debounce) }),
    ...(batch === null ? {} : { batchEvents: timed(batch) }),
    ...(priority === null ? {} : { priority: { run: priority } }),
    ...(singleton === null ? {} : { singleton: keyed(singleton) }),
    ...(idempotency === null ? {} : { idempotency }),
  }
}

function timed({ periodMs, timeoutMs, ...rule }: { readonly periodMs?: number; readonly timeoutMs?: number | null }): object {
  return keyed({
    ...rule,
    ...(periodMs === undefined ? {} : { period: `${periodMs}ms` }),
    ...(timeoutMs === undefined || timeoutMs === null ? {} : { timeout: `${timeoutMs}ms` }),
  })
}

function keyed(rule: object): object {
  return Object.fromEntries(Object.entries(rule).filter(([, value]) => value !== null))
}
