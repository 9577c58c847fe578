import { createHash } from "node:crypto"
import { FanfareError } from "../core/errors.ts"
import type { Db } from "./db.ts"
import { schema } from "./schema.ts"

interface Migration {
  readonly version: number
  readonly statements: readonly string[]
}

const migrations: readonly Migration[] = [{ version: 1, statements: schema() }]

interface Applied {
  readonly version: number
  readonly checksum: string
}

/**
 * Brings a database to the schema of this program, all of it in one transaction; one that is there already is left alone.
 * @throws FanfareError `store_unfit` when the database is newer than the program, or its history is not this program's
 */
export async function migrate(db: Db): Promise<void> {
  await db.tx(async (tx) => {
    for (const statement of db.dialect.prepare) await tx.execute(statement)
    await tx.execute(
      "create table if not exists migration (version bigint primary key not null, checksum text not null, applied_at bigint not null)",
    )
    const applied = await tx.query<Applied>("select version, checksum from migration order by version")
    for (const { version, checksum } of applied) {
      const known = migrations.find((migration) => migration.version === version)
      if (known === undefined) {
        throw new FanfareError(
          "store_unfit",
          `the store has schema ${version}, which is newer than this program's (${migrations.length})`,
          {
            field: "db",
            bound: migrations.length,
            hint: "Update fanfare, or use another store.",
          },
        )
      }
      if (checksumOf(known) !== checksum) {
        throw new FanfareError("store_unfit", `the store's schema ${version} was made by a different program than this one`, {
          field: "db",
          hint: "Before version 1.0 schemas may change without a migration: start with a fresh store file.",
        })
      }
    }
    for (const migration of migrations.slice(applied.length)) {
      for (const statement of migration.statements) await tx.execute(db.dialect.define(statement))
      for (const statement of db.dialect.upkeep) await tx.execute(statement)
      await tx.execute("insert into migration (version, checksum, applied_at) values ($1, $2, $3)", [
        migration.version,
        checksumOf(migration),
        await tx.now(),
      ])
    }
  })
}

function checksumOf({ statements }: Migration): string {
  return createHash("sha256").update(statements.join(";\n")).digest("hex")
}
