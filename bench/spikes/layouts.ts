import { chmodSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { openConnections, type Connection } from "./connections.ts"

// node bench/spikes/layouts.ts [runs] [rounds]
// The hot path (ingest; then settle the last batch and claim the next in one transaction) in four layouts, on SQLite and PostgreSQL 18.
const runs = Number(process.argv[2] ?? 20_000)
const rounds = Number(process.argv[3] ?? 3)
const batch = 500

interface Layout {
  readonly name: string
  readonly tables: readonly string[]
  ingest(c: Connection, rows: readonly Row[]): Promise<void>
  settle(c: Connection, ids: readonly string[]): Promise<void>
  claim(c: Connection, limit: number): Promise<string[]>
}

interface Row {
  readonly run: string
  readonly event: string
  readonly data: string
}

const common = (c: Connection): string[] => [
  `create table event (id text primary key not null, name text not null, data text not null, ts bigint not null) ${c.clustered}`,
]
const events = async (c: Connection, rows: readonly Row[]): Promise<void> => {
  await c.query(
    `insert into event select id, 'bench/noop', data, 0 from ${c.rows([
      ["id", "text"],
      ["data", "text"],
    ])} as j where true`,
    [JSON.stringify(rows.map(({ event, data }) => [event, data]))],
  )
}
const ids = (list: readonly string[]): string => JSON.stringify(list.map((id) => [id]))
const runIndexes = [
  "create index run_function on run (function_id, id)",
  "create index run_fanout on run (fanout_id, id) where fanout_id is not null",
]

const layouts = (c: Connection): Layout[] => {
  const j = c.rows([["id", "text"]])
  const insertRuns = async (rows: readonly Row[], extra: string): Promise<void> => {
    await c.query(
      `insert into run (id, function_id, event_id, fanout_id, rank${extra === "" ? "" : ", state"}) select id, 'f', event_id, 'fan', 0${extra} from ${c.rows(
        [
          ["id", "text"],
          ["event_id", "text"],
        ],
      )} as j where true`,
      [JSON.stringify(rows.map(({ run, event }) => [run, event]))],
    )
  }
  const read = (list: readonly string[]): Promise<unknown[]> =>
    c.query(`select r.id, e.data from ${j} as j join run as r on r.id = j.id join event as e on e.id = r.event_id`, [ids(list)])
  const moved = (name: string, finish: (list: readonly string[]) => Promise<void>, extra: readonly string[]): Layout => ({
    name,
    tables: [
      ...common(c),
      `create table run (id text primary key not null, function_id text not null, event_id text not null, fanout_id text, rank bigint not null, state text, output text) ${c.clustered}`,
      ...runIndexes,
      `create table ready (function_id text not null, rank bigint not null, run_id text not null, attempt bigint not null, primary key (function_id, rank, run_id)) ${c.clustered}`,
      `create table lease (run_id text primary key not null, node_id text not null, fence bigint not null) ${c.clustered}`,
      ...extra,
    ],
    async ingest(_, rows) {
      await events(c, rows)
      await insertRuns(rows, "")
      await c.query(`insert into ready select 'f', 0, id, 0 from ${j} as j where true`, [ids(rows.map(({ run }) => run))])
    },
    async settle(_, list) {
      await c.query(`delete from lease where run_id in (select id from ${j} as j)`, [ids(list)])
      await finish(list)
    },
    async claim(_, limit) {
      const rows = await c.query<{ run_id: string }>(
        `delete from ready where (function_id, rank, run_id) in (select function_id, rank, run_id from ready where function_id = 'f' order by rank, run_id limit $1 ${c.skipLocked}) returning run_id`,
        [limit],
      )
      const list = rows.map(({ run_id }) => run_id)
      if (list.length === 0) return list
      await c.query(`insert into lease select id, 'n', 1 from ${j} as j where true`, [ids(list)])
      await read(list)
      return list
    },
  })
  return [
    {
      name: "A hot table in place",
      tables: [
        ...common(c),
        `create table run (id text primary key not null, function_id text not null, event_id text not null, fanout_id text, rank bigint not null, state text, output text) ${c.clustered}`,
        ...runIndexes,
        `create table queue (run_id text primary key not null, function_id text not null, rank bigint not null, state text not null, fence bigint not null) ${c.clustered}`,
        "create index queue_ready on queue (function_id, rank, run_id) where state = 'ready'",
      ],
      async ingest(_, rows) {
        await events(c, rows)
        await insertRuns(rows, "")
        await c.query(`insert into queue select id, 'f', 0, 'ready', 0 from ${j} as j where true`, [ids(rows.map(({ run }) => run))])
      },
      async settle(_, list) {
        await c.query(`delete from queue where fence = 1 and run_id in (select id from ${j} as j)`, [ids(list)])
        await c.query(`update run set state = 'completed', output = 'null' where id in (select id from ${j} as j)`, [ids(list)])
      },
      async claim(_, limit) {
        const rows = await c.query<{ run_id: string }>(
          `update queue set state = 'running', fence = fence + 1 where run_id in (select run_id from queue where function_id = 'f' and state = 'ready' order by rank, run_id limit $1 ${c.skipLocked}) returning run_id`,
          [limit],
        )
        const list = rows.map(({ run_id }) => run_id)
        if (list.length > 0) await read(list)
        return list
      },
    },
    {
      name: "B state in the run row",
      tables: [
        ...common(c),
        `create table run (id text primary key not null, function_id text not null, event_id text not null, fanout_id text, rank bigint not null, state text not null, fence bigint not null default 0, output text) ${c.clustered}`,
        ...runIndexes,
        "create index run_ready on run (function_id, rank, id) where state = 'ready'",
        "create index run_running on run (id) where state = 'running'",
      ],
      async ingest(_, rows) {
        await events(c, rows)
        await insertRuns(rows, ", 'ready'")
      },
      async settle(_, list) {
        await c.query(`update run set state = 'completed', output = 'null' where fence = 1 and id in (select id from ${j} as j)`, [
          ids(list),
        ])
      },
      async claim(_, limit) {
        const rows = await c.query<{ id: string }>(
          `update run set state = 'running', fence = fence + 1 where id in (select id from run where function_id = 'f' and state = 'ready' order by rank, id limit $1 ${c.skipLocked}) returning id`,
          [limit],
        )
        const list = rows.map(({ id }) => id)
        if (list.length > 0) await read(list)
        return list
      },
    },
    moved(
      "C rows moved, run updated at the end",
      async (list) =>
        void (await c.query(`update run set state = 'completed', output = 'null' where id in (select id from ${j} as j)`, [ids(list)])),
      [],
    ),
    moved(
      "D rows moved, result inserted",
      async (list) => void (await c.query(`insert into result select id, 'completed', 'null', 0 from ${j} as j where true`, [ids(list)])),
      [`create table result (run_id text primary key not null, state text not null, output text, ended_at bigint not null) ${c.clustered}`],
    ),
  ]
}

interface Figures {
  ingest: number[]
  loop: number[]
  pinned: number[]
}

async function measure(
  c: Connection,
  layout: Layout,
  pin: () => Promise<() => Promise<void>>,
): Promise<{ ingest: number; loop: number; pinned: number }> {
  await c.reset()
  for (const table of layout.tables) await c.query(table, [])
  const all = Array.from({ length: runs * 2 }, (_, i): Row => {
    const n = String(i).padStart(22, "0")
    return { run: `run_${n}`, event: `evt_${n}`, data: JSON.stringify({ i, text: "x".repeat(150) }) }
  })
  const ingest = async (rows: readonly Row[]): Promise<void> => {
    for (let i = 0; i < rows.length; i += 1_000) await c.tx(() => layout.ingest(c, rows.slice(i, i + 1_000)))
  }
  const loop = async (): Promise<void> => {
    let held: string[] = []
    do {
      const last = held
      held = await c.tx(async () => {
        if (last.length > 0) await layout.settle(c, last)
        return layout.claim(c, batch)
      })
    } while (held.length > 0)
  }
  const timed = async (work: () => Promise<void>): Promise<number> => {
    const began = performance.now()
    await work()
    return runs / ((performance.now() - began) / 1_000)
  }
  const ingested = await timed(() => ingest(all.slice(0, runs)))
  const looped = await timed(loop)
  // A long transaction of someone else keeps the dead rows of what follows from being cleaned up.
  const release = await pin()
  await ingest(all.slice(runs))
  const pinned = await timed(loop)
  await release()
  return { ingest: ingested, loop: looped, pinned }
}

const folder = mkdtempSync(join(tmpdir(), "fanfare-spike-"))
// PostgreSQL runs as a user of its own when this runs as root.
chmodSync(folder, 0o755)
const { stores, close } = await openConnections(folder)
try {
  for (const { name, connection, pin } of stores) {
    const figures = new Map<string, Figures>()
    for (let round = 0; round < rounds; round++) {
      for (const layout of layouts(connection)) {
        const { ingest, loop, pinned } = await measure(connection, layout, pin)
        const all = figures.get(layout.name) ?? { ingest: [], loop: [], pinned: [] }
        all.ingest.push(ingest)
        all.loop.push(loop)
        all.pinned.push(pinned)
        figures.set(layout.name, all)
      }
    }
    const median = (list: readonly number[]): number => Math.round(list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)] ?? 0)
    console.log(`\n${name}: ${runs} runs, median of ${rounds}`)
    for (const [layout, { ingest, loop, pinned }] of figures) {
      const both = Math.round(1 / (1 / median(ingest) + 1 / median(loop)))
      console.log(
        `${layout.padEnd(40)} ingest ${median(ingest)}/s  settle+claim ${median(loop)}/s  both ${both}/s  settle+claim while pinned ${median(pinned)}/s`,
      )
    }
  }
} finally {
  await close()
  rmSync(folder, { recursive: true, force: true })
}
