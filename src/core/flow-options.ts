import { type Duration, durationMs } from "./duration.ts"
import { FanfareError } from "./errors.ts"
import { compileCondition, compileExpression } from "./expression.ts"
import type { BackoffOptions, ConcurrencyOptions, ConcurrencyRule, FlowOptions, FlowRules } from "./flow.ts"
import { limits } from "./limits.ts"

export const flowFields = [
  "concurrency",
  "throttle",
  "rateLimit",
  "debounce",
  "batchEvents",
  "priority",
  "singleton",
  "idempotency",
] as const satisfies readonly (keyof FlowOptions)[]

/**
 * Checks the flow control of a function and completes it; null when it has none.
 * @throws FanfareError `invalid_function`, naming field and bound: a value out of its bounds, an expression that is not CEL, options that
 * contradict each other
 */
export function defineFlow(options: FlowOptions, at: string): FlowRules | null {
  if (flowFields.every((field) => options[field] === undefined)) return null
  const rules: FlowRules = {
    concurrency: checkConcurrency(options.concurrency, at),
    throttle: section(options.throttle, "throttle", ["limit", "period", "burst", "key"], at, (throttle, field) => ({
      limit: whole(throttle.limit, 1, limits.flowLimitMax, `${field}.limit`),
      periodMs: duration(throttle.period, limits.flowPeriodMinMs, limits.throttlePeriodMaxMs, `${field}.period`),
      burst: whole(throttle.burst ?? 0, 0, limits.throttleBurstMax, `${field}.burst`),
      key: checkKey(throttle.key, `${field}.key`),
    })),
    rateLimit: section(options.rateLimit, "rateLimit", ["limit", "period", "key"], at, (rate, field) => ({
      limit: whole(rate.limit, 1, limits.flowLimitMax, `${field}.limit`),
      periodMs: duration(rate.period, limits.flowPeriodMinMs, limits.ratePeriodMaxMs, `${field}.period`),
      key: checkKey(rate.key, `${field}.key`),
    })),
    debounce: section(options.debounce, "debounce", ["period", "key", "timeout"], at, (debounce, field) => ({
      periodMs: duration(debounce.period, limits.flowPeriodMinMs, limits.debounceMaxMs, `${field}.period`),
      timeoutMs:
        debounce.timeout === undefined
          ? null
          : duration(debounce.timeout, limits.flowPeriodMinMs, limits.debounceMaxMs, `${field}.timeout`),
      key: checkKey(debounce.key, `${field}.key`),
    })),
    batch: section(options.batchEvents, "batchEvents", ["maxSize", "timeout", "key", "if"], at, (batch, field) => {
      if (batch.if !== undefined) compileCondition(batch.if, `${field}.if`, "invalid_function")
      return {
        maxSize: whole(batch.maxSize, 2, limits.batchSizeMax, `${field}.maxSize`),
        timeoutMs: duration(batch.timeout, limits.flowPeriodMinMs, limits.batchTimeoutMaxMs, `${field}.timeout`),
        key: checkKey(batch.key, `${field}.key`),
        if: batch.if ?? null,
      }
    }),
    priority: section(options.priority, "priority", ["run"], at, ({ run }, field) => {
      compileExpression(run, `${field}.run`, "invalid_function", `event.data.plan == "pro" ? 120 : 0`, "number")
      return run
    }),
    singleton: section(options.singleton, "singleton", ["mode", "key"], at, ({ mode, key }, field) => {
      if (mode !== "skip" && mode !== "cancel") throw invalid(`${field}.mode`, `must be "skip" or "cancel", not ${JSON.stringify(mode)}`)
      return { mode, key: checkKey(key, `${field}.key`) }
    }),
    idempotency: checkKey(options.idempotency, `${at}: idempotency`),
  }
  refuseContradictions(options, rules, at)
  return rules
}

/** A batch is not one event: what decides about single events has nothing to decide on. */
function refuseContradictions(options: FlowOptions, rules: FlowRules, at: string): void {
  const clash = (["debounce", "singleton", "priority", "rateLimit", "idempotency"] as const).find((field) => options[field] !== undefined)
  if (rules.batch !== null && clash !== undefined) {
    throw invalid(
      `${at}: batchEvents`,
      `cannot be combined with ${clash}`,
      `Remove ${clash}, or handle events one by one without batchEvents.`,
    )
  }
  const { debounce } = rules
  if (debounce !== null && debounce.timeoutMs !== null && debounce.timeoutMs < debounce.periodMs) {
    throw invalid(
      `${at}: debounce.timeout`,
      "is shorter than debounce.period",
      "The timeout bounds the whole delay: make it the longer one.",
    )
  }
}

