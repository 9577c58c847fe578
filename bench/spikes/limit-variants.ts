import type { Connection } from "./connections.ts"

export interface Held {
  readonly id: string
  readonly keys: readonly (readonly [key: string, max: number])[]
}

/**
 * - `hold, count slots`: runs without room wait in `held`; occupancy is the number of rows in `slot`.
 * - `hold, counter row`: the same, but occupancy is a number in a row per key.
 * - `derive at claim`: all runs stay in line; each claim looks for the first ones whose keys have room.
 */
export const variants = ["hold, count slots", "hold, counter row", "derive at claim"] as const
export type Variant = (typeof variants)[number]

interface StoredRun {
  run_id: string
  keys: string
}

export interface Limits {
  create(): Promise<void>
  add(rows: readonly Held[]): Promise<void>
  claim(limit: number): Promise<Held[]>
  settle(rows: readonly Held[]): Promise<void>
  takeOver(node: string): Promise<void>
  /** Limits that are exceeded at this moment. */
  exceeded(): Promise<number>
}

export function createLimits(c: Connection, variant: Variant, node = "n"): Limits {
  const counter = variant === "hold, counter row"
  const derive = variant === "derive at claim"
  const keysOf = (rows: readonly Held[]): string[] => [...new Set(rows.flatMap(({ keys }) => keys.map(([key]) => key)))].toSorted()
  const one = c.rows([["id", "text"]])
  const two = c.rows([
    ["id", "text"],
    ["keys", "text"],
  ])
  const list = (ids: readonly string[]): string => JSON.stringify(ids.map((id) => [id]))
  const toHeld = (row: StoredRun): Held => ({ id: row.run_id, keys: JSON.parse(row.keys) as [string, number][] })
  const put = (table: string, rows: readonly Held[]): Promise<unknown> =>
    c.query(`insert into ${table} (run_id, keys) select id, keys from ${two} as j where true`, [
      JSON.stringify(rows.map(({ id, keys }) => [id, JSON.stringify(keys)])),
    ])

  /** Whoever changes what a key holds has its row, in the order of the keys. */
  async function lock(keys: readonly string[]): Promise<Map<string, number>> {
    const rows = await c.query<{ key: string; used: number | string }>(
      `select key, used from limit_row where key in (select id from ${one} as j) order by key ${c.skipLocked === "" ? "" : "for update"}`,
      [list(keys)],
    )
    if (counter) return new Map(rows.map(({ key, used }) => [key, Number(used)]))
    const counts = await c.query<{ key: string; n: number | string }>(
      `select limit_key as key, count(*) as n from slot where limit_key in (select id from ${one} as j) group by limit_key`,
      [list(keys)],
    )
    return new Map(counts.map(({ key, n }) => [key, Number(n)]))
  }

  async function occupy(rows: readonly Held[], sign: 1 | -1): Promise<void> {
    const pairs = rows.flatMap(({ id, keys }) => keys.map(([key]) => [key, id] as const))
    if (pairs.length === 0) return
    if (counter) {
      const by = new Map<string, number>()
      for (const [key] of pairs) by.set(key, (by.get(key) ?? 0) + sign)
      await c.query(
        `update limit_row set used = used + (select n from ${c.rows([
          ["key", "text"],
          ["n", "bigint"],
        ])} as j where j.key = limit_row.key) where key in (select key from ${c.rows([
          ["key", "text"],
          ["n", "bigint"],
        ])} as j)`,
        [JSON.stringify([...by])],
      )
      return
    }
    const rowsOf = c.rows([
      ["limit_key", "text"],
      ["run_id", "text"],
    ])
    if (sign === 1) await c.query(`insert into slot select limit_key, run_id from ${rowsOf} as j where true`, [JSON.stringify(pairs)])
    else
      await c.query(`delete from slot where (limit_key, run_id) in (select limit_key, run_id from ${rowsOf} as j)`, [JSON.stringify(pairs)])
  }

  async function hold(rows: readonly (readonly [string, Held])[]): Promise<void> {
    await c.query(
      `insert into held select limit_key, run_id, keys from ${c.rows([
        ["limit_key", "text"],
        ["run_id", "text"],
        ["keys", "text"],
      ])} as j where true`,
      [JSON.stringify(rows.map(([key, row]) => [key, row.id, JSON.stringify(row.keys)]))],
    )
  }

  async function release(keys: readonly string[]): Promise<void> {
    const waiting = new Map<string, Held[]>()
    for (const key of keys) {
      const rows = await c.query<StoredRun>("select run_id, keys from held where limit_key = $1 order by run_id limit 50", [key])
      if (rows.length > 0) waiting.set(key, rows.map(toHeld))
    }
    const used = await lock(keysOf([...waiting.values()].flat()))
    const released: Held[] = []
    const moved: [string, Held][] = []
    for (const [key, rows] of waiting) {
      const gone: Held[] = []
      for (const row of rows) {
        const full = row.keys.find(([each, max]) => (used.get(each) ?? 0) >= max)?.[0]
        if (full === key) break
        gone.push(row)
        if (full !== undefined) moved.push([full, row])
        else {
          released.push(row)
          for (const [each] of row.keys) used.set(each, (used.get(each) ?? 0) + 1)
        }
      }
      if (gone.length > 0)
        await c.query(`delete from held where limit_key = $2 and run_id in (select id from ${one} as j)`, [
          list(gone.map(({ id }) => id)),
          key,
        ])
    }
    if (moved.length > 0) await hold(moved)
    if (released.length > 0) {
      await put("ready", released)
      await occupy(released, 1)
    }
  }

  async function enqueue(rows: readonly Held[]): Promise<void> {
    if (derive) await put("ready", rows)
    else {
      await hold(rows.map((row) => [row.keys[0]?.[0] ?? "", row]))
      await release(keysOf(rows))
    }
  }

  return {
    async create() {
      for (const sql of [
        `create table limit_row (key text primary key not null, used bigint not null) ${c.clustered}`,
        `create table held (limit_key text not null, run_id text not null, keys text not null, primary key (limit_key, run_id)) ${c.clustered}`,
        `create table ready (run_id text primary key not null, keys text not null) ${c.clustered}`,
        `create table lease (run_id text primary key not null, keys text not null, node text not null) ${c.clustered}`,
        `create table slot (limit_key text not null, run_id text not null, primary key (limit_key, run_id)) ${c.clustered}`,
        `create table ended (run_id text primary key not null) ${c.clustered}`,
      ]) {
        await c.query(sql, [])
      }
    },
    async add(rows) {
      await c.query(`insert into limit_row select id, 0 from ${one} as j where true on conflict (key) do nothing`, [list(keysOf(rows))])
      await enqueue(rows)
    },
    async claim(limit) {
      let taken: Held[]
      if (derive) {
        // Where the keys are read from the rows, the first claimable run may stand behind the whole backlog.
        taken = []
        let after = ""
        let used: Map<string, number> | null = null
        for (;;) {
          const rows = (
            await c.query<StoredRun>(`select run_id, keys from ready where run_id > $1 order by run_id limit 1000`, [after])
          ).map(toHeld)
          if (rows.length === 0) break
          const missing = keysOf(rows).filter((key) => used?.has(key) !== true)
          if (missing.length > 0) used = new Map([...(used ?? []), ...missing.map((key) => [key, 0] as const), ...(await lock(missing))])
          for (const row of rows) {
            if (taken.length >= limit || row.keys.some(([key, max]) => (used?.get(key) ?? 0) >= max)) continue
            for (const [key] of row.keys) used?.set(key, (used.get(key) ?? 0) + 1)
            taken.push(row)
          }
          after = rows.at(-1)?.id ?? ""
          if (taken.length >= limit) break
        }
        const gone = await c.query<StoredRun>(`delete from ready where run_id in (select id from ${one} as j) returning run_id, keys`, [
          list(taken.map(({ id }) => id)),
        ])
        taken = gone.map(toHeld)
        await occupy(taken, 1)
      } else {
        const rows = await c.query<StoredRun>(
          `delete from ready where run_id in (select run_id from ready order by run_id limit $1 ${c.skipLocked}) returning run_id, keys`,
          [limit],
        )
        taken = rows.map(toHeld)
      }
      await c.query(
        `insert into lease select id, keys, node from ${c.rows([
          ["id", "text"],
          ["keys", "text"],
          ["node", "text"],
        ])} as j where true`,
        [JSON.stringify(taken.map(({ id, keys }) => [id, JSON.stringify(keys), node]))],
      )
      return taken
    },
    async settle(rows) {
      await lock(keysOf(rows))
      await c.query(`delete from lease where run_id in (select id from ${one} as j)`, [list(rows.map(({ id }) => id))])
      await c.query(`insert into ended select id from ${one} as j where true`, [list(rows.map(({ id }) => id))])
      await occupy(rows, -1)
      if (!derive) await release(keysOf(rows))
    },
    async takeOver(dead) {
      const rows = (await c.query<StoredRun>("select run_id, keys from lease where node = $1", [dead])).map(toHeld)
      if (rows.length === 0) return
      await lock(keysOf(rows))
      await c.query(`delete from lease where run_id in (select id from ${one} as j)`, [list(rows.map(({ id }) => id))])
      await occupy(rows, -1)
      await enqueue(rows)
    },
    async exceeded() {
      const rows = await c.query<{ key: string; n: number | string }>(
        counter ? "select key, used as n from limit_row" : "select limit_key as key, count(*) as n from slot group by limit_key",
        [],
      )
      return rows.filter(({ key, n }) => Number(n) > (key === "function" ? 40 : 3)).length
    },
  }
}
