import { createHash } from "node:crypto"
import { FanfareError } from "../core/errors.ts"
import type { Db } from "./db.ts"
import { schema, traces } from "./schema.ts"

interface Migration {
  readonly version: number
  readonly statements: readonly string[]
}

const migrations: readonly Migration[] = [
  { version: 1, statements: schema() },
  { version: 2, statements: traces },
]

/** How a database stands to this program. */
export interface MigrationStatus {
  readonly applied: readonly { readonly version: number; readonly appliedAt: number }[]
  readonly pending: readonly { readonly version: number; readonly statements: readonly string[] }[]
}

interface Applied {
  readonly version: number
  readonly checksum: string
  readonly applied_at: number
}

/**
 * Brings a database to the schema of this program, all of it in one transaction; one that is there already is left alone.
 * @param whileMoving also when rows of another store are on their way into it
 * @throws FanfareError `store_unfit` when the database is newer than the program, its history is not this program's, or it was moved
 */
export async function migrate(db: Db, whileMoving = false): Promise<void> {
  await db.tx(async (tx) => {
    for (const statement of tx.dialect.prepare) await tx.execute(statement)
    await tx.execute(
      "create table if not exists migration (version bigint primary key not null, checksum text not null, applied_at bigint not null)",
    )
    const applied = await appliedTo(tx)
    for (const migration of migrations.slice(applied.length)) {
      for (const statement of statementsOf(migration, tx)) await tx.execute(statement)
      await tx.execute("insert into migration (version, checksum, applied_at) values ($1, $2, $3)", [
        migration.version,
        checksumOf(migration),
        await tx.now(),
      ])
    }
    const [moving] = await tx.query("select 1 from moving")
    if (moving !== undefined && !whileMoving) {
      throw new FanfareError("store_unfit", "another store is being moved into this one", {
        field: "db",
        hint: "Finish it first: run the same `fanfare move` again.",
      })
    }
    const [moved] = await tx.query<{ place: string; at: number }>("select place, at from moved")
    if (moved !== undefined)
      throw new FanfareError("store_unfit", `this store was moved to ${moved.place} at ${new Date(moved.at).toISOString()}`, {
        field: "db",
        hint: "Use that one. To go on with this one all the same, delete the row of its table moved.",
      })
  })
}

/** Looks only. @throws FanfareError `store_unfit` like `migrate` */
export async function migrationStatus(db: Db): Promise<MigrationStatus> {
  return db.tx(async (tx) => {
    const applied = (await tx.query(tx.dialect.findTable, ["migration"])).length === 0 ? [] : await appliedTo(tx)
    return {
      applied: applied.map(({ version, applied_at }) => ({ version, appliedAt: applied_at })),
      pending: migrations
        .slice(applied.length)
        .map((migration) => ({ version: migration.version, statements: statementsOf(migration, tx) })),
    }
  })
}

async function appliedTo(db: Db): Promise<Applied[]> {
  const applied = await db.query<Applied>("select version, checksum, applied_at from migration order by version")
  for (const { version, checksum } of applied) {
    const known = migrations.find((migration) => migration.version === version)
    if (known === undefined) {
      throw new FanfareError("store_unfit", `the store has schema ${version}, which is newer than this program's (${migrations.length})`, {
        field: "db",
        bound: migrations.length,
        hint: "Update fanfare, or use another store.",
      })
    }
    if (checksumOf(known) !== checksum) {
      throw new FanfareError("store_unfit", `the store's schema ${version} was made by a different program than this one`, {
        field: "db",
        hint: "Before version 1.0 schemas may change without a migration: start with a fresh store (another file or schema, or `fanfare dev --fresh`).",
      })
    }
  }
  return applied
}

function statementsOf({ statements }: Migration, { dialect }: Db): string[] {
  return [...statements.map((statement) => dialect.define(statement)), ...dialect.upkeep]
}

function checksumOf({ statements }: Migration): string {
  return createHash("sha256").update(statements.join(";\n")).digest("hex")
}
