import type { Column, Db, Param } from "./db.ts"

/** The values of one row, in the order of its columns. */
export type Values = readonly Param[]

/**
 * Inserts a list of rows. Where a statement costs next to nothing it is run for each; elsewhere one takes the list apart.
 * @param rows also as the text of a JSON array
 * @param conflict what follows: `on conflict …`
 */
export async function insertRows(
  db: Db,
  table: string,
  columns: readonly Column[],
  rows: readonly Values[] | string,
  conflict = "",
): Promise<void> {
  if (rows.length === 0) return
  const names = namesOf(columns)
  if (db.each !== undefined) {
    const list = typeof rows === "string" ? (JSON.parse(rows) as Values[]) : rows
    await db.each(`insert into ${table} (${names}) values (${columns.map((_, i) => `$${i + 1}`).join(", ")}) ${conflict}`, list)
    return
  }
  await db.execute(`insert into ${table} (${names}) select ${names} from ${db.dialect.rows("$1", columns)} as j where true ${conflict}`, [
    typeof rows === "string" ? rows : JSON.stringify(rows),
  ])
}

/** Deletes the rows that have these keys, as far as they are there. */
export async function deleteRows(db: Db, table: string, key: readonly Column[], rows: readonly Values[]): Promise<void> {
  if (rows.length === 0) return
  if (db.each === undefined) await db.execute(deletion(db, table, key), [JSON.stringify(rows)])
  else await db.each(deletionOfOne(table, key), rows)
}

/** The same; gives those that were there. */
export async function takeRows<Row extends Values>(
  db: Db,
  table: string,
  key: readonly Column[],
  rows: readonly Row[],
): Promise<readonly Row[]> {
  if (rows.length === 0) return []
  if (db.each !== undefined) {
    const deleted = await db.each(deletionOfOne(table, key), rows)
    return rows.filter((_, i) => deleted[i] === 1)
  }
  const taken = await db.query<Record<string, Param>>(`${deletion(db, table, key)} returning ${namesOf(key)}`, [JSON.stringify(rows)])
  return taken.map((row) => key.map(([name]) => row[name] ?? null)) as unknown as Row[]
}

function deletion(db: Db, table: string, key: readonly Column[]): string {
  const names = namesOf(key)
  return `delete from ${table} where (${names}) in (select ${names} from ${db.dialect.rows("$1", key)} as j)`
}

function deletionOfOne(table: string, key: readonly Column[]): string {
  return `delete from ${table} where ${key.map(([name], i) => `${name} = $${i + 1}`).join(" and ")}`
}

function namesOf(columns: readonly Column[]): string {
  return columns.map(([name]) => name).join(", ")
}
