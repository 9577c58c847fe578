import { systemEventPrefix } from "../core/event.ts"

/** On the wire the events of the system have the prefix that the official SDKs know. */
const wirePrefix = "inngest/"

/** Whether only the system itself may send events of this name. */
export function isSystemName(name: string): boolean {
  return name.startsWith(wirePrefix) || name.startsWith(systemEventPrefix)
}

export function eventNameToWire(name: string): string {
  return name.startsWith(systemEventPrefix) ? wirePrefix + name.slice(systemEventPrefix.length) : name
}

export function eventNameFromWire(name: string): string {
  return name.startsWith(wirePrefix) ? systemEventPrefix + name.slice(wirePrefix.length) : name
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
} as const
