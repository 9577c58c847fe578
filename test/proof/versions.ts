import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { parseArgs } from "node:util"
import { randomUUID } from "node:crypto"
import { Fanfare } from "../../src/index.ts"
import { systemClock } from "../../src/engine/system.ts"
import { createServer } from "../../src/server.ts"
import { connect, parsePlace } from "../../src/store/place.ts"
import { startPostgres, type TestServer } from "../store/postgres.ts"

// node test/proof/versions.ts [--seconds 20] [--json]
// Two versions on one store. Of Fanfare: an empty store gets the schema, a newer one is refused with nothing written. Of the user's program:
// nodes with different functions take turns on one PostgreSQL, as in a deploy, while events come in.
const { values } = parseArgs({ options: { seconds: { type: "string", default: "20" }, json: { type: "boolean", default: false } } })
const folder = mkdtempSync(join(tmpdir(), "fanfare-versions-"))
const server = await startPostgres()
const ports = { ...systemClock, newId: randomUUID }
try {
  const stores = { sqlite: join(folder, "versions.db"), postgres: await server.database() }
  const schema: Record<string, string> = {}
  for (const [kind, place] of Object.entries(stores)) schema[kind] = (await schemas(place)) ?? "ok"
  const deploy = await deploys(server, Number(values.seconds))
  const figures = { schema, deploy }
  console.log(values.json ? JSON.stringify(figures) : figures)
  const fine = Object.values(schema).every((what) => what === "ok") && deploy.lost + deploy.doubled + deploy.unfinished === 0
  process.exitCode = fine ? 0 : 1
} finally {
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
}
process.exit()

/** What is wrong with how a store of another schema is met; null: nothing. */
async function schemas(place: string): Promise<string | null> {
  if ((await start(place)) !== null) return "an empty store was refused"
  const store = await connect(parsePlace(place), ports, true)
  const read = (): Promise<unknown> => store.db.query("select version, applied_at from migration order by version")
  const first = (await read()) as { version: number }[]
  if (first.length === 0) return "an empty store did not get the schema"
  const next = (first.at(-1)?.version ?? 0) + 1
  await store.db.execute("insert into migration (version, checksum, applied_at) values ($1, 'of another program', 1)", [next])
  const before = JSON.stringify(await read())
  await store.close()
  const refusal = await start(place)
  if (refusal === null || !refusal.includes("newer than this program")) return `a newer store was not refused: ${refusal}`
  const again = await connect(parsePlace(place), ports, true)
  const after = JSON.stringify(await again.db.query("select version, applied_at from migration order by version"))
  await again.close()
  return before === after ? null : "a newer store was changed"
}

async function start(place: string): Promise<string | null> {
  const node = await createServer({ client: new Fanfare({ id: "versions" }), db: place, logs: "none" })
  const refusal = await node.start().then(
    () => null,
    (error: unknown) => String(error),
  )
  await node.stop()
  return refusal
}

interface Deploys {
  readonly deploys: number
  readonly acknowledged: number
  readonly lost: number
  readonly doubled: number
  readonly unfinished: number
}

async function deploys(postgres: TestServer, seconds: number): Promise<Deploys> {
  const place = await postgres.database()
  const acked = new Set<string>()
  const nodes = [await boot(place, "1", acked), await boot(place, "1", acked)]
  const sent: string[] = []
  const send = (): void => {
    const ids = Array.from({ length: 5 }, () => `event ${sent.length + Math.random()}`)
    sent.push(...ids)
    nodes[sent.length % 2]?.send({ kind: "send", ids })
  }
  let done = 0
  const until = Date.now() + seconds * 1_000
  while (Date.now() < until) {
    // From the first version to the second, back, and so on: one node after the other, as a deploy does.
    const version = done % 4 < 2 ? "2" : "1"
    const turn = done % 2
    for (let i = 0; i < 10; i++) {
      send()
      await delay(50)
    }
    const old = nodes[turn]
    nodes[turn] = await boot(place, version, acked)
    old?.send({ kind: "stop" })
    done++
  }
  for (const i of [0, 1]) nodes[i] = await boot(place, "2", acked)
  // A client that heard no answer sends again, with the same ids.
  for (let i = 0; i < 20 && sent.some((id) => !acked.has(id)); i++) {
    nodes[i % 2]?.send({ kind: "send", ids: sent.filter((id) => !acked.has(id)) })
    await delay(500)
  }
  const store = await connect(parsePlace(place), ports, true)
  const n = async (sql: string): Promise<number> => Number((await store.db.query<{ n: number }>(sql))[0]?.n)
  const open =
    "select count(*) as n from run as r where not exists (select 1 from result as x where x.run_id = r.id and x.state = 'completed')"
  for (let i = 0; i < 60 && (await n(open)) > 0; i++) await delay(500)
  const works = await store.db.query<{ key: string; n: number }>(
    "select e.key, count(r.id) as n from event as e left join run as r on r.event_id = e.id and r.function_id = 'versions-work' group by e.key",
  )
  const runs = new Map(works.map(({ key, n: count }) => [key, count]))
  const unfinished = await n(open)
  await store.close()
  for (const node of nodes) node.kill("SIGKILL")
  return {
    deploys: done,
    acknowledged: acked.size,
    lost: [...acked].filter((id) => (runs.get(id) ?? 0) === 0).length,
    doubled: works.filter(({ n: count }) => count > 1).length,
    unfinished,
  }
}

async function boot(place: string, version: string, acked: Set<string>): Promise<ChildProcess> {
  const node = fork(new URL("./versions-node.ts", import.meta.url), [place, version], {
    execArgv: ["--disable-warning=ExperimentalWarning"],
  })
  node.on("message", (message: { kind: string; ids?: string[] }) => {
    for (const id of message.ids ?? []) acked.add(id)
  })
  await once(node, "message")
  return node
}
