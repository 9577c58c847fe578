import { DBOS, DBOSClient } from "@dbos-inc/dbos-sdk"
import pg from "pg"
import { each, type Item, type Peer, tenantLimit } from "./peer.ts"

/** One executor, whose workflows come from a queue. */
export const dbos: Peer = {
  store: "postgres",
  package: "@dbos-inc/dbos-sdk",
  settings:
    "queue with workerConcurrency 200, minPollingIntervalMs 50 (default 1,000), pool of 20, useListenNotify; sends are enqueueInTransaction, 100 in each of 10 transactions at a time",
  keeps: "the workflow and its steps",
  step: "`DBOS.runStep`",
  fair: `a partitioned queue, \`partitionConcurrency: ${tenantLimit}\``,
  join: { by: "a workflow that starts children and waits for all", most: 1_000_000 },
  async open(place, handler) {
    const quiet = () => undefined
    const logger = { info: quiet, debug: quiet, warn: quiet, error: quiet }
    DBOS.setConfig({
      name: "bench",
      systemDatabaseUrl: place,
      systemDatabasePoolSize: 20,
      useListenNotify: true,
      applicationVersion: "1",
      logger,
    })
    const noop = DBOS.registerWorkflow(async (item: Item) => handler(item), { name: "noop" })
    DBOS.registerWorkflow(
      async (item: Item) => {
        await handler(item)
        await DBOS.runStep(async () => 1, { name: "work" })
      },
      { name: "step" },
    )
    DBOS.registerWorkflow(async (item: Item) => handler(item), { name: "tenant" })
    const parent = DBOS.registerWorkflow(
      async (items: readonly Item[]) => {
        const handles: Awaited<ReturnType<ReturnType<typeof DBOS.startWorkflow<[Item], void>>>>[] = []
        await each(items, 20, async (item) => handles.push(await DBOS.startWorkflow(noop, { queueName: "bench" })(item)))
        await DBOS.waitAll(handles)
      },
      { name: "parent" },
    )
    await DBOS.launch()
    await DBOS.registerQueue("bench", { workerConcurrency: 200, minPollingIntervalMs: 50 })
    await DBOS.registerQueue("tenants", { partitionConcurrency: tenantLimit, minPollingIntervalMs: 50 })
    const client = await DBOSClient.create({ systemDatabaseUrl: place, applicationName: "bench", logger })
    const pool = new pg.Pool({ connectionString: place, max: 10 })
    return {
      async send(work, items) {
        const queueName = work === "tenant" ? "tenants" : "bench"
        const parts = Array.from({ length: Math.ceil(items.length / 100) }, (_, i) => items.slice(i * 100, i * 100 + 100))
        await each(parts, 10, async (part) => {
          const connection = await pool.connect()
          await connection.query("begin")
          for (const item of part) {
            const options = { queueName, workflowName: work, ...(work === "tenant" ? { queuePartitionKey: item.tenant } : {}) }
            await client.enqueueInTransaction(connection, options, item)
          }
          await connection.query("commit")
          connection.release()
        })
      },
      async join(items) {
        const handle = await DBOS.startWorkflow(parent)(items)
        await handle.getResult()
      },
      async ended() {
        const { rows } = await pool.query(
          "select count(*)::int as n from dbos.workflow_status where status = 'SUCCESS' and name <> 'parent'",
        )
        return Number(rows[0].n)
      },
      async close() {
        await client.destroy()
        await DBOS.shutdown()
        await pool.end()
      },
    }
  },
}
