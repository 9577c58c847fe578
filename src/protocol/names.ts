import { systemEventPrefix } from "../core/event.ts"

/** On the wire the events of the system have the prefix that the official SDKs know. */
const wirePrefix = "inngest/"

/** Whether only the system itself may send events of this name. */
export function isSystemName(name: string): boolean {
  return name.startsWith(wirePrefix) || name.startsWith(systemEventPrefix)
}

/** The end of a run that completed has another name there. */
const completed = { ours: "function.completed", wire: "function.finished" }

export function eventNameToWire(name: string): string {
  if (!name.startsWith(systemEventPrefix)) return name
  const rest = name.slice(systemEventPrefix.length)
  return wirePrefix + (rest === completed.ours ? completed.wire : rest)
}

export function eventNameFromWire(name: string): string {
  if (!name.startsWith(wirePrefix)) return name
  const rest = name.slice(wirePrefix.length)
  return systemEventPrefix + (rest === completed.wire ? completed.ours : rest)
}

/** Headers of the protocol. */
export const headers = {
  signature: "x-inngest-signature",
  sdk: "x-inngest-sdk",
  framework: "x-inngest-framework",
  serverKind: "x-inngest-server-kind",
  expectedServerKind: "x-inngest-expected-server-kind",
  requestVersion: "x-inngest-req-version",
  noRetry: "x-inngest-no-retry",
  retryAfter: "retry-after",
  stepId: "x-inngest-step-id",
  runId: "x-run-id",
  syncKind: "x-inngest-sync-kind",
  eventSeed: "x-inngest-event-id-seed",
  /** Ours: the fan-out that a send of several events is. */
  fanoutId: "x-fanfare-fanout-id",
  /** Ours: the run that sends. */
  sendingRun: "x-fanfare-run-id",
  /** Ours: beside `retry-after`, URL-encoded: the limit that nobody who shares it starts under before then. */
  limit: "x-fanfare-limit",
  /** Ours: how the fan-out of a send lets its runs loose, as JSON. */
  rules: "x-fanfare-rules",
} as const
