import { execFileSync } from "node:child_process"
import { mkdirSync, readdirSync, rmdirSync, statSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))
const lock = join(root, "dist/dashboard.lock")
const staleMs = 60_000

function changedAt(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

function isFresh(): boolean {
  const sources = ["dashboard", "src/protocol"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((path) => join(root, folder, path)),
  )
  return changedAt(join(root, "dist/dashboard/index.html")) > Math.max(...sources.map(changedAt))
}

/** The dashboard as it is now, built where the server looks for it; by one test file, while the others wait. */
export async function builtDashboard(): Promise<void> {
  mkdirSync(join(root, "dist"), { recursive: true })
  while (!isFresh()) {
    try {
      mkdirSync(lock)
    } catch {
      // One who held it may have died.
      if (Date.now() - changedAt(lock) > staleMs) rmdirSync(lock)
      await delay(100)
      continue
    }
    try {
      execFileSync(process.execPath, ["node_modules/vite/bin/vite.js", "build", "dashboard", "--config", "dashboard/vite.config.ts"], {
        cwd: root,
        env: { ...process.env, NODE_ENV: "production" },
        stdio: "pipe",
      })
    } finally {
      rmdirSync(lock)
    }
  }
}
