import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, expect, it } from "vitest"
import { killLoop } from "./kill.ts"

const folder = mkdtempSync(join(tmpdir(), "fanfare-chaos-"))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

it("loses nothing and doubles nothing when the process is killed 20 times during a fan-out of 10,000", { timeout: 180_000 }, async () => {
  const report = await killLoop(join(folder, "chaos.db"), 20, 1)
  expect(report).toMatchObject({ lost: [], duplicates: [], unfinished: [], integrity: "ok" })
  expect(report.acknowledged).toBeGreaterThan(1)
})
