import type { ThreadClock } from "./beat.ts"
import type { Db } from "./db.ts"
import { type Finding, finding } from "./finding.ts"

const skewMaxMs = 60_000
const longMinutes = 5
/** Dead rows beyond this number and share are bloat. */
const deadMin = 50_000

export async function postgresFindings(db: Db, clock: ThreadClock): Promise<Finding[]> {
  return [
    await serverFinding(db),
    await clockFinding(db, clock),
    await durabilityFinding(db),
    await connectionsFinding(db),
    await longTransactionsFinding(db),
    await slotsFinding(db),
    ...(await bloatFindings(db)),
  ]
}

async function serverFinding(db: Db): Promise<Finding> {
  const [row] = await db.query<{ version: string; number: string; standby: boolean }>(
    "select current_setting('server_version') as version, current_setting('server_version_num') as number, pg_is_in_recovery() as standby",
  )
  if (row?.standby === true) return finding("server", "bad", "this is a standby, which cannot be written to", "Use the URL of the primary.")
  return Number(row?.number) >= 140_000
    ? finding("server", "ok", `PostgreSQL ${row?.version}`)
    : finding("server", "bad", `PostgreSQL ${row?.version} is older than 14`, "Upgrade the server.")
}

async function clockFinding(db: Db, clock: ThreadClock): Promise<Finding> {
  const before = clock.now()
  const theirs = await db.now()
  const offset = Math.round(theirs - (before + clock.now()) / 2)
  if (Math.abs(offset) < skewMaxMs) return finding("clock", "ok", `${offset} ms from this machine's`)
  const fix = "Keep both in time (NTP). Runs are decided by the server's clock; only delays set by this machine are off."
  return finding("clock", "warn", `${Math.round(offset / 1_000)} s from this machine's`, fix)
}

async function durabilityFinding(db: Db): Promise<Finding> {
  const [row] = await db.query<{ commit: string; fsync: string }>(
    "select current_setting('synchronous_commit') as commit, current_setting('fsync') as fsync",
  )
  if (row?.fsync === "off")
    return finding("durability", "bad", "fsync is off: a crash of the machine can destroy the database", "Set fsync = on.")
  return row?.commit === "off"
    ? finding(
        "durability",
        "bad",
        "synchronous_commit is off: a crash can lose what was acknowledged",
        "alter role … set synchronous_commit = on",
      )
    : finding("durability", "ok", `fsync on, synchronous_commit ${row?.commit}`)
}

async function connectionsFinding(db: Db): Promise<Finding> {
  const [row] = await db.query<{ used: number; most: string }>(
    "select (select count(*) from pg_stat_activity where backend_type = 'client backend') as used, current_setting('max_connections') as most",
  )
  const used = row?.used ?? 0
  const most = Number(row?.most)
  const detail = `${used} of ${most} in use; a node needs up to 8`
  return used + 8 <= most
    ? finding("connections", "ok", detail)
    : finding("connections", "warn", detail, "Raise max_connections, or put a pooler in transaction mode before the server.")
}

async function longTransactionsFinding(db: Db): Promise<Finding> {
  const rows = await db.query<{ pid: number; state: string; minutes: number; name: string }>(
    `select pid, state, floor(extract(epoch from now() - xact_start) / 60)::int as minutes, application_name as name from pg_stat_activity
       where xact_start < now() - interval '${longMinutes} minutes' and backend_type = 'client backend' order by xact_start limit 5`,
  )
  const prepared = await db.query<{ gid: string }>(
    `select gid from pg_prepared_xacts where prepared < now() - interval '${longMinutes} minutes' limit 5`,
  )
  if (rows.length + prepared.length === 0) return finding("long transactions", "ok", "none")
  const detail = [
    ...rows.map(({ pid, state, minutes, name }) => `pid ${pid} (${name === "" ? "unnamed" : name}, ${state}) since ${minutes} min`),
    ...prepared.map(({ gid }) => `prepared transaction ${gid}`),
  ].join("; ")
  const fix = [
    ...rows.map(({ pid }) => `select pg_terminate_backend(${pid})`),
    ...prepared.map(({ gid }) => `rollback prepared '${gid.replaceAll("'", "''")}'`),
  ].join("; ")
  return finding(
    "long transactions",
    "warn",
    `${detail}: they keep dead rows from being cleared`,
    `End them if they are not wanted: ${fix}`,
  )
}

async function slotsFinding(db: Db): Promise<Finding> {
  const rows = await db.query<{ name: string }>("select slot_name as name from pg_replication_slots where not active")
  if (rows.length === 0) return finding("replication slots", "ok", "none is idle")
  const names = rows.map(({ name }) => name).join(", ")
  return finding(
    "replication slots",
    "warn",
    `idle: ${names}; they keep files and dead rows`,
    `If nobody needs them: select pg_drop_replication_slot('…')`,
  )
}

async function bloatFindings(db: Db): Promise<Finding[]> {
  const rows = await db.query<{ name: string; live: number; dead: number }>(
    `select relname as name, n_live_tup as live, n_dead_tup as dead from pg_stat_user_tables
       where schemaname = current_schema() and n_dead_tup > ${deadMin} and n_dead_tup > n_live_tup order by n_dead_tup desc`,
  )
  if (rows.length === 0) return [finding("bloat", "ok", "no table has more dead rows than live ones")]
  return rows.map(({ name, live, dead }) =>
    finding("bloat", "warn", `${name} has ${dead} dead rows and ${live} live ones`, `vacuum ${name}, after the long transactions are gone`),
  )
}
