import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import type { Db } from "./db.ts"
import { postgresFindings } from "./doctor-postgres.ts"
import { sqliteFindings } from "./doctor-sqlite.ts"
import { type Finding, finding } from "./finding.ts"
import { migrationStatus } from "./migrate.ts"
import { countOrphans } from "./orphans.ts"
import { connect, type MaintenancePorts } from "./place.ts"
import type { Place } from "./thread-protocol.ts"

/**
 * Looks a store over. Nothing is changed unless `fix` is asked for, and then only what is certainly wrong: rows that nothing leads to.
 */
export async function examine(place: Place, ports: MaintenancePorts, fix: boolean): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  const began = ports.now()
  let store: Awaited<ReturnType<typeof connect>>
  try {
    store = await connect(place, ports, fix && place.kind === "sqlite")
    await store.db.now()
  } catch (error) {
    const { message, hint } = error instanceof FanfareError ? error : new FanfareError("store_failed", String(error))
    return [finding("connection", "bad", message, hint)]
  }
  findings.push(finding("connection", "ok", `answers in ${ports.now() - began} ms`))
  try {
    findings.push(...(await (place.kind === "postgres" ? postgresFindings(store.db, ports) : sqliteFindings(store.db, place.file))))
    const schema = await schemaFinding(store.db)
    findings.push(schema)
    if (schema.state === "ok") findings.push(...(await nodeFindings(store.db)), ...(await orphanFindings(store.db, fix)))
  } catch (error) {
    const { message, hint } = error instanceof FanfareError ? error : new FanfareError("store_failed", String(error))
    findings.push(finding("examination", "bad", message, hint))
  } finally {
    await store.close()
  }
  return findings
}

async function schemaFinding(db: Db): Promise<Finding> {
  try {
    const { applied, pending } = await migrationStatus(db)
    if (pending.length === 0) return finding("schema", "ok", `version ${applied.at(-1)?.version}, as this program's`)
    return finding("schema", "warn", applied.length === 0 ? "not made yet" : `${pending.length} migrations to come`, "Run: fanfare migrate")
  } catch (error) {
    const { message, hint } = error instanceof FanfareError ? error : new FanfareError("store_failed", String(error))
    return finding("schema", "bad", message, hint)
  }
}

async function nodeFindings(db: Db): Promise<Finding[]> {
  const now = await db.now()
  const nodes = await db.query<{ id: string; host: string; seen_at: number; functions: string; leased: number }>(
    "select id, host, seen_at, functions, (select count(*) from lease where lease.node_id = node.id) as leased from node",
  )
  const alive = nodes.filter(({ seen_at }) => seen_at > now - limits.leaseMs)
  const dead = nodes.filter((node) => !alive.includes(node) && node.leased > 0)
  const hosted = new Set(alive.flatMap(({ functions }) => JSON.parse(functions) as string[]))
  const waiting = await db.query<{ id: string | null }>(
    `with recursive f(id) as (
       select min(function_id) from ready
       union all select (select min(function_id) from ready where function_id > f.id) from f where f.id is not null)
     select id from f where id is not null`,
  )
  const parked = waiting.flatMap(({ id }) => (id === null || hosted.has(id) ? [] : [id]))
  return [
    alive.length > 0
      ? finding("nodes", "ok", `${alive.length} alive: ${alive.map(({ host }) => host).join(", ")}`)
      : finding("nodes", "warn", "none is alive", "Nothing runs until one is started."),
    ...(dead.length > 0
      ? [
          finding(
            "dead nodes",
            "warn",
            `${dead.length} still hold runs`,
            "A live node takes them over within 7 s; start one if none is alive.",
          ),
        ]
      : []),
    ...(parked.length > 0
      ? [
          finding(
            "parked functions",
            "warn",
            `runs wait for ${parked.join(", ")}, which no live node hosts`,
            "Start a node with that code, or cancel them.",
          ),
        ]
      : []),
  ]
}

async function orphanFindings(db: Db, fix: boolean): Promise<Finding[]> {
  const found = (await countOrphans(db)).filter(({ n }) => n > 0)
  if (found.length === 0) return [finding("orphans", "ok", "none")]
  const findings: Finding[] = []
  for (const { kind, n } of found) {
    if (fix) for (const statement of kind.repair) await db.execute(statement)
    findings.push(
      fix
        ? finding("orphans", "ok", `${n} ${kind.name}: put right`)
        : finding("orphans", "bad", `${n} ${kind.name}: ${kind.means}`, "Run: fanfare doctor --fix, and please report how it came about."),
    )
  }
  return findings
}
