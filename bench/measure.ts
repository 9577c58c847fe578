import { fork } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { monitorEventLoopDelay, performance } from "node:perf_hooks"
import { setTimeout as delay } from "node:timers/promises"
import { Fanfare } from "fanfare"
import { createServer, type FanfareServer } from "fanfare/server"

export interface FanoutFigures {
  readonly jobs: number
  readonly sendMs: number
  readonly makespanMs: number
  readonly runsPerSecond: number
  readonly rssMb: number
  readonly loopDelayP99Ms: number
}

interface Bench {
  readonly app: Fanfare
  readonly server: FanfareServer
  /** Resolves when that many runs have ended from now on, durably. */
  ended(runs: number): Promise<void>
  started: (() => void) | null
}

/** Send to last completion, all of it durable, history kept. */
export async function fanout(place: string, jobs: number, withStep: boolean): Promise<FanoutFigures> {
  const bench = await open(place, withStep)
  // Once through everything, so that no figure is about a cold start.
  const warm = bench.ended(500)
  await bench.app.send(events(500))
  await warm
  globalThis.gc?.()
  const loop = monitorEventLoopDelay({ resolution: 1 })
  const sampled = sampleRss()
  loop.enable()
  const all = bench.ended(jobs)
  const input = events(jobs)
  const began = performance.now()
  await bench.app.send(input)
  const sendMs = performance.now() - began
  await all
  const makespanMs = performance.now() - began
  loop.disable()
  const rssMb = sampled()
  await bench.server.stop()
  return {
    jobs,
    sendMs: Math.round(sendMs),
    makespanMs: Math.round(makespanMs),
    runsPerSecond: Math.round((jobs / makespanMs) * 1_000),
    rssMb,
    loopDelayP99Ms: Math.round(loop.percentile(99) / 1e5) / 10,
  }
}

/** From the call of `send` to the first line of the handler, one event at a time. */
export async function latency(place: string, events: number): Promise<{ p50Ms: number; p99Ms: number }> {
  const bench = await open(place, false)
  const times: number[] = []
  for (let i = 0; i < events + 20; i++) {
    await delay(5)
    const handler = new Promise<void>((resolve) => {
      bench.started = resolve
    })
    const began = performance.now()
    const sent = bench.app.send({ name: "bench/noop" })
    await handler
    if (i >= 20) times.push(performance.now() - began)
    await sent
  }
  await bench.server.stop()
  times.sort((a, b) => a - b)
  const at = (share: number): number => Math.round((times[Math.floor(times.length * share)] ?? 0) * 100) / 100
  return { p50Ms: at(0.5), p99Ms: at(0.99) }
}

export async function growth(
  place: () => Promise<string>,
  sizes: readonly number[],
): Promise<{ jobs: number; runsPerSecond: number; rssMb: number }[]> {
  const figures: { jobs: number; runsPerSecond: number; rssMb: number }[] = []
  // Node's stripper of TypeScript takes 18 MB, which are not ours to count: what it made for the first size is found there by the others.
  const NODE_COMPILE_CACHE = mkdtempSync(join(tmpdir(), "fanfare-bench-code-"))
  for (const jobs of sizes) {
    // In a process of its own: what an earlier size left in memory is not counted.
    const child = fork(new URL("./fanout-process.ts", import.meta.url), [await place(), String(jobs)], {
      execArgv: ["--disable-warning=ExperimentalWarning"],
      env: { ...process.env, NODE_COMPILE_CACHE },
    })
    const [measured] = (await once(child, "message")) as [FanoutFigures]
    figures.push({ jobs, runsPerSecond: measured.runsPerSecond, rssMb: measured.rssMb })
    await once(child, "exit")
  }
  rmSync(NODE_COMPILE_CACHE, { recursive: true, force: true })
  return figures
}

export interface HistoryFigures {
  readonly runs: number
  /** Cost of a claim or a commit in the full file, per cost in an empty one. */
  readonly claimRatio: number
  readonly commitRatio: number
  /** The newest 50 runs; and the newest 50 that failed (none did, so nothing may be scanned). */
  readonly listMs: number
  readonly coldStartMs: number
}

