import { fork } from "node:child_process"
import { once } from "node:events"
import { setTimeout as delay } from "node:timers/promises"
import { Fanfare } from "fanfare"
import { createServer } from "fanfare/server"
import type { Places } from "./place.ts"

export interface FanoutsFigures {
  readonly jobs: number
  /** The time of a fan-out that is joined, per that of one that is only sent: the median of the rounds. */
  readonly joinedRatio: number
  /** Counts, rate and rest of a fan-out, a third of whose runs have failed, together with the failures by cause, over HTTP. */
  readonly pageMs: { readonly p50: number; readonly max: number }
}

/** What it costs to wait for a fan-out, and to look at it. */
export async function fanouts(places: Places, jobs: number, rounds: number): Promise<FanoutsFigures> {
  const ratios: number[] = []
  for (let i = 0; i < rounds; i++) {
    const sent = await timed(await places.next(), jobs, false)
    ratios.push((await timed(await places.next(), jobs, true)) / sent)
  }
  return { jobs, joinedRatio: round(median(ratios)), pageMs: await page(await places.next(), jobs) }
}

/** Milliseconds from the trigger of a function that fans out until its runs have ended, and it has if it waits for them. */
async function timed(place: string, jobs: number, joined: boolean): Promise<number> {
  const app = new Fanfare({ id: "bench" })
  app.createFunction({ id: "noop", triggers: [{ event: "bench/noop" }] }, () => undefined)
  app.createFunction({ id: "parent", triggers: [{ event: "bench/parent" }] }, async ({ step }) => {
    const events = Array.from({ length: jobs }, (_, i) => ({ name: "bench/noop", data: { i, text: "x".repeat(150) } }))
    if (!joined) return (await step.sendEvent("all", events)).fanoutId
    const result = await step.fanOut("all", events)
    if (result.completed !== jobs) throw new Error(`the join gave ${result.completed} of ${jobs}`)
    return result.fanoutId
  })
  const server = await createServer({ client: app, db: place, logs: "none" })
  await server.start()
  const warm = await app.send(Array.from({ length: 500 }, () => ({ name: "bench/noop", data: {} })))
  await app.fanouts.wait(warm.fanoutId ?? "")
  globalThis.gc?.()
  const began = performance.now()
  await app.send({ name: "bench/parent", data: {} })
  let id: string | null = null
  while (id === null) {
    await delay(20)
    const [newest] = (await app.fanouts.list({ limit: 1 })).items
    if (newest !== undefined && newest.id !== warm.fanoutId) id = newest.id
  }
  await app.fanouts.wait(id)
  const ms = performance.now() - began
  await server.stop()
  return ms
}

async function page(place: string, jobs: number): Promise<FanoutsFigures["pageMs"]> {
  const app = new Fanfare({ id: "bench" })
  app.createFunction({ id: "third", triggers: [{ event: "bench/third" }], retries: 0 }, ({ event }) => {
    const i = Number(event.data["i"])
    if (i % 3 === 0) throw new Error(`item ${i} of kind "${"abcdefghij"[i % 10] ?? ""}" fails`)
  })
  const server = await createServer({ client: app, db: place, http: { port: 0 }, logs: "none" })
  await server.start()
  const { fanoutId } = await app.send(Array.from({ length: jobs }, (_, i) => ({ name: "bench/third", data: { i } })))
  const times: number[] = []
  // While it runs, and after it has ended.
  for (let ended = false; !ended || times.length < 50; ) {
    const began = performance.now()
    const url = `${server.url}/api/v1/fanouts/${fanoutId}`
    const [fanout] = (await Promise.all([fetch(url), fetch(`${url}/failures`)].map(async (answer) => (await answer).json()))) as {
      state: string
    }[]
    times.push(performance.now() - began)
    ended = fanout?.state === "ended"
    await delay(50)
  }
  await server.stop()
  return { p50: round(median(times)), max: round(Math.max(...times)) }
}

export interface CountingFigures {
  readonly nodes: number
  readonly jobs: number
  readonly runsPerSecond: number
  /** How long a statement of a node has waited for a lock, looked at every few milliseconds. */
  readonly lockWaitMs: { readonly looks: number; readonly waiting: number; readonly max: number }
}

/** Several nodes end the runs of one fan-out: all of them count in one row. */
export async function counting(places: Places, jobs: number, count: number): Promise<CountingFigures> {
  const place = await places.next()
  const start = async () => {
    const child = fork(new URL("./node-process.ts", import.meta.url), [place], { execArgv: ["--disable-warning=ExperimentalWarning"] })
    await once(child, "message")
    return child
  }
  const children = [await start()]
  while (children.length < count) children.push(await start())
  const db = await places.connect(place)
  const waits: number[] = []
  const began = performance.now()
  children[0]?.send({ send: "bench/noop", events: jobs })
  for (let ended = 0; ended < jobs; ) {
    const [row] = await db.query<{ wait: number | null; ended: number }>(
      `select (select max(extract(epoch from clock_timestamp() - query_start) * 1000)::bigint from pg_stat_activity
           where wait_event_type = 'Lock' and datname = current_database()) as wait,
         coalesce((select max(completed) from fanout), 0) as ended`,
    )
    waits.push(row?.wait ?? 0)
    ended = row?.ended ?? 0
    await delay(3)
  }
  const seconds = (performance.now() - began) / 1_000
  for (const child of children) child.kill("SIGKILL")
  await db.close()
  const lockWaitMs = { looks: waits.length, waiting: waits.filter((ms) => ms > 0).length, max: Math.max(...waits) }
  return { nodes: count, jobs, runsPerSecond: Math.round(jobs / seconds), lockWaitMs }
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
}

function round(n: number): number {
  return Math.round(n * 100) / 100
}
