import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { setTimeout as delay } from "node:timers/promises"
import pg from "pg"
import { seededRandom } from "../../src/testing/random.ts"
import type { TestServer } from "../store/postgres.ts"
import { type Cut, type Proxy, startProxy } from "./proxy.ts"

export interface ClusterPlan {
  readonly kills: number
  /** Nodes stopped (SIGSTOP) for longer than they are taken for alive, and let go on. */
  readonly freezes: number
  readonly restarts: number
  /** Connections cut around COMMIT, at least. */
  readonly cuts: number
  readonly children: number
  readonly seed: number
}

export interface ClusterReport {
  /** Where all of it is left. */
  readonly url: string
  readonly done: Readonly<Record<"kills" | "freezes" | "restarts", number>>
  readonly cuts: Readonly<Record<Cut, number>>
  readonly acknowledged: number
  readonly runs: number
  readonly lost: readonly string[]
  readonly duplicates: readonly string[]
  readonly unfinished: readonly string[]
  /** Outputs of attempts that had lost their run, and fan-outs whose counts are not the truth. */
  readonly stale: readonly string[]
}

const size = 3

/** Three nodes on one PostgreSQL, under load, with everything happening to them that happens to machines. */
export async function clusterChaos(
  server: TestServer,
  plan: ClusterPlan,
  progress: (line: string) => void = () => undefined,
): Promise<ClusterReport> {
  const url = await server.database()
  const proxy = await startProxy(server.port, plan.seed)
  const cluster = new Cluster(url.replace(`:${server.port}/`, `:${proxy.port}/`), plan.children)
  const random = seededRandom(plan.seed, "chaos")
  const done = { kills: 0, freezes: 0, restarts: 0 }
  try {
    for (let i = 0; i < size; i++) await cluster.start(i)
    cluster.send(["begin"])
    proxy.rate = 0.06
    while (done.kills < plan.kills || done.freezes < plan.freezes || done.restarts < plan.restarts || total(proxy) < plan.cuts) {
      for (let i = 0; i < 3; i++) cluster.sendExtra(1 + Math.floor(random.next() * 4))
      await delay(100 + random.next() * 600)
      const victim = Math.floor(random.next() * size)
      const x = random.next()
      if (done.kills < plan.kills && x < 0.6) {
        done.kills++
        await cluster.kill(victim)
      } else if (done.freezes < plan.freezes && x < 0.8) {
        done.freezes++
        cluster.freeze(victim, 6_000 + random.next() * 2_000)
      } else if (done.restarts < plan.restarts) {
        done.restarts++
        await server.restart(random.next() * 1_000)
      }
      cluster.repeat()
      progress(
        `${done.kills} kills, ${done.freezes} freezes, ${done.restarts} restarts, ${total(proxy)} cuts, ${cluster.acked.size} sends acknowledged`,
      )
    }
    proxy.rate = 0
    await cluster.settle(url)
    return { url, done, cuts: proxy.cuts, acknowledged: cluster.acked.size, ...(await inspect(url, cluster.acked, plan.children)) }
  } finally {
    cluster.end()
    await proxy.close()
  }
}

function total({ cuts }: Proxy): number {
  return cuts.before + cuts.after + cuts["half-open"]
}

class Cluster {
  readonly acked = new Set<string>()
  readonly #url: string
  readonly #children: number
  readonly #nodes: (ChildProcess | null)[] = []
  readonly #processes = new Set<ChildProcess>()
  readonly #frozen = new Set<NodeJS.Timeout>()
  readonly #sent: string[][] = []
  #extras = 0
  #turn = 0
  #ended = false

  constructor(url: string, children: number) {
    this.#url = url
    this.#children = children
  }

