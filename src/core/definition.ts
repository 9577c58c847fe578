import { type CronRule, type DstPolicy, readCron } from "./cron.ts"
import { type Duration, durationMs } from "./duration.ts"
import { FanfareError } from "./errors.ts"
import { checkEventName } from "./event.ts"
import { compileCondition } from "./expression.ts"
import type { BackoffOptions, FlowOptions, FlowRules } from "./flow.ts"
import { defineBackoff, defineFlow, flowFields } from "./flow-options.ts"
import { limits } from "./limits.ts"
import { type PolicyInput, policyFields, readPolicies, type SchedulePolicies } from "./schedule.ts"
import { checkDemand, type EventDemand } from "./wait.ts"

/** Starts a run at each moment of a cron line. */
export interface CronTrigger extends PolicyInput {
  /** Five or six fields, or a name such as `@daily`; `TZ=Area/City` may stand before it. */
  readonly cron: string
  /** IANA name; default `"UTC"`. */
  readonly timezone?: string
  /** What becomes of moments that a change of the clocks skips or repeats. */
  readonly dst?: Partial<DstPolicy>
}

/** A cron trigger, checked and completed. */
export interface CronDefinition extends CronRule {
  readonly policies: SchedulePolicies
}

/** An event trigger, checked and completed. */
export interface EventDefinition {
  readonly event: string
  readonly if: string | null
  /** JSON Schema of what may be sent, as JSON text; at most `limits.eventSchemaChars`. Not there where the app has none for this name. */
  readonly schema?: string
}

/** Starts a run for each event of a name; the name may end in `/*` or `.*`. */
export interface EventTrigger<Name extends string = string> {
  /** Name of the events; it may end in `/*` or `.*`. */
  readonly event: Name
  /** CEL condition over `event`; a missing field means that it does not hold. */
  readonly if?: string
}

export type Trigger<Name extends string = string> = CronTrigger | EventTrigger<Name>

/** The options of a function, as the user writes them. */
export interface FunctionOptions<Triggers extends readonly Trigger[] = readonly Trigger[]> extends FlowOptions {
  /** Names the function's stored runs: unique in its app, never changed. At most 128 of letters, digits, `-`, `_`, `.`. */
  readonly id: string
  /** For people; default the id. */
  readonly name?: string
  /** At most 10. Without any, the function runs only when it is triggered by hand. */
  readonly triggers: Triggers
  /** Attempts after the first one, per run and per step: 0 to 20, default 4. */
  readonly retries?: number
  /** Delays before retries, of runs and steps. Default: 1 s, 5 s, 30 s, 2 min, 10 min, 30 min, 1 h, 2 h. */
  readonly backoff?: BackoffOptions
  readonly timeouts?: {
    /** Longest time one attempt may take before it fails and is retried: default 2 h, at most 24 h. */
    readonly attempt?: Duration
    /** A run that has not begun this long after it was due is cancelled. Default: never; at most 366 days. */
    readonly start?: Duration
    /** A run that has not ended this long after it began is cancelled. Default: never; at most 366 days. */
    readonly finish?: Duration
  }
  /** Events that cancel a run of this function: at most 5 rules. A run ends when one of them comes after the run's own event. */
  readonly cancelOn?: readonly CancelRule[]
  /**
   * What becomes of the `saga` of a run that is cancelled: `"compensate"` undoes its steps, in a run of `<id>-compensation`. Default:
   * nothing is undone.
   */
  readonly onCancel?: "compensate"
}

export interface CancelRule {
  /** Name of the event. */
  readonly event: string
  /** A field that this event and the run's own must have the same, such as `data.userId`. */
  readonly match?: string
  /** CEL over `event` (the run's own) and `async` (the new one); instead of `match`. */
  readonly if?: string
  /** How long after the run was due the rule holds: default and most 366 days. */
  readonly timeout?: Duration
}

/** A function with its options checked and completed. Frozen; what the store keeps of a function. */
export interface FunctionDefinition {
  /** `<app id>-<function id>`: the function's key everywhere. */
  readonly id: string
  readonly appId: string
  /** The id the user gave. */
  readonly localId: string
  readonly name: string
  readonly triggers: readonly (CronDefinition | EventDefinition)[]
  readonly retries: number
  /** Delays before retries; null for the usual ones. */
  readonly retryDelaysMs: readonly number[] | null
  /** When its runs may start; null for at once. */
  readonly flow: FlowRules | null
  readonly attemptTimeoutMs: number
  readonly startTimeoutMs: number | null
  readonly finishTimeoutMs: number | null
  /** The function whose cancelled runs this one undoes. */
  readonly compensates?: string
  readonly cancelOn: readonly (EventDemand & { readonly timeoutMs: number })[]
  /** Set by hand while its runs do not start, not by its options: what becomes of new ones. */
  readonly paused?: PausePolicy
}

