import pg from "pg"
import { PgBoss } from "pg-boss"
import { type Item, type Peer, tenantLimit } from "./peer.ts"

/** Its quick modes: batches that are fetched again at once while they come back full, LISTEN/NOTIFY for single jobs, heartbeats. */
export const pgboss: Peer = {
  store: "postgres",
  package: "pg-boss",
  settings:
    "batchSize 500, localConcurrency 2 (for fairness 1 and 20), burstWhenBatchFull, useListenNotify, insert of 1,000 with returnId false; heartbeatSeconds 10 (its least) and supervision each second, so that dead workers are noticed soon",
  keeps: "the job, for 7 days",
  step: null,
  fair: `\`groupConcurrency: ${tenantLimit}\``,
  join: { by: "`flow`, looked at each second (its least)", most: 1_000_000 },
  async open(place, handler) {
    const boss = new PgBoss({
      connectionString: place,
      useListenNotify: true,
      superviseIntervalSeconds: 1,
      monitorIntervalSeconds: 1,
      flowIntervalSeconds: 1,
      schedule: false,
    })
    boss.on("error", () => undefined)
    await boss.start()
    const queue = { notify: true, heartbeatSeconds: 10, retryLimit: 4 }
    for (const name of ["noop", "tenant", "parent"]) await boss.createQueue(name, queue)
    const work = async (jobs: { data: Item }[]): Promise<void> => {
      await Promise.all(jobs.map(async ({ data }) => handler(data)))
    }
    const fast = { pollingIntervalSeconds: 0.5, notifyPollingIntervalSeconds: 0.5, batchSize: 500, burstWhenBatchFull: true }
    await boss.work<Item>("noop", { ...fast, localConcurrency: 2 }, work)
    // One job at a time in each of 20 workers: a batch would wait for its slowest job, and its places stay taken meanwhile.
    await boss.work<Item>("tenant", { ...fast, batchSize: 1, localConcurrency: 20, groupConcurrency: tenantLimit }, work)
    const joins = new Map<string, () => void>()
    await boss.work("parent", { ...fast, batchSize: 1 }, async ([job]) => joins.get(job?.id ?? "")?.())
    const pool = new pg.Pool({ connectionString: place, max: 1 })
    return {
      async send(kind, items) {
        for (let from = 0; from < items.length; from += 1_000) {
          const part = items.slice(from, from + 1_000)
          await boss.insert(
            kind,
            part.map((data) => ({ data, ...(kind === "tenant" ? { group: { id: data.tenant } } : {}) })),
            { returnId: false },
          )
        }
      },
      async join(items) {
        const children = items.map((data) => ({ ref: `c${data.i}`, name: "noop", data }))
        const ids = await boss.flow([...children, { ref: "parent", name: "parent", dependsOn: children.map(({ ref }) => ref) }])
        await new Promise<void>((resolve) => {
          joins.set(ids["parent"] ?? "", resolve)
        })
      },
      async ended() {
        const { rows } = await pool.query(
          "select count(*)::int as n from pgboss.job where name in ('noop', 'tenant') and state = 'completed'",
        )
        return Number(rows[0].n)
      },
      async close() {
        await boss.stop({ graceful: false })
        await pool.end()
      },
    }
  },
}
