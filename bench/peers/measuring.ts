import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { setTimeout as delay } from "node:timers/promises"
import type { Found, Task } from "./workloads.ts"

/** Time that a system has to open, to warm up and to answer beyond the cap of its workload, before it is killed. */
const slackMs = 60_000

/** One measurement in a process of its own. Never hangs: `error` says why there is no figure. */
export async function measure(peer: string, place: string, task: Task): Promise<Found & { error?: string }> {
  const child = start([peer, place, "measure", JSON.stringify(task)])
  const said = listen(child)
  const answer = await Promise.race([
    once(child, "message").then(([found]) => found as Found),
    once(child, "exit").then(() => ({ error: `ended early: ${said()}` })),
    delay(task.capMs + slackMs, { error: `no answer within ${(task.capMs + slackMs) / 1_000} s` }, { ref: false }),
  ])
  await end(child)
  return answer
}

export interface Recovered {
  /** From SIGKILL to the first handler of the process that followed at once, and until all had ended; null: not within the cap. */
  readonly firstMs: number | null
  readonly allMs: number | null
  readonly jobs: number
  /** Acknowledged, and not ended when the cap was reached. */
  readonly missing: number
  /** Begun before the kill and again after it: in flight then, or ended without the store knowing it. */
  readonly begunTwice: number
  readonly endedTwice: number
  readonly error?: string
}

/** Kills a process in the middle of its runs, starts another one at once, and looks at what the handlers wrote down. */
export async function recover(peer: string, place: string, ledger: string, jobs: number, capMs: number): Promise<Recovered> {
  const first = start([peer, place, "work", ledger, String(jobs)])
  const said = listen(first)
  const until = performance.now() + slackMs
  const none = { firstMs: null, allMs: null, jobs, missing: jobs, begunTwice: 0, endedTwice: 0 }
  while (!ready(read(ledger), jobs)) {
    if (performance.now() > until || first.exitCode !== null) {
      await end(first)
      return { ...none, error: `did not get as far as the kill: ${said()}` }
    }
    await delay(5)
  }
  first.kill("SIGKILL")
  await once(first, "exit")
  const killed = performance.now()
  const second = start([peer, place, "work", ledger])
  listen(second)
  let firstMs: number | null = null
  let allMs: number | null = null
  while (performance.now() < killed + capMs && allMs === null) {
    await delay(20)
    const lines = read(ledger)
    if (firstMs === null && lines.some(({ pid }) => pid === second.pid)) firstMs = Math.round(performance.now() - killed)
    if (endedOnce(lines).size >= jobs) allMs = Math.round(performance.now() - killed)
  }
  // What is done twice may come a little later than what is done for the first time.
  await delay(500)
  await end(second)
  const lines = read(ledger)
  return {
    firstMs,
    allMs,
    jobs,
    missing: jobs - endedOnce(lines).size,
    begunTwice: twice(lines, "begin"),
    endedTwice: twice(lines, "end"),
  }
}

interface Line {
  readonly pid: number
  readonly what: string
  readonly i: string
}

function read(ledger: string): Line[] {
  let text = ""
  try {
    text = readFileSync(ledger, "utf8")
  } catch {
    return []
  }
  return text
    .trim()
    .split("\n")
    .map((line) => {
      const [pid, what = "", i = ""] = line.split(" ")
      return { pid: Number(pid), what, i }
    })
}

/** All are durable, and half of them have been done. */
function ready(lines: readonly Line[], jobs: number): boolean {
  return lines.some(({ what }) => what === "sent") && endedOnce(lines).size >= jobs / 2
}

function endedOnce(lines: readonly Line[]): Set<string> {
  return new Set(lines.filter(({ what }) => what === "end").map(({ i }) => i))
}

function twice(lines: readonly Line[], kind: string): number {
  const all = lines.filter(({ what }) => what === kind).map(({ i }) => i)
  return all.length - new Set(all).size
}

function start(args: readonly string[]): ChildProcess {
  return fork(new URL("./child.ts", import.meta.url), args, {
    execArgv: ["--expose-gc", "--disable-warning=ExperimentalWarning"],
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  })
}

function listen(child: ChildProcess): () => string {
  let said = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-2_000)
    })
  }
  return () => (/\w*Error: .*/.exec(said)?.[0] ?? said.trim().split("\n").at(-1) ?? "").slice(0, 200)
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, "exit")
  child.kill("SIGKILL")
  await ended
}