function checkConcurrency(concurrency: FlowOptions["concurrency"], at: string): ConcurrencyRule[] {
  if (concurrency === undefined) return []
  const rules: readonly unknown[] = Array.isArray(concurrency) ? concurrency : [concurrency]
  if (rules.length === 0 || rules.length > limits.concurrencyRules) {
    throw invalid(`${at}: concurrency`, `must have 1 to ${limits.concurrencyRules} rules, not ${rules.length}`)
  }
  return rules.map((rule, i) => {
    const name = `concurrency${Array.isArray(concurrency) ? `[${i}]` : ""}`
    const options = typeof rule === "object" ? (rule as ConcurrencyOptions | null) : { limit: rule as number }
    const checked = section(options, name, ["limit", "key", "scope", "mode"], at, (given, field) => {
      const { scope = "fn", mode = "step" } = given
      if (!["fn", "env", "account"].includes(scope)) throw invalid(`${field}.scope`, `must be "fn", "env" or "account"`)
      if (mode !== "step" && mode !== "run") throw invalid(`${field}.mode`, `must be "step" or "run"`)
      const key = checkKey(given.key, `${field}.key`)
      if (scope !== "fn" && key === null) {
        throw invalid(`${field}.key`, `is needed with the scope "${scope}"`, `Its value names the limit that functions share: "'openai'".`)
      }
      return { limit: whole(given.limit, 1, limits.concurrencyMax, `${field}.limit`), key, scope, mode }
    })
    if (checked === null) throw invalid(`${at}: ${name}`, "must be a number or { limit }")
    return checked
  })
}

/**
 * Delays before the first, second … retry, as a table; null for the usual one.
 * @throws FanfareError `invalid_function`
 */
export function defineBackoff(backoff: BackoffOptions | undefined, at: string): readonly number[] | null {
  if (backoff === undefined) return null
  const field = `${at}: backoff`
  const delay = (value: Duration, name: string): number => duration(value, 1, limits.retryAfterMaxMs, `${field}${name}`)
  if (Array.isArray(backoff)) {
    const table = backoff as readonly Duration[]
    if (table.length === 0 || table.length > limits.retriesMax) throw invalid(field, `must have 1 to ${limits.retriesMax} delays`)
    return table.map((value, i) => delay(value, `[${i}]`))
  }
  const rule = section(backoff as Exclude<BackoffOptions, readonly Duration[]>, "backoff", ["type", "base", "max"], at, (given) => given)
  if (rule?.type === "fixed") return [delay(rule.base, ".base")]
  if (rule?.type !== "exponential") throw invalid(`${field}.type`, `must be "fixed" or "exponential"; or give a table such as ["5s", "1m"]`)
  const base = delay(rule.base, ".base")
  const max = delay(rule.max ?? limits.backoffMaxMs, ".max")
  return Array.from({ length: limits.retriesMax }, (_, i) => Math.min(base * 2 ** i, max))
}

function section<T extends object, R>(
  given: T | undefined | null,
  name: string,
  known: readonly string[],
  at: string,
  check: (given: T, field: string) => R,
): R | null {
  if (given === undefined) return null
  const field = `${at}: ${name}`
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw invalid(field, `must be an object with ${known.join(", ")}`)
  const unknown = Object.keys(given).find((key) => !known.includes(key))
  if (unknown !== undefined) throw invalid(`${field}.${unknown}`, `is not an option; known are ${known.join(", ")}`)
  return check(given, field)
}

function checkKey(key: string | undefined, field: string): string | null {
  if (key === undefined) return null
  compileExpression(key, field, "invalid_function", "event.data.tenant", "text")
  return key
}

function whole(value: unknown, least: number, most: number, field: string): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) return value
  throw new FanfareError("invalid_function", `${field} must be a whole number from ${least} to ${most}, not ${String(value)}`, {
    field: short(field),
    bound: most,
  })
}

function duration(value: Duration, least: number, most: number, field: string): number {
  let ms: number
  try {
    ms = durationMs(value, field)
  } catch (error) {
    throw error instanceof FanfareError
      ? new FanfareError("invalid_function", error.message, { field: short(field), ...hintOf(error) })
      : error
  }
  if (ms >= least && ms <= most) return ms
  throw new FanfareError("invalid_function", `${field} must be from ${least} ms to ${most} ms, not ${ms} ms`, {
    field: short(field),
    bound: most,
  })
}

function hintOf({ hint }: FanfareError): { hint?: string } {
  return hint === undefined ? {} : { hint }
}

/** The field without the function that it belongs to. */
function short(field: string): string {
  return field.slice(field.lastIndexOf(": ") + 2).replace(/^ /, "")
}

function invalid(field: string, message: string, hint?: string): FanfareError {
  return new FanfareError("invalid_function", `${field} ${message}`, { field: short(field), ...(hint === undefined ? {} : { hint }) })
}
