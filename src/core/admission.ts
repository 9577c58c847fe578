import type { FunctionDefinition } from "./definition.ts"
import { compileCondition, compileExpression, type Condition, type Expression, type ExpressionEvent, keyText } from "./expression.ts"
import type { FlowRules } from "./flow.ts"
import type { Entry } from "./entry.ts"
import { limits } from "./limits.ts"
import type { LimitClaim } from "./run.ts"

/** What the rules of a function make of one event. */
export interface Admitted {
  readonly limits: readonly LimitClaim[]
  readonly entries: readonly Entry[]
  /** Milliseconds by which it comes earlier in line. */
  readonly ahead: number
}

/** The rules of a function, compiled. `bytes`: of the event's data. */
export type Admit = (event: ExpressionEvent, bytes: number) => Admitted

const compiled = new WeakMap<FunctionDefinition, Admit>()

/** Compiled once per definition; null for a function without rules, and for one whose rules look at no event. */
export function admitterOf(definition: FunctionDefinition): Admit | null {
  if (definition.flow === null || fixedLimits(definition) !== null) return null
  const known = compiled.get(definition)
  if (known !== undefined) return known
  const admit = compile(definition, definition.flow)
  compiled.set(definition, admit)
  return admit
}

const noLimits: readonly LimitClaim[] = []
const fixed = new WeakMap<FunctionDefinition, readonly LimitClaim[] | "by event">()

/** The limits of a function's runs when they are the same for all its events and nothing else is to be decided; else null. */
export function fixedLimits(definition: FunctionDefinition): readonly LimitClaim[] | null {
  const { flow } = definition
  if (flow === null) return noLimits
  let found = fixed.get(definition)
  if (found === undefined) {
    found = dependsOnEvents(flow) ? "by event" : compile(definition, flow)({ name: "", data: {}, id: "", ts: 0 }, 0).limits
    fixed.set(definition, found)
  }
  return found === "by event" ? null : found
}

function dependsOnEvents({ concurrency, throttle, ...rest }: FlowRules): boolean {
  return (
    concurrency.some(({ key }) => key !== null) ||
    (throttle !== null && throttle.key !== null) ||
    Object.values(rest).some((rule) => rule !== null)
  )
}

type KeyOf = (event: ExpressionEvent) => string | null

function compile({ id }: FunctionDefinition, rules: FlowRules): Admit {
  const { debounce, singleton, rateLimit, idempotency } = rules
  const claims = claimsOf(id, rules)
  const batch = batchOf(id, rules)
  const ahead = rules.priority === null ? null : compileExpression(rules.priority, `${id}: priority.run`, "invalid_function", "0", "number")
  const debounceKey = debounce === null ? null : keyOf(debounce.key, `debounce:${id}`, "debounce.key")
  const singletonKey = singleton === null ? null : keyOf(singleton.key, `singleton:${id}`, "singleton.key")
  const rateKey = rateLimit === null ? null : keyOf(rateLimit.key, `rate:${id}`, "rateLimit.key")
  const onceKey = idempotency === null ? null : keyOf(idempotency, `once:${id}`, "idempotency")

  const admit: Admit = (event, bytes) => {
    const entries: Entry[] = []
    const onto: LimitClaim[] = []
    const once = onceKey?.(event) ?? null
    if (once !== null) entries.push({ kind: "rate", key: once, limit: 1, periodMs: limits.ratePeriodMaxMs, name: "idempotency" })
    const rate = rateKey?.(event) ?? null
    if (rateLimit !== null && rate !== null) {
      entries.push({ kind: "rate", key: rate, limit: rateLimit.limit, periodMs: rateLimit.periodMs, name: "rateLimit" })
    }
    const quiet = debounceKey?.(event) ?? null
    if (debounce !== null && quiet !== null) {
      entries.push({ kind: "debounce", key: quiet, periodMs: debounce.periodMs, timeoutMs: debounce.timeoutMs, ts: event.ts })
      onto.push({ key: quiet, max: 1, hold: "debounce" })
    }
    const full = batch?.(event, bytes) ?? null
    if (full !== null) {
      entries.push(full)
      onto.push({ key: full.key, max: full.maxSize, hold: "batch" })
    }
    const one = singletonKey?.(event) ?? null
    if (singleton !== null && one !== null) {
      entries.push({ kind: "singleton", key: one, mode: singleton.mode })
      onto.push({ key: one, max: 1, hold: "taken" })
    }
    return { limits: [...onto, ...claims(event)], entries, ahead: ahead === null ? 0 : secondsOf(ahead, event) * 1_000 }
  }
  return (event, bytes) => {
    try {
      return admit(event, bytes)
    } catch (thrown) {
      // An event cannot be refused for what one of its functions makes of it: the run says what is wrong.
      const reason = thrown instanceof Error ? thrown.message : String(thrown)
      return { limits: noLimits, entries: [{ kind: "refuse", state: "failed", reason }], ahead: 0 }
    }
  }
}

