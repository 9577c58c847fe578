import type { HttpApp } from "../core/http-app.ts"
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
  for (const { appId, functionIds, http, at } of changes) {
    if (http === undefined) await db.execute("delete from app where id = $1", [appId])
    else await putHttpApp(db, http, at)
    await db.execute(
      `update function set retired_at = $2 where app_id = $1 and retired_at is null
         and id not in (select id from ${db.dialect.rows("$3", [["id", "text"]])} as j)`,
      [appId, at, JSON.stringify(functionIds.map((id) => [id]))],
    )
  }
}

async function putHttpApp(db: Db, { id, url, sdk, framework, calls, checksum }: HttpApp, at: number): Promise<void> {
  await db.execute(
    `insert into app (id, url, sdk, framework, calls, checksum, updated_at) values ($1, $2, $3, $4, $5, $6, $7)
       on conflict (id) do update set url = excluded.url, sdk = excluded.sdk, framework = excluded.framework, calls = excluded.calls,
         checksum = excluded.checksum, updated_at = excluded.updated_at`,
    [id, url, sdk, framework, JSON.stringify(calls), checksum, at],
  )
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