  /** Starts a node, again and again until it starts: a server may be away. */
  async start(place: number): Promise<void> {
    this.#nodes[place] = null
    while (!this.#ended) {
      const node = fork(new URL("./cluster-node.ts", import.meta.url), [this.#url, String(this.#children)], {
        execArgv: ["--disable-warning=ExperimentalWarning"],
        stdio: ["ignore", "ignore", process.env["CHAOS_DEBUG"] === undefined ? "ignore" : "inherit", "ipc"],
      })
      this.#processes.add(node)
      node.on("exit", () => this.#processes.delete(node))
      const started = await new Promise<boolean>((resolve) => {
        node.on("exit", () => resolve(false))
        node.on("message", (message: { kind: "started" } | { kind: "acked"; ids: string[] }) => {
          if (message.kind === "started") resolve(true)
          else for (const id of message.ids) this.acked.add(id)
        })
      })
      if (started) {
        this.#nodes[place] = node
        return
      }
      await delay(200)
    }
  }

  send(ids: string[]): void {
    this.#sent.push(ids)
    this.#deliver(ids)
  }

  sendExtra(events: number): void {
    this.send(Array.from({ length: events }, () => `extra ${this.#extras++}`))
  }

  /** A client that hears no answer sends again, with the same ids, to another node. */
  repeat(): void {
    for (const ids of this.#sent) if (!ids.every((id) => this.acked.has(id))) this.#deliver(ids)
  }

  async kill(place: number): Promise<void> {
    const node = this.#nodes[place]
    if (node === null || node === undefined) return
    node.kill("SIGKILL")
    await once(node, "exit")
    // The others take over meanwhile.
    void this.start(place)
  }

  freeze(place: number, ms: number): void {
    const node = this.#nodes[place]
    if (node === null || node === undefined) return
    node.kill("SIGSTOP")
    const timer = setTimeout(() => {
      this.#frozen.delete(timer)
      node.kill("SIGCONT")
    }, ms)
    this.#frozen.add(timer)
  }

  /** Waits until all is done, or nothing moves any more. */
  async settle(url: string): Promise<void> {
    let open = -1
    for (let still = 0; still < 60; ) {
      await delay(500)
      this.repeat()
      const now = await count(url, "select count(*)::int as n from fanfare.run where id not in (select run_id from fanfare.result)").catch(
        () => -1,
      )
      if (now === 0 && this.#sent.every((ids) => ids.every((id) => this.acked.has(id))) && this.#frozen.size === 0) return
      still = now === open ? still + 1 : 0
      open = now
    }
  }

  end(): void {
    this.#ended = true
    for (const timer of this.#frozen) clearTimeout(timer)
    for (const node of this.#processes) node.kill("SIGKILL")
  }

  #deliver(ids: string[]): void {
    for (let i = 0; i < this.#nodes.length; i++) {
      const node = this.#nodes[this.#turn++ % this.#nodes.length]
      if (node?.connected === true) {
        node.send({ kind: "send", ids })
        return
      }
    }
  }
}

async function inspect(
  url: string,
  acked: ReadonlySet<string>,
  children: number,
): Promise<Pick<ClusterReport, "runs" | "lost" | "duplicates" | "unfinished" | "stale">> {
  const list = (sql: string): Promise<string[]> => query(url, sql).then((rows) => rows.map((row) => String(Object.values(row)[0])))
  const withRun = new Set(
    await list(
      "select e.key from fanfare.event as e where e.key is not null and exists (select 1 from fanfare.run as r where r.event_id = e.id)",
    ),
  )
  const found = await count(url, "select count(*)::int as n from fanfare.run where function_id = 'chaos-child'")
  return {
    runs: await count(url, "select count(*)::int as n from fanfare.run"),
    lost: [...acked].filter((id) => !withRun.has(id)).concat(found < children ? [`only ${found} children`] : []),
    duplicates: [
      ...(await list("select key from fanfare.event where key is not null group by key having count(*) > 1")),
      ...(await list("select event_id from fanfare.run group by event_id having count(*) > 1")),
      ...(found > children ? [`${found} children`] : []),
    ],
    unfinished: await list(
      "select r.id || ' ' || r.function_id || ' ' || coalesce(x.state, 'open') || ' ' || coalesce(x.failure, '') from fanfare.run as r left join fanfare.result as x on x.run_id = r.id where x.state is null or x.state <> 'completed'",
    ),
    stale: [
      ...(await list(
        "select r.id from fanfare.run as r join fanfare.result as x on x.run_id = r.id join fanfare.step as s on s.run_id = r.id and s.key = 'draw' where x.output <> s.output",
      )),
      ...(await list(
        `select f.id || ' counts ' || f.completed || ' of ' || f.total from fanfare.fanout as f
           where (f.total, f.completed) <> (select count(*), count(x.run_id) filter (where x.state = 'completed')
             from fanfare.run as r left join fanfare.result as x on x.run_id = r.id where r.fanout_id = f.id)`,
      )),
      ...(await list("select limit_key || ' ' || run_id || ' is occupied by nobody' from fanfare.slot")),
      ...(await list("select run_id || ' is leased by nobody' from fanfare.lease")),
    ],
  }
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  client.on("error", () => undefined)
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows
  } finally {
    await client.end()
  }
}

async function count(url: string, sql: string): Promise<number> {
  return Number((await query(url, sql))[0]?.["n"])
}
