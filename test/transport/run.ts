import type { ClaimedRun } from "../../src/core/run.ts"

export const now = 1_790_000_000_000

/** A run that was just claimed for the first time. */
export const run: ClaimedRun = {
  id: "run_1",
  functionId: "app-f",
  attempt: 1,
  fence: 1,
  losses: 0,
  rank: now,
  fanoutId: null,
  createdAt: now,
  claimedAt: now,
  event: { id: "e", name: "app/x", data: "{}", ts: now },
  limits: [],
  logLines: 0,
}
