import type { App } from "../core/app.ts"
import { runAttempt } from "../sdk/runner.ts"
import type { Transport } from "./transport.ts"

/** User code in this process. */
export function localTransport(apps: readonly App[]): Transport {
  const hosted = new Map(apps.flatMap((app) => [...app.hosted()]))
  return {
    hosts: () => [...hosted.keys()],
    execute: async (attempt) => {
      const code = hosted.get(attempt.run.functionId)
      return code === undefined ? { kind: "returned" } : runAttempt(code, attempt)
    },
  }
}
