import { FlowProducer, Queue, QueueEvents, Worker } from "bullmq"
import type { Item, Peer } from "./peer.ts"

/** On Redis with an append-only file, as its guide to production asks: `everysec` is what that guide has, `always` is as durable as a database. */
export function bullmq(fsync: "everysec" | "always"): Peer {
  return {
    store: "redis",
    package: "bullmq",
    settings: `concurrency 50, addBulk of 1,000; Redis 7 with appendfsync ${fsync}, noeviction; lockDuration 10 s and stalledInterval 5 s (defaults: 30 s)`,
    keeps: "the job, in memory",
    step: "`job.updateData`, the pattern of its guide for jobs in steps",
    fair: null,
    join: { by: "a flow", most: 1_000_000 },
    async open(place, handler) {
      const { port, prefix } = parse(place)
      const connection = { host: "127.0.0.1", port, maxRetriesPerRequest: null }
      const queue = new Queue<Item>("bench", { connection, prefix })
      const parents = new Queue("parents", { connection, prefix })
      const flows = new FlowProducer({ connection, prefix })
      const events = new QueueEvents("parents", { connection, prefix })
      await Promise.all([queue.waitUntilReady(), parents.waitUntilReady(), events.waitUntilReady()])
      const options = { connection, prefix, lockDuration: 10_000, stalledInterval: 5_000 }
      const worker = new Worker<Item>(
        "bench",
        async (job) => {
          await handler(job.data)
          if (job.name === "step") await job.updateData({ ...job.data, text: "1" })
        },
        { ...options, concurrency: 50 },
      )
      const parentWorker = new Worker("parents", async () => undefined, options)
      await Promise.all([worker.waitUntilReady(), parentWorker.waitUntilReady()])
      return {
        async send(work, items) {
          for (let from = 0; from < items.length; from += 1_000) {
            await queue.addBulk(items.slice(from, from + 1_000).map((data) => ({ name: work, data })))
          }
        },
        async join(items) {
          const children = items.map((data) => ({ name: "noop", queueName: "bench", data }))
          const flow = await flows.add({ name: "parent", queueName: "parents", data: {}, children })
          await flow.job.waitUntilFinished(events)
        },
        ended: () => queue.getCompletedCount(),
        async close() {
          await Promise.all([worker.close(true), parentWorker.close(true)])
          await Promise.all([queue.close(), parents.close(), flows.close(), events.close()])
        },
      }
    },
  }
}

function parse(place: string): { port: number; prefix: string } {
  const url = new URL(place)
  return { port: Number(url.port), prefix: url.hash.slice(1) }
}