/** Claim, commit and list with many finished runs in the file, against the same in an empty one, in turn. */
export async function history(full: string, empty: string, runs: number): Promise<HistoryFigures> {
  for (let done = 0; done < runs; done += 100_000) await fillHistory(full, Math.min(100_000, runs - done))
  const a = await open(full, false)
  const b = await open(empty, false)
  const rates: { full: number[]; empty: number[]; fullSend: number[]; emptySend: number[] } = {
    full: [],
    empty: [],
    fullSend: [],
    emptySend: [],
  }
  for (let round = 0; round < 7; round++) {
    for (const [bench, makespan, send] of [
      [a, rates.full, rates.fullSend],
      [b, rates.empty, rates.emptySend],
    ] as const) {
      const all = bench.ended(5_000)
      const began = performance.now()
      await bench.app.send(events(5_000))
      send.push(performance.now() - began)
      const sent = performance.now()
      await all
      makespan.push(performance.now() - sent)
    }
  }
  const listMs = await timeLists(a.server.url ?? "")
  await a.server.stop()
  await b.server.stop()
  const restarted = performance.now()
  const c = await open(full, false)
  const coldStartMs = Math.round(performance.now() - restarted)
  await c.server.stop()
  const ratio = (x: readonly number[], y: readonly number[]): number => Math.round((median(x) / median(y)) * 100) / 100
  return { runs, claimRatio: ratio(rates.full, rates.empty), commitRatio: ratio(rates.fullSend, rates.emptySend), listMs, coldStartMs }
}

async function timeLists(url: string): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < 21; i++) {
    for (const query of ["", "?state=failed", "?function=noop"]) {
      const began = performance.now()
      await (await fetch(`${url}/api/v1/runs${query}`)).json()
      times.push(performance.now() - began)
    }
  }
  return Math.round(median(times) * 100) / 100
}

/** From SIGKILL in the middle of a fan-out to the first handler that runs again, with a new process in between. */
export async function recovery(place: string): Promise<number> {
  const first = fork(new URL("./recovery-process.ts", import.meta.url), [place, "send"])
  await once(first, "message")
  await delay(100)
  first.kill("SIGKILL")
  await once(first, "exit")
  const began = performance.now()
  const second = fork(new URL("./recovery-process.ts", import.meta.url), [place, "resume"])
  await once(second, "message")
  const recoveryMs = Math.round(performance.now() - began)
  second.kill("SIGKILL")
  return recoveryMs
}

async function open(place: string, withStep: boolean): Promise<Bench> {
  const app = new Fanfare({ id: "bench" })
  const bench: { started: (() => void) | null; begun: number } = { started: null, begun: 0 }
  app.createFunction({ id: "noop", triggers: [{ event: "bench/noop" }] }, async ({ step }) => {
    bench.begun++
    bench.started?.()
    if (withStep) await step.run("work", () => 1)
  })
  const server = await createServer({ client: app, db: place, http: { port: 0 }, logs: "none" })
  await server.start()
  const completed = async (): Promise<number> =>
    ((await (await fetch(`${server.url}/api/v1/status`)).json()) as { completed: number }).completed
  // Only once all handlers have begun is the engine asked how many runs are durably completed: to ask before would be part of what is measured.
  const ended = async (runs: number): Promise<void> => {
    const goal = bench.begun + runs
    while (bench.begun < goal) await delay(1)
    while ((await completed()) < goal) await delay(1)
  }
  return Object.assign(bench, { app, server, ended })
}

function events(n: number): { name: string; data: object }[] {
  return Array.from({ length: n }, (_, i) => ({ name: "bench/noop", data: { i, text: "x".repeat(150) } }))
}

async function fillHistory(place: string, runs: number): Promise<void> {
  const bench = await open(place, false)
  const all = bench.ended(runs)
  await bench.app.send(events(runs))
  await all
  await bench.server.stop()
}

function sampleRss(): () => number {
  let most = 0
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss())
  }, 20)
  return () => {
    clearInterval(timer)
    return Math.round(most / 1e6)
  }
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
}