/** While a function is paused its runs stay where they are; new ones are kept in line too, or recorded as skipped. */
export type PausePolicy = "keep" | "skip"

const optionFields = new Set<string>([
  "id",
  "name",
  "triggers",
  "retries",
  "backoff",
  "timeouts",
  "cancelOn",
  "onFailure",
  "onCancel",
  ...flowFields,
])
const cronFields = ["timezone", "dst", ...policyFields] as const
const triggerFields = new Set<string>(["cron", ...cronFields, "event", "if"])
const idShape = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

/**
 * Checks the options of a function and completes them with the defaults.
 * @throws FanfareError `invalid_function` or `invalid_trigger`, naming field and bound
 */
export function defineFunction(appId: string, options: FunctionOptions): FunctionDefinition {
  if (typeof options !== "object" || options === null) throw invalid("options", "createFunction needs options such as { id, triggers }")
  checkId(options.id, "id", "invalid_function")
  const at = `function "${options.id}"`
  for (const field of Object.keys(options)) {
    if (!optionFields.has(field)) throw invalid(field, `${at}: unknown option "${field}"; known are ${[...optionFields].join(", ")}`)
  }
  const { name = options.id, triggers } = options
  if (typeof name !== "string" || name.length > limits.nameChars) {
    throw invalid("name", `${at}: name must be text of at most ${limits.nameChars} characters`, limits.nameChars)
  }
  if (!Array.isArray(triggers)) throw invalid("triggers", `${at}: triggers must be an array such as [{ event: "app/user.created" }]`)
  if (triggers.length > limits.triggersPerFunction) {
    throw invalid(
      "triggers",
      `${at} has ${triggers.length} triggers; the most is ${limits.triggersPerFunction}`,
      limits.triggersPerFunction,
    )
  }
  const definition: FunctionDefinition = {
    id: `${appId}-${options.id}`,
    appId,
    localId: options.id,
    name,
    triggers: triggers.map((trigger: Trigger, i) => defineTrigger(trigger, `${at}: triggers[${i}]`)),
    retries: checkRetries(options.retries, at),
    retryDelaysMs: defineBackoff(options.backoff, at),
    flow: defineFlow(options, at),
    ...checkTimeouts(options.timeouts, at),
    cancelOn: checkCancelOn(options.cancelOn, at),
  }
  const seen = new Set(definition.triggers.map((trigger) => JSON.stringify(trigger)))
  if (seen.size < triggers.length) throw invalid("triggers", `${at} has the same trigger twice`)
  return Object.freeze(definition)
}

/** The function, with the schemas of the events that start it. @param schemaOf JSON text; undefined where there is none */
export function withSchemas(definition: FunctionDefinition, schemaOf: (event: string) => string | undefined): FunctionDefinition {
  const triggers = definition.triggers.map((trigger) => {
    const schema = "event" in trigger ? schemaOf(trigger.event) : undefined
    return schema === undefined || schema.length > limits.eventSchemaChars ? trigger : { ...trigger, schema }
  })
  return Object.freeze({ ...definition, triggers })
}

/** @throws FanfareError with `code`, naming `field` and bound */
export function checkId(id: unknown, field: string, code: "invalid_function" | "invalid_option"): asserts id is string {
  if (typeof id === "string" && id.length <= limits.idChars && idShape.test(id)) return
  throw new FanfareError(code, `${field} ${JSON.stringify(id) ?? String(id)} is not an id`, {
    field,
    bound: limits.idChars,
    hint: `Use 1 to ${limits.idChars} letters, digits, "-", "_" or ".", starting with a letter or digit.`,
  })
}

