import type { HostedFunction } from "../core/app.ts"
import type { FunctionDefinition } from "../core/definition.ts"
import { flowToWire } from "./flow-body.ts"
import { eventNameToWire } from "./names.ts"
import { conditionToWire } from "./system-events.ts"

/** What an app of ours registers: the other side of `parseRegistration`. */
export function registrationOf(appId: string, functions: readonly HostedFunction[], url: string, sdk: string): Record<string, unknown> {
  return {
    url,
    deployType: "ping",
    framework: "fanfare",
    appName: appId,
    app_id: appId,
    sdk,
    v: "0.1",
    functions: functions.map(({ definition }) => functionOf(definition, url)),
  }
}

function functionOf({ id, name, triggers, retries, flow, ...rules }: FunctionDefinition, self: string): Record<string, unknown> {
  const url = new URL(self)
  url.searchParams.set("fnId", id)
  url.searchParams.set("stepId", "step")
  return {
    id,
    name,
    triggers: triggers.map((trigger) =>
      "cron" in trigger
        ? { cron: `TZ=${trigger.timezone} ${trigger.cron}`, ...jitterOf(trigger.policies.jitterMs) }
        : {
            event: eventNameToWire(trigger.event),
            ...(trigger.schema === undefined ? {} : { schema: trigger.schema }),
            ...(trigger.if === null ? {} : { expression: conditionToWire(trigger.event, trigger.if) }),
          },
    ),
    steps: { step: { id: "step", name: "step", runtime: { type: "http", url: url.href }, retries: { attempts: retries } } },
    ...flowToWire(flow),
    ...(rules.cancelOn.length === 0 ? {} : { cancel: rules.cancelOn.map(cancelOf) }),
    timeouts: { start: duration(rules.startTimeoutMs), finish: duration(rules.finishTimeoutMs) },
  }
}

function cancelOf({ event, match, if: condition, timeoutMs }: FunctionDefinition["cancelOn"][number]): Record<string, unknown> {
  const same = match === null ? condition : conditionOf(match)
  return { event, ...(same === null ? {} : { if: same }), timeout: duration(timeoutMs) }
}

/** That a field of both events is the same, as a condition. */
export function conditionOf(match: string): string {
  return `event.${match} == async.${match}`
}

function duration(ms: number | null): string | undefined {
  return ms === null ? undefined : `${ms}ms`
}

function jitterOf(ms: number): { jitter?: string } {
  return ms === 0 ? {} : { jitter: `${ms}ms` }
}
