import { Logger, makeWorkerUtils, run } from "graphile-worker"
import pg from "pg"
import type { Item, Peer } from "./peer.ts"

/** Set as its own page on performance does, with a larger local queue, which was faster here. */
export const graphile: Peer = {
  store: "postgres",
  package: "graphile-worker",
  settings:
    "concurrentJobs 24, maxPoolSize 25, localQueue 1,000 (none for fairness), completeJobBatchDelay and failJobBatchDelay 0, addJobs of 1,000",
  keeps: "nothing: a job that has ended is deleted",
  step: null,
  fair: "a `queueName` for each tenant, which is one job at a time",
  join: null,
  async open(place, handler, tenants) {
    const logger = new Logger(() => () => undefined)
    const utils = await makeWorkerUtils({ connectionString: place, logger })
    await utils.migrate()
    const task = (payload: unknown): void | Promise<void> => handler(payload as Item)
    const runner = await run({
      preset: {
        worker: {
          connectionString: place,
          concurrentJobs: 24,
          maxPoolSize: 25,
          // Jobs of one tenant would fill the local queue and stand in the way of the others.
          ...(tenants ? {} : { localQueue: { size: 1_000 } }),
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0,
          logger,
        },
      },
      taskList: { noop: task, tenant: task },
      noHandleSignals: true,
    })
    const pool = new pg.Pool({ connectionString: place, max: 1 })
    let sent = 0
    return {
      async send(work, items) {
        for (let from = 0; from < items.length; from += 1_000) {
          const part = items.slice(from, from + 1_000)
          await utils.addJobs(
            part.map((payload) => ({
              identifier: work,
              payload,
              ...(work === "tenant" ? { queueName: payload.tenant } : {}),
            })),
          )
          sent += part.length
        }
      },
      // What is not there any more has ended.
      async ended() {
        const { rows } = await pool.query("select count(*)::int as n from graphile_worker._private_jobs")
        return sent - Number(rows[0].n)
      },
      async close() {
        await runner.stop()
        await utils.release()
        await pool.end()
      },
    }
  },
}
