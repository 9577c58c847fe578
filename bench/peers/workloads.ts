import { performance } from "node:perf_hooks"
import { setTimeout as delay } from "node:timers/promises"
import type { Item, Opened, Peer, Work } from "./peer.ts"

/** What one measurement is told; each has a time after which what is not done yet counts as not done. */
export interface Task {
  readonly workload: "fanout" | "step" | "join" | "latency" | "fairness" | "fill"
  readonly jobs: number
  readonly capMs: number
}

/** What it found. `null`: not reached within the cap. */
export interface Found {
  /** Until the send was durable, until all handlers had begun, until the store said that all had ended. */
  readonly sendMs?: number | null
  readonly begunMs?: number | null
  readonly endedMs?: number | null
  /** Runs ended per second; of those that ended within the cap, if not all did. */
  readonly perSecond?: number
  readonly ended?: number
  readonly cut?: boolean
  readonly p50Ms?: number
  readonly p95Ms?: number
  readonly p99Ms?: number
  readonly samples?: number
}

interface Running extends Opened {
  begun: number
  /** Whoever waits for the start of one run, by its number. */
  readonly awaited: Map<number, () => void>
}

const flooder = "flooder"

export async function perform(peer: Peer, place: string, task: Task): Promise<Found> {
  const state = { begun: 0, awaited: new Map<number, () => void>() }
  const opened = await peer.open(
    place,
    (item) => {
      state.begun++
      state.awaited.get(item.i)?.()
      // The flood has some work to do for each of its runs, as real tenants have; what it stands in the way of has none.
      return item.tenant === flooder ? delay(20) : undefined
    },
    task.workload === "fairness",
  )
  const running: Running = Object.assign(state, opened)
  await warmUp(running)
  globalThis.gc?.()
  if (task.workload === "latency") return latency(running, task)
  if (task.workload === "fairness") return fairness(running, task)
  if (task.workload === "join") return join(running, task)
  return fanout(running, task.workload === "step" ? "step" : "noop", task)
}

export function items(n: number, tenant = "", from = 0): Item[] {
  return Array.from({ length: n }, (_, i) => ({ i: from + i, tenant, text: "x".repeat(150) }))
}

/** Once through everything, so that no figure is about a cold start. */
async function warmUp(running: Running): Promise<void> {
  const before = await running.ended()
  await running.send("noop", items(100))
  while ((await running.ended()) < before + 100) await delay(20)
}

/** Send to last completion as the store has it. The store is asked only once all handlers have begun, or when the time is up. */
async function fanout(running: Running, work: Work, task: Task): Promise<Found> {
  const input = items(task.jobs)
  const [begun, ended] = [running.begun, await running.ended()]
  const began = performance.now()
  const since = (): number => Math.round(performance.now() - began)
  const overdue = (): boolean => performance.now() - began > task.capMs
  let sendMs: number | null = null
  let failed: unknown = null
  running.send(work, input).then(
    () => {
      sendMs = since()
    },
    (error: unknown) => {
      failed = error
    },
  )
  while (failed === null && !overdue() && (sendMs === null || running.begun < begun + task.jobs)) await delay(1)
  if (failed !== null) throw failed
  const begunMs = overdue() ? null : since()
  let done = (await running.ended()) - ended
  while (done < task.jobs && !overdue()) {
    await delay(5)
    done = (await running.ended()) - ended
  }
  const ms = since()
  const cut = done < task.jobs
  return { sendMs, begunMs, endedMs: cut ? null : ms, perSecond: Math.round((done / ms) * 1_000), ended: done, cut }
}

/** From the start of the parent to its end, which comes when all children have ended. */
async function join(running: Running, task: Task): Promise<Found> {
  if (running.join === undefined) throw new Error("this system has no join")
  const began = performance.now()
  const reached = await Promise.race([running.join(items(task.jobs)).then(() => true), delay(task.capMs, false)])
  const ms = Math.round(performance.now() - began)
  if (!reached) return { endedMs: null, ended: 0, cut: true }
  return { endedMs: ms, perSecond: Math.round((task.jobs / ms) * 1_000), ended: task.jobs, cut: false }
}

/** From the call of `send` to the first line of the handler, one after the other. */
async function latency(running: Running, task: Task): Promise<Found> {
  const times: number[] = []
  const until = performance.now() + task.capMs
  for (let i = 0; i < task.jobs && performance.now() < until; i++) {
    await delay(5)
    times.push(await single(running, "noop", i, until))
  }
  return spread(times)
}

/**
 * Runs of other tenants behind a flood of one: 30 of them, one each 50 ms whether or not the one before has begun, as tenants come. A
 * start that the cap cuts off counts with the time that it had waited.
 */
async function fairness(running: Running, task: Task): Promise<Found> {
  await running.send("tenant", items(task.jobs, flooder))
  const until = performance.now() + task.capMs
  const starts: Promise<number>[] = []
  for (let i = 0; i < 30; i++) {
    starts.push(single(running, "tenant", i, until))
    await delay(50)
  }
  return { ...spread(await Promise.all(starts)), cut: performance.now() >= until }
}

async function single(running: Running, work: Work, i: number, until: number): Promise<number> {
  const id = 1_000_000 + i
  const begun = new Promise<void>((resolve) => {
    running.awaited.set(id, resolve)
  })
  const began = performance.now()
  const sent = running.send(work, items(1, `single-${i}`, id))
  await Promise.race([begun, delay(Math.max(0, until - began))])
  const took = performance.now() - began
  await sent
  return took
}

function spread(times: number[]): Found {
  times.sort((a, b) => a - b)
  const at = (share: number): number => Math.round((times[Math.floor(times.length * share)] ?? 0) * 10) / 10
  return { p50Ms: at(0.5), p95Ms: at(0.95), p99Ms: at(0.99), samples: times.length }
}
