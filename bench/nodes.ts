import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { setTimeout as delay } from "node:timers/promises"
import type { Db } from "#house/store/db.js"
import type { Places } from "./place.ts"

export interface NodesFigures {
  readonly oneNodeRunsPerSecond: number
  readonly twoNodesRunsPerSecond: number
  /** Two nodes to one, of each pair. */
  readonly ratio: number
  /** From SIGKILL of a node to the claim of the last of its runs by another. */
  readonly recoveryMs: { readonly p50: number; readonly max: number }
  /** From the request to stop to the claim of the last run that was handed back. */
  readonly handBackMs: { readonly p50: number; readonly max: number }
}

/** Several nodes on one PostgreSQL: whether two are faster than one, and how long runs are in nobody's hands when one dies or leaves. */
export async function nodes(places: Places, jobs: number, rounds: number): Promise<NodesFigures> {
  const one: number[] = []
  const two: number[] = []
  for (let i = 0; i < Math.ceil(rounds / 2); i++) {
    one.push(await throughput(places, jobs, 1))
    two.push(await throughput(places, jobs, 2))
  }
  const ratios = two.map((rate, i) => rate / (one[i] ?? rate))
  const recovery: number[] = []
  const handBack: number[] = []
  for (let i = 0; i < rounds; i++) {
    recovery.push(await takeover(places, (node) => node.kill("SIGKILL")))
    handBack.push(await takeover(places, (node) => node.send("stop")))
  }
  return {
    oneNodeRunsPerSecond: Math.round(median(one)),
    twoNodesRunsPerSecond: Math.round(median(two)),
    ratio: Math.round(median(ratios) * 100) / 100,
    recoveryMs: { p50: median(recovery), max: Math.max(...recovery) },
    handBackMs: { p50: median(handBack), max: Math.max(...handBack) },
  }
}

async function throughput(places: Places, jobs: number, count: number): Promise<number> {
  const place = await places.next()
  const children = [await start(place)]
  while (children.length < count) children.push(await start(place))
  const db = await places.connect(place)
  const completed = async (): Promise<number> =>
    (await db.query<{ n: number }>("select coalesce(max(completed), 0) as n from fanout where total > 600"))[0]?.n ?? 0
  await Promise.all(children.map((child) => send(child, "bench/noop", 500)))
  const began = performance.now()
  await send(children[0], "bench/noop", jobs)
  while ((await completed()) < jobs) await delay(3)
  const seconds = (performance.now() - began) / 1_000
  await end(children, db)
  return jobs / seconds
}

/** Milliseconds until the runs of a node that ends are all in the hands of the other. */
async function takeover(places: Places, finish: (node: ChildProcess) => void): Promise<number> {
  const place = await places.next()
  const first = await start(place)
  const db = await places.connect(place)
  await send(first, "bench/slow", 30)
  const leased = async (): Promise<{ node_id: string; n: number }[]> =>
    db.query("select node_id, count(*) as n from lease group by node_id")
  while ((await leased())[0]?.n !== 30) await delay(5)
  const holder = (await leased())[0]?.node_id
  const second = await start(place)
  finish(first)
  const began = performance.now()
  for (;;) {
    const [row, ...more] = await leased()
    if (more.length === 0 && row?.n === 30 && row.node_id !== holder) break
    await delay(2)
  }
  const ms = Math.round(performance.now() - began)
  await end([first, second], db)
  return ms
}

async function start(place: string): Promise<ChildProcess> {
  const child = fork(new URL("./node-process.ts", import.meta.url), [place], { execArgv: ["--disable-warning=ExperimentalWarning"] })
  await once(child, "message")
  return child
}

async function send(child: ChildProcess | undefined, name: string, events: number): Promise<void> {
  if (child === undefined) return
  child.send({ send: name, events })
  await once(child, "message")
}

async function end(children: readonly ChildProcess[], db: Db): Promise<void> {
  for (const child of children) child.kill("SIGKILL")
  await db.close()
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
}
