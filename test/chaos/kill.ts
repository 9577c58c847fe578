import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { DatabaseSync } from "node:sqlite"
import { setTimeout as delay } from "node:timers/promises"
import { seededRandom } from "../../src/testing/random.ts"

export interface KillReport {
  readonly kills: number
  readonly acknowledged: number
  readonly lost: readonly string[]
  /** Event ids with more than one run, and children of the fan-out beyond the 10,000. */
  readonly duplicates: readonly string[]
  /** Runs that did not complete. */
  readonly unfinished: readonly string[]
  readonly integrity: string
  /** From SIGKILL to the engine's start on the same file, in milliseconds; of it how long the process took to load, and the engine to open. */
  readonly restartMs: readonly number[]
  readonly loadMs: readonly number[]
  readonly openMs: readonly number[]
}

/** Kills real engines with SIGKILL, at random moments of a fan-out of 10,000 and of many small sends, and looks at what is left. */
export async function killLoop(
  file: string,
  kills: number,
  seed: number,
  progress: (line: string) => void = () => undefined,
): Promise<KillReport> {
  const random = seededRandom(seed, "kills")
  const acked = new Set<string>()
  const restartMs: number[] = []
  const loadMs: number[] = []
  const openMs: number[] = []
  let sent = 0
  let { node } = await start(file, acked)
  node.send({ kind: "send", ids: ["begin"] })
  for (let kill = 1; kill <= kills; kill++) {
    for (let i = 0; i < 3; i++)
      node.send({ kind: "send", ids: Array.from({ length: 1 + Math.floor(random.next() * 5) }, () => `extra ${sent++}`) })
    // On a busy machine a process takes longer to get anywhere, as it does to start.
    await delay(random.next() * Math.max(250, restartMs.at(-1) ?? 0))
    node.kill("SIGKILL")
    await once(node, "exit")
    const killed = performance.now()
    const again = await start(file, acked)
    restartMs.push(performance.now() - killed)
    loadMs.push(again.loadMs)
    openMs.push(again.openMs)
    node = again.node
    // A client that heard no answer sends again, with the same id.
    if (!acked.has("begin")) node.send({ kind: "send", ids: ["begin"] })
    if (kill % 10 === 0) progress(`${kill} kills, ${acked.size} sends acknowledged`)
  }
  await finished(file)
  node.send({ kind: "stop" })
  await once(node, "exit")
  return { kills, acknowledged: acked.size, restartMs, loadMs, openMs, ...inspect(file, acked) }
}

async function start(file: string, acked: Set<string>): Promise<{ node: ChildProcess; loadMs: number; openMs: number }> {
  const node = fork(new URL("./node.ts", import.meta.url), [file], { execArgv: ["--disable-warning=ExperimentalWarning"] })
  const times = await new Promise<{ loadMs: number; openMs: number }>((resolve, reject) => {
    node.on("exit", (code) => code !== null && reject(new Error(`the engine did not start: exit code ${code}`)))
    node.on("message", (message: { kind: "started"; loadMs: number; openMs: number } | { kind: "acked"; ids: string[] }) => {
      if (message.kind === "started") resolve(message)
      else for (const id of message.ids) acked.add(id)
    })
  })
  return { node, loadMs: times.loadMs, openMs: times.openMs }
}

/** Waits until every run has ended, as long as runs go on ending. */
async function finished(file: string): Promise<void> {
  const database = new DatabaseSync(file, { readOnly: true })
  const open = database.prepare("select count(*) as n from run where id not in (select run_id from result)")
  let left = Number.POSITIVE_INFINITY
  for (let still = 0; left > 0 && still < 300; still++) {
    const now = Number(open.get()?.["n"])
    if (now < left) still = 0
    left = now
    await delay(200)
  }
  database.close()
}

function inspect(file: string, acked: ReadonlySet<string>): Pick<KillReport, "lost" | "duplicates" | "unfinished" | "integrity"> {
  const database = new DatabaseSync(file, { readOnly: true })
  const list = (sql: string): string[] =>
    database
      .prepare(sql)
      .all()
      .map((row) => String(Object.values(row)[0]))
  const withRun = new Set(
    list("select e.key from event as e where e.key is not null and exists (select 1 from run as r where r.event_id = e.id)"),
  )
  const children = list("select count(*) from run where function_id = 'chaos-child'")[0]
  const report = {
    lost: [...acked].filter((id) => !withRun.has(id)).concat(Number(children) < 10_000 ? [`only ${children} children`] : []),
    duplicates: [
      ...list("select e.key from event as e where e.key is not null group by e.key having count(*) > 1"),
      ...list("select event_id from run group by event_id having count(*) > 1"),
      ...(Number(children) > 10_000 ? [`${children} children`] : []),
    ],
    unfinished: list(
      "select r.id || ' ' || r.function_id || ' ' || coalesce(x.state, 'open') || ' ' || coalesce(x.failure, '') from run as r left join result as x on x.run_id = r.id where x.state is null or x.state <> 'completed'",
    ),
    integrity: list("pragma integrity_check").join(),
  }
  database.close()
  return report
}