/**
 * The order in which a run waits: for its throttle first, then for the limit of its own key, then for the function's, and for what it shares
 * with others last. So a backlog of one key stands where nobody else has to pass.
 */
function claimsOf(id: string, { concurrency, throttle }: FlowRules): (event: ExpressionEvent) => LimitClaim[] {
  const rules = concurrency
    .map(({ limit, key, scope, mode }, i) => {
      const prefix = scope === "fn" ? `fn:${id}${i === 0 ? "" : `#${i + 1}`}` : scope
      const shared = scope === "fn" ? 0 : 2
      const claim = mode === "run" ? ({ max: limit, hold: "run" } as const) : { max: limit }
      return { order: shared + (key === null ? 1 : 0), claim, key: keyOf(key, prefix, "concurrency.key") }
    })
    .toSorted((a, b) => a.order - b.order)
  const throttleKey = throttle === null ? null : keyOf(throttle.key, `throttle:${id}`, "throttle.key")
  return (event) => {
    const claims: LimitClaim[] = []
    const start = throttleKey?.(event) ?? null
    if (throttle !== null && start !== null) {
      const { limit, periodMs, burst } = throttle
      claims.push({ key: start, max: limit, throttle: { periodMs, burst } })
    }
    for (const { claim, key } of rules) {
      const found = key(event)
      // Two rules with the same shared key are one limit: the smaller one is what holds.
      const same = claims.findIndex((each) => each.key === found)
      if (found === null) continue
      if (same === -1) claims.push({ key: found, ...claim })
      else claims[same] = { ...claim, key: found, max: Math.min(claim.max, claims[same]?.max ?? claim.max) }
    }
    return claims
  }
}

function batchOf(
  id: string,
  { batch }: FlowRules,
): ((event: ExpressionEvent, bytes: number) => Extract<Entry, { kind: "batch" }> | null) | null {
  if (batch === null) return null
  const fits: Condition | null = batch.if === null ? null : compileCondition(batch.if, `${id}: batchEvents.if`)
  const key = keyOf(batch.key, `batch:${id}`, "batchEvents.key")
  return (event, bytes) => {
    if (fits !== null && !fits(event)) return null
    const found = key(event)
    return found === null ? null : { kind: "batch", key: found, maxSize: batch.maxSize, timeoutMs: batch.timeoutMs, bytes }
  }
}

/** The key of an event: `prefix`, and the value of the expression. */
function keyOf(source: string | null, prefix: string, field: string): KeyOf {
  if (source === null) return () => prefix
  const evaluate = compileExpression(source, field, "invalid_function", "event.data.tenant", "text")
  return (event) => {
    const value = keyText(valueOf(evaluate, event, field, source))
    if (value === null) return null
    if (value.length > limits.keyChars) {
      throw new Error(
        `${field}: \`${source}\` gives ${value.length} characters for this event; the most is ${limits.keyChars}. Use a shorter value, such as an id.`,
      )
    }
    return `${prefix}:${value}`
  }
}

function valueOf(evaluate: Expression, event: ExpressionEvent, field: string, source: string): unknown {
  try {
    return evaluate(event)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`${field}: \`${source}\` cannot be evaluated for this event: ${why}`, { cause })
  }
}

/** A priority that cannot be had moves nothing. */
function secondsOf(evaluate: Expression, event: ExpressionEvent): number {
  try {
    const seconds = evaluate(event)
    if (typeof seconds !== "number" || !Number.isFinite(seconds)) return 0
    return Math.round(Math.min(Math.max(seconds, -limits.prioritySeconds), limits.prioritySeconds))
  } catch {
    return 0
  }
}
