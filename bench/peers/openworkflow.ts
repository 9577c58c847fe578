import { DatabaseSync } from "node:sqlite"
import { OpenWorkflow } from "openworkflow"
import { BackendPostgres } from "openworkflow/postgres"
import { BackendSqlite } from "openworkflow/sqlite"
import pg from "pg"
import { each, type Item, type Peer } from "./peer.ts"

/** It polls, more and more seldom when idle; neither that nor its leases can be set. There is no bulk call. */
export function openworkflow(store: "sqlite" | "postgres"): Peer {
  return {
    store,
    package: "openworkflow",
    settings: "concurrency 100; 50 sends at a time, since it has no bulk call",
    keeps: "the workflow and its steps",
    step: "`step.run`",
    fair: null,
    join: { by: "`step.runWorkflow` (a workflow has at most 1,000 steps)", most: 900 },
    async open(place, handler) {
      const backend = await (store === "sqlite" ? BackendSqlite.connect(place) : BackendPostgres.connect(place))
      const ow = new OpenWorkflow({ backend })
      const noop = ow.defineWorkflow<Item, null>({ name: "noop" }, async ({ input }) => {
        await handler(input)
        return null
      })
      const step = ow.defineWorkflow<Item, null>({ name: "step" }, async ({ input, step: steps }) => {
        await handler(input)
        await steps.run({ name: "work" }, () => 1)
        return null
      })
      const parent = ow.defineWorkflow<Item[], null>({ name: "parent" }, async ({ input, step: steps }) => {
        await Promise.all(input.map((item) => steps.runWorkflow(noop.workflow.spec, item, { name: `child ${item.i}` })))
        return null
      })
      const worker = ow.newWorker({ concurrency: 100 })
      await worker.start()
      const count = counter(store, place)
      return {
        async send(work, items) {
          const target = work === "step" ? step : noop
          await each(items, 50, (item) => target.run(item))
        },
        async join(items) {
          const handle = await parent.run([...items])
          await handle.result({ timeoutMs: 600_000 })
        },
        ended: count.ended,
        async close() {
          await count.close()
          await worker.stop()
          await backend.stop()
        },
      }
    },
  }
}

const sql = "as n from workflow_runs where status in ('completed', 'succeeded') and workflow_name <> 'parent'"

function counter(store: "sqlite" | "postgres", place: string): { ended(): Promise<number>; close(): Promise<void> } {
  if (store === "sqlite") {
    const file = new DatabaseSync(place, { readOnly: true })
    return { ended: async () => Number(file.prepare(`select count(*) ${sql}`).get()?.["n"]), close: async () => file.close() }
  }
  const pool = new pg.Pool({ connectionString: place, max: 1, options: "-c search_path=openworkflow" })
  return { ended: async () => Number((await pool.query(`select count(*)::int ${sql}`)).rows[0].n), close: () => pool.end() }
}
