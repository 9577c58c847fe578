import { afterEach } from "vitest"
import { Fanfare } from "../../src/index.ts"
import { createHarness, type Harness, type HarnessOptions } from "../../src/testing.ts"
import type { RunDetail } from "../../src/core/views.ts"

/** The engine of the test that runs; it is closed after it. */
export let harness: Harness
afterEach(() => harness.close())

/** Starts apps of one's own. */
export async function startApps(client: HarnessOptions["client"], options: Omit<HarnessOptions, "client"> = {}): Promise<void> {
  harness = await createHarness({ client, ...options })
}

/** Starts an app `t` with the functions that `define` gives it. */
export async function start(define: (app: Fanfare) => void, options: Omit<HarnessOptions, "client"> = {}): Promise<Fanfare> {
  const app = new Fanfare({ id: "t" })
  define(app)
  await startApps(app, options)
  return app
}

/** The newest run of a function. */
export async function runOf(functionId = "t-f"): Promise<RunDetail> {
  return harness.run((await harness.runs({ functionId }))[0]?.id ?? "")
}
