import type { ChangeOf, Unit } from "../core/change.ts"
import type { Db } from "./db.ts"

/** The registry's version, if a unit rests on one; else 0. */
export async function registryVersion(db: Db, units: readonly Unit[]): Promise<number> {
  if (units.every(({ registry }) => registry === null)) return 0
  const [row] = await db.query<{ version: number }>("select version from registry where id = 1")
  return row?.version ?? 0
}

/** Functions of an app that it does not offer any more are retired; their runs and history stay. */
export async function putApps(db: Db, changes: readonly ChangeOf<"app.put">[]): Promise<void> {
  if (changes.length === 0) return
  await db.execute("insert into registry (id, version) values (1, 1) on conflict (id) do update set version = registry.version + 1")
  for (const { appId, functionIds, at } of changes) {
    await db.execute(
      `update function set retired_at = $2 where app_id = $1 and retired_at is null
         and id not in (select id from ${db.dialect.rows("$3", [["id", "text"]])} as j)`,
      [appId, at, JSON.stringify(functionIds.map((id) => [id]))],
    )
  }
}

export async function putFunctions(db: Db, changes: readonly ChangeOf<"function.put">[]): Promise<void> {
  for (const { definition, at } of changes) {
    await db.execute(
      `insert into function (id, app_id, definition, updated_at, retired_at) values ($1, $2, $3, $4, null)
         on conflict (id) do update set definition = excluded.definition, updated_at = excluded.updated_at, retired_at = null`,
      [definition.id, definition.appId, JSON.stringify(definition), at],
    )
  }
}
