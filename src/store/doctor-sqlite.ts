import { existsSync, statfsSync, statSync } from "node:fs"
import { dirname } from "node:path"
import type { Db } from "./db.ts"
import { type Finding, finding } from "./finding.ts"

const freeMin = 1024 ** 3
const walMax = 256 * 1024 ** 2

export async function sqliteFindings(db: Db, file: string): Promise<Finding[]> {
  const [version] = await db.query<{ version: string }>("select sqlite_version() as version")
  const check = await db.query<{ quick_check: string }>("pragma quick_check(5)")
  const sound = check.length === 1 && check[0]?.quick_check === "ok"
  const { bavail, bsize } = statfsSync(dirname(file))
  const free = bavail * bsize
  const wal = existsSync(`${file}-wal`) ? statSync(`${file}-wal`).size : 0
  const mode = statSync(file).mode & 0o777
  return [
    finding("version", "ok", `SQLite ${version?.version}`),
    sound
      ? finding("integrity", "ok", "the file is sound")
      : finding(
          "integrity",
          "bad",
          check.map((row) => row.quick_check).join("; "),
          "Restore a backup, or save what can be read: sqlite3 file .recover",
        ),
    mode === 0o600
      ? finding("file mode", "ok", "its owner only")
      : finding("file mode", "warn", `0${mode.toString(8)}: others may read it`, `Run: chmod 600 ${file}`),
    wal < walMax
      ? finding("write-ahead log", "ok", `${Math.round(wal / 1024)} KiB`)
      : finding(
          "write-ahead log",
          "warn",
          `${Math.round(wal / 1024 ** 2)} MiB`,
          "Something reads for long and keeps it from being cleared: end that reader.",
        ),
    free > freeMin
      ? finding("disk", "ok", `${Math.round(free / 1024 ** 3)} GiB free`)
      : finding("disk", "bad", `${Math.round(free / 1024 ** 2)} MiB free`, "Free space: on a full disk nothing new is accepted."),
  ]
}
