import { randomUUID } from "node:crypto"
import { styleText } from "node:util"
import { systemClock } from "../engine/system.ts"
import { examine } from "../store/doctor.ts"
import type { Finding } from "../store/finding.ts"
import { migrate as migrateStore, migrationStatus } from "../store/migrate.ts"
import { move as moveStore } from "../store/move.ts"
import { connect, defaultPlace, type MaintenancePorts, nameOfPlace, parsePlace } from "../store/place.ts"
import type { Globals } from "./globals.ts"
import { count, print, printJson, say } from "./output.ts"

const ports: MaintenancePorts = { ...systemClock, newId: randomUUID }

export interface StoreOptions extends Globals {
  readonly db?: string
  readonly schema?: string
}

/** Brings a store to this program's schema; or only shows how it stands, or what it would do. */
export async function migrate(options: StoreOptions & { readonly dryRun?: boolean; readonly status?: boolean }): Promise<void> {
  const place = parsePlace(options.db ?? defaultPlace(process.env), options.schema)
  const look = options.dryRun === true || options.status === true
  const store = await connect(place, ports, !look, !look)
  try {
    const before = await migrationStatus(store.db)
    if (look) {
      if (options.json) printJson({ store: nameOfPlace(place), ...before })
      else show(nameOfPlace(place), before, options.dryRun === true)
      if (options.status === true && before.pending.length > 0) process.exitCode = 1
      return
    }
    await migrateStore(store.db)
    if (options.json) printJson({ store: nameOfPlace(place), ...(await migrationStatus(store.db)) })
    else
      print(
        `${nameOfPlace(place)}: ${before.pending.length === 0 ? "nothing to do" : `schema ${before.pending.at(-1)?.version} is in place`}`,
      )
  } finally {
    await store.close()
  }
}

function show(name: string, { applied, pending }: Awaited<ReturnType<typeof migrationStatus>>, statements: boolean): void {
  print(name)
  for (const { version, appliedAt } of applied) print(`  ✓ schema ${version}  since ${new Date(appliedAt).toISOString()}`)
  for (const each of pending) {
    print(`  ○ schema ${each.version}  to come`)
    if (statements) for (const statement of each.statements) print(`\n${statement};`)
  }
}

const marks: Readonly<Record<Finding["state"], string>> = {
  ok: styleText("green", "✓"),
  warn: styleText("yellow", "!"),
  bad: styleText("red", "✗"),
}

/** Looks a store over and says what to do about what it finds; exit code 1 when something is wrong. */
export async function doctor(options: StoreOptions & { readonly fix?: boolean }): Promise<void> {
  const place = parsePlace(options.db ?? defaultPlace(process.env), options.schema)
  const findings = await examine(place, ports, options.fix === true)
  if (options.json) printJson({ store: nameOfPlace(place), findings })
  else {
    print(nameOfPlace(place))
    const width = Math.max(...findings.map(({ name }) => name.length))
    for (const { name, state, detail, fix } of findings) {
      print(`  ${marks[state]} ${name.padEnd(width)}  ${detail}`)
      if (fix !== null) print(`    ${" ".repeat(width)}  → ${fix}`)
    }
  }
  if (findings.some(({ state }) => state === "bad")) process.exitCode = 1
}

/** Moves a store into another database. */
export async function move(options: Globals & { readonly from: string; readonly to: string; readonly schema?: string }): Promise<void> {
  const from = parsePlace(options.from, options.schema)
  const to = parsePlace(options.to, options.schema)
  const source = await connect(from, ports, true)
  try {
    const target = await connect(to, ports, true, true)
    try {
      let last = 0
      const report = await moveStore(source.db, target.db, nameOfPlace(to), ({ table, copied }) => {
        if (systemClock.now() - last < 500) return
        last = systemClock.now()
        say(`${table}: ${count(copied)} rows …`)
      })
      if (options.json) printJson({ from: nameOfPlace(from), to: nameOfPlace(to), ...report })
      else {
        print(`moved ${count(report.rows)} rows from ${nameOfPlace(from)} to ${nameOfPlace(to)}; every table has the same number in both`)
        print("The old store is marked as moved: engines that start on it are told where it went.")
      }
    } finally {
      await target.close()
    }
  } finally {
    await source.close()
  }
}