function defineTrigger(trigger: Trigger, at: string): FunctionDefinition["triggers"][number] {
  if (typeof trigger !== "object" || trigger === null) throw invalidTrigger(at, `${at} must be { cron } or { event }`)
  for (const field of Object.keys(trigger)) {
    if (!triggerFields.has(field))
      throw invalidTrigger(`${at}.${field}`, `${at} has an unknown field "${field}"; known are ${[...triggerFields].join(", ")}`)
  }
  if ("cron" in trigger === "event" in trigger) throw invalidTrigger(at, `${at} must have either cron or event`)
  if ("cron" in trigger) {
    if ("if" in trigger) throw invalidTrigger(`${at}.if`, `${at}: "if" belongs to event triggers`)
    return { ...readCron(trigger, at), policies: readPolicies(trigger, at) }
  }
  const stray = cronFields.find((field) => field in trigger)
  if (stray !== undefined) throw invalidTrigger(`${at}.${stray}`, `${at}: "${stray}" belongs to cron triggers`)
  checkEventName(trigger.event, `${at}.event`)
  const star = trigger.event.indexOf("*")
  if (star !== -1 && !(star === trigger.event.length - 1 && /[/.]\*$/.test(trigger.event))) {
    throw invalidTrigger(`${at}.event`, `${at}.event: "*" may only stand at the end, after "/" or "."`)
  }
  if (trigger.if !== undefined) compileCondition(trigger.if, `${at}.if`)
  return { event: trigger.event, if: trigger.if ?? null }
}

function checkRetries(retries: number | undefined, at: string): number {
  if (retries === undefined) return limits.retriesDefault
  if (Number.isInteger(retries) && retries >= 0 && retries <= limits.retriesMax) return retries
  throw invalid(
    "retries",
    `${at}: retries must be a whole number from 0 to ${limits.retriesMax}, not ${String(retries)}`,
    limits.retriesMax,
  )
}

type Timeouts = Pick<FunctionDefinition, "attemptTimeoutMs" | "startTimeoutMs" | "finishTimeoutMs">

function checkTimeouts(timeouts: FunctionOptions["timeouts"], at: string): Timeouts {
  const given = timeouts ?? {}
  const unknown = Object.keys(given).find((field) => !["attempt", "start", "finish"].includes(field))
  if (unknown !== undefined) throw invalid(`timeouts.${unknown}`, `${at}: unknown option timeouts.${unknown}`)
  const read = (field: "attempt" | "start" | "finish", most: number): number | null => {
    const duration = given[field]
    if (duration === undefined) return null
    const ms = durationMs(duration, `${at}: timeouts.${field}`)
    if (ms >= 1 && ms <= most) return ms
    throw invalid(`timeouts.${field}`, `${at}: timeouts.${field} must be from 1 ms to ${most} ms`, most)
  }
  return {
    attemptTimeoutMs: read("attempt", limits.attemptTimeoutMaxMs) ?? limits.attemptTimeoutMs,
    startTimeoutMs: read("start", limits.sleepMaxMs),
    finishTimeoutMs: read("finish", limits.sleepMaxMs),
  }
}

function checkCancelOn(rules: FunctionOptions["cancelOn"], at: string): FunctionDefinition["cancelOn"] {
  if (rules === undefined) return []
  if (!Array.isArray(rules)) throw invalid("cancelOn", `${at}: cancelOn must be an array such as [{ event: "app/order.cancelled" }]`)
  if (rules.length > limits.cancelRules) {
    throw invalid("cancelOn", `${at} has ${rules.length} rules in cancelOn; the most is ${limits.cancelRules}`, limits.cancelRules)
  }
  return rules.map((rule: CancelRule, i) => {
    const place = `${at}: cancelOn[${i}]`
    if (typeof rule !== "object" || rule === null) throw invalid(`cancelOn[${i}]`, `${place} must be { event }`)
    const unknown = Object.keys(rule).find((field) => !["event", "match", "if", "timeout"].includes(field))
    if (unknown !== undefined) throw invalid(`cancelOn[${i}].${unknown}`, `${place} has an unknown field "${unknown}"`)
    const timeoutMs = rule.timeout === undefined ? limits.sleepMaxMs : durationMs(rule.timeout, `${place}.timeout`)
    if (timeoutMs > limits.sleepMaxMs) throw invalid(`cancelOn[${i}].timeout`, `${place}.timeout is over 366 days`, limits.sleepMaxMs)
    return { ...checkDemand(rule, place, "invalid_function"), timeoutMs }
  })
}

function invalid(field: string, message: string, bound?: number): FanfareError {
  return new FanfareError("invalid_function", message, { field, ...(bound === undefined ? {} : { bound }) })
}

function invalidTrigger(field: string, message: string): FanfareError {
  return new FanfareError("invalid_trigger", message, { field })
}
