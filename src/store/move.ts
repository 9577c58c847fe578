import { FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import type { Column, Db, Param } from "./db.ts"
import { migrate } from "./migrate.ts"
import { openSqlite } from "./sqlite.ts"

export interface MoveProgress {
  readonly table: string
  readonly copied: number
}

export interface MoveReport {
  /** Rows by table, the same in both stores. */
  readonly tables: Readonly<Record<string, number>>
  readonly rows: number
}

interface Table {
  readonly name: string
  readonly columns: readonly Column[]
  readonly key: readonly string[]
}

/** What is written once, by far the most; then what is small; what may be claimed comes last, in one transaction. */
const history = [
  "event",
  "run",
  "result",
  "attempt",
  "log",
  "step",
  "tick",
  "event_key",
  "fanout",
  "failure_group",
  "wait",
  "doomed",
  "batched",
  "traced",
  "finished",
  "operation",
  "tally",
]
const small = ["function", "app", "registry", "schedule", "watched", "limiter", "logout"]
const queues = ["timer", "held", "ready", "slot", "lease"]
const batch = 2_000

/**
 * Copies a store into another database. It may be broken off and begun again at any time: it goes on where it was. An engine that
 * starts on the target meanwhile finds nothing to claim; the source is marked as moved when all is verified.
 * @throws FanfareError `store_in_use` when nodes live on one of the two; `store_unfit` when the target has rows of its own, or counts differ
 */
export async function move(source: Db, target: Db, targetName: string, progress: (done: MoveProgress) => void): Promise<MoveReport> {
  await migrate(source)
  await migrate(target, true)
  await refuseLive(source, "source")
  await refuseLive(target, "target")
  await beginMove(source, target)
  const tables = await tablesOf()
  for (const name of [...history, ...small]) await copyTable(source, target, tableNamed(tables, name), progress)
  await target.tx(async (tx) => {
    for (const name of queues) await copyTable(source, tx, tableNamed(tables, name), progress)
    await tx.execute("delete from moving")
  })
  const report = await compare(source, target)
  await source.execute("insert into moved (id, place, at) values (1, $1, $2)", [targetName, await source.now()])
  return report
}

async function refuseLive(db: Db, which: string): Promise<void> {
  const [live] = await db.query<{ host: string; pid: number }>(
    "select host, pid from node where seen_at > $1 order by seen_at desc limit 1",
    [(await db.now()) - limits.leaseMs],
  )
  if (live === undefined) return
  throw new FanfareError("store_in_use", `the ${which} is in use by process ${live.pid} on ${live.host}`, {
    field: "db",
    hint: "Stop all its nodes first; what they have begun is handed back and moves too.",
  })
}

/** A target is empty, or it has the beginning of this very move. */
async function beginMove(source: Db, target: Db): Promise<void> {
  const [first] = await source.query<{ applied_at: number }>("select applied_at from migration where version = 1")
  const id = String(first?.applied_at)
  const [moving] = await target.query<{ source: string }>("select source from moving")
  if (moving?.source === id) return
  const [known] = await target.query("select 1 from run limit 1")
  if (moving !== undefined || known !== undefined) {
    throw new FanfareError(
      "store_unfit",
      moving === undefined ? "the target has runs of its own" : "the target has the beginning of another move",
      {
        field: "to",
        hint: "Move into an empty schema or database.",
      },
    )
  }
  await target.tx(async (tx) => {
    // What a node that was tried on the target has registered gives way to what comes.
    for (const name of small) await tx.execute(`delete from ${name}`)
    await tx.execute("insert into moving (source) values ($1)", [id])
  })
}

async function copyTable(source: Db, target: Db, table: Table, progress: (done: MoveProgress) => void): Promise<void> {
  const { name, columns, key } = table
  const names = columns.map(([column]) => column).join(", ")
  const order = key.join(", ")
  const [last] = await target.query<Record<string, Param>>(
    `select ${order} from ${name} order by ${key.map((k) => `${k} desc`).join(", ")} limit 1`,
  )
  let cursor: Param[] | null = last === undefined ? null : key.map((column) => last[column] ?? null)
  for (let copied = 0; ; ) {
    const where: string = cursor === null ? "" : `where (${order}) > (${key.map((_, i) => `$${i + 1}`).join(", ")})`
    const rows = await source.query<Record<string, Param>>(
      `select ${names} from ${name} ${where} order by ${order} limit ${batch}`,
      cursor ?? [],
    )
    if (rows.length === 0) return
    await target.execute(
      `insert into ${name} (${names}) select ${names} from ${target.dialect.rows("$1", columns)} as j where true on conflict do nothing`,
      [JSON.stringify(rows.map((row) => columns.map(([column]) => row[column] ?? null)))],
    )
    const end = rows.at(-1)
    cursor = key.map((column) => end?.[column] ?? null)
    copied += rows.length
    progress({ table: name, copied })
  }
}

async function compare(source: Db, target: Db): Promise<MoveReport> {
  const tables: Record<string, number> = {}
  for (const name of [...history, ...small, ...queues]) {
    const [a] = await source.query<{ n: number }>(`select count(*) as n from ${name}`)
    const [b] = await target.query<{ n: number }>(`select count(*) as n from ${name}`)
    if (a?.n !== b?.n) {
      throw new FanfareError("store_unfit", `the table ${name} has ${a?.n} rows in the source and ${b?.n} in the target`, {
        field: "to",
        hint: "Something else wrote to one of the two meanwhile. The source was left as it is; move it into an empty schema.",
      })
    }
    tables[name] = a?.n ?? 0
  }
  return { tables, rows: Object.values(tables).reduce((sum, n) => sum + n, 0) }
}

/** Columns and keys, asked of a database in memory that has them. */
async function tablesOf(): Promise<Map<string, Table>> {
  const model = openSqlite({ file: ":memory:", clock: { now: () => 0 } })
  await migrate(model)
  const tables = new Map<string, Table>()
  for (const name of [...history, ...small, ...queues]) {
    const columns = await model.query<{ name: string; type: string; pk: number }>(`select name, type, pk from pragma_table_info('${name}')`)
    tables.set(name, {
      name,
      columns: columns.map((column): Column => [column.name, column.type === "bigint" ? "bigint" : "text"]),
      key: columns
        .filter(({ pk }) => pk > 0)
        .toSorted((a, b) => a.pk - b.pk)
        .map((column) => column.name),
    })
  }
  await model.close()
  return tables
}

function tableNamed(tables: ReadonlyMap<string, Table>, name: string): Table {
  const table = tables.get(name)
  if (table === undefined) throw new FanfareError("internal", `there is no table ${name}`)
  return table
}
