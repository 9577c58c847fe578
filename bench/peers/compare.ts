import { join as pathOf } from "node:path"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { cpus, loadavg, tmpdir, totalmem } from "node:os"
import { measure, recover } from "./measuring.ts"
import { type Peer, peers } from "./peer.ts"
import { openPlaces, type Places } from "./places.ts"
import type { Plan } from "./plan.ts"

export interface Figures {
  readonly form: string
  readonly plan: Plan
  readonly machine: Readonly<Record<string, unknown>>
  readonly versions: Readonly<Record<string, string>>
  readonly systems: Readonly<Record<string, Omit<Peer, "open"> & { version: string }>>
  readonly rows: Readonly<Record<string, Row>>
}

/** One workload: for each system its rounds, or why there are none. */
export interface Row {
  readonly measuredAt: string
  /** Processes that wanted to run, as means of one minute, before it and after it. */
  readonly load: readonly [before: number, after: number]
  readonly unit: string
  readonly better: "more" | "less"
  readonly systems: Readonly<Record<string, Cell>>
}

export interface Cell {
  /** The median over the rounds; null: `note` says why there is none. */
  readonly median: number | null
  /** How far ahead Fanfare is on the same class of store, more than 1: ahead. The median of the ratios of each round. */
  readonly ratio: number | null
  readonly note: string | null
  readonly rounds: readonly unknown[]
}

interface Sample {
  readonly value: number | null
  readonly note: string | null
  readonly raw: unknown
}

type Probe = (name: string, peer: Peer, places: Places) => Promise<Sample>

export interface Wanted {
  readonly plan: Plan
  readonly form: string
  /** Parts of the names of systems, and of the titles of rows; empty: all. */
  readonly only: readonly string[]
  readonly row: readonly string[]
  readonly say: (line: string) => void
}

export async function compare({ plan, form, only, row, say }: Wanted): Promise<Figures> {
  const places = await openPlaces()
  const chosen: [string, Peer][] = []
  for (const [name, load] of Object.entries(peers)) {
    if (only.length === 0 || name.startsWith("fanfare") || only.some((part) => name.includes(part))) chosen.push([name, await load()])
  }
  const rows: Record<string, Row> = {}
  const scratch = mkdtempSync(pathOf(tmpdir(), "fanfare-ledgers-"))
  try {
    for (const [title, { unit, better, rounds, probe }] of Object.entries(workloads(plan, scratch, rows))) {
      if (row.length > 0 && !row.some((part) => title.includes(part))) continue
      const before = load()
      const systems = await interleaved(title, chosen, places, better, rounds, probe, say)
      rows[title] = { measuredAt: new Date().toISOString(), load: [before, load()], unit, better, systems }
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
    await places.close()
  }
  return {
    form,
    plan,
    machine: {
      cores: cpus().length,
      processor: cpus()[0]?.model ?? "",
      memoryGb: Math.round(totalmem() / 1e9),
    },
    versions: places.versions,
    systems: Object.fromEntries(chosen.map(([name, peer]) => [name, { ...peer, version: versionOf(peer.package) }])),
    rows,
  }
}

interface Workload {
  readonly unit: string
  readonly better: "more" | "less"
  readonly rounds: number
  readonly probe: Probe
}

function workloads(plan: Plan, scratch: string, rows: Readonly<Record<string, Row>>): Record<string, Workload> {
  const { fanout, large, step, join, latency, fairness, recovery, history } = plan
  const rate =
    (workload: "fanout" | "step", size: { jobs: number; capMs: number }): Probe =>
    async (name, peer, places) => {
      const found = await measure(name, await places.next(peer.store, name), { workload, ...size })
      const note = found.error ?? (found.cut === true ? `${count(found.ended ?? 0)} ended within ${size.capMs / 1_000} s` : null)
      return { value: found.perSecond ?? null, note, raw: found }
    }
  const all: Record<string, Workload | null> = {
    [`fan-out of ${count(fanout.jobs)}`]: { unit: "runs/s", better: "more", rounds: plan.rounds, probe: rate("fanout", fanout) },
    [`fan-out of ${count(large?.jobs ?? 0)}`]: large && {
      unit: "runs/s",
      better: "more",
      rounds: plan.rounds,
      async probe(name, peer, places) {
        const before = rows[`fan-out of ${count(fanout.jobs)}`]?.systems[name]?.median ?? 0
        if (before * (large.capMs / 1_000) < large.jobs)
          return missing(`not run: at ${count(before)} runs/s not within ${large.capMs / 1_000} s`)
        return rate("fanout", large)(name, peer, places)
      },
    },
    [`the same with one durable step, ${count(step.jobs)}`]: {
      unit: "runs/s",
      better: "more",
      rounds: plan.rounds,
      probe: async (name, peer, places) => (peer.step === null ? missing("has no steps") : rate("step", step)(name, peer, places)),
    },
    [`join of ${count(join.jobs)}`]: {
      unit: "children/s",
      better: "more",
      rounds: plan.rounds,
      async probe(name, peer, places) {
        if (peer.join === null) return missing("has no join")
        const jobs = Math.min(join.jobs, peer.join.most)
        const found = await measure(name, await places.next(peer.store, name), { workload: "join", jobs, capMs: join.capMs })
        const fewer = jobs < join.jobs ? `${count(jobs)} children, its most` : null
        return {
          value: found.perSecond ?? null,
          note: found.error ?? (found.cut === true ? `not joined within ${join.capMs / 1_000} s` : fewer),
          raw: found,
        }
      },
    },
    "start of a single run when idle, p50": {
      unit: "ms",
      better: "less",
      rounds: plan.rounds,
      async probe(name, peer, places) {
        const found = await measure(name, await places.next(peer.store, name), { workload: "latency", ...latency })
        return { value: found.p50Ms ?? null, note: found.error ?? `p99 ${found.p99Ms} ms`, raw: found }
      },
    },
    [`start of another tenant's run behind a flood of ${count(fairness.jobs)}, p95`]: {
      unit: "ms",
      better: "less",
      rounds: plan.rounds,
      async probe(name, peer, places) {
        const found = await measure(name, await places.next(peer.store, name), { workload: "fairness", ...fairness })
        const late = found.cut === true ? `the cap of ${fairness.capMs / 1_000} s ended it` : null
        return { value: found.p95Ms ?? null, note: found.error ?? late ?? (peer.fair === null ? "no mechanism" : null), raw: found }
      },
    },
    [`SIGKILL among ${count(recovery.jobs)} runs of 20 ms: until all had ended`]: {
      unit: "ms",
      better: "less",
      rounds: plan.rounds,
      async probe(name, peer, places) {
        const ledger = pathOf(scratch, `${Math.random()}`)
        const found = await recover(name, await places.next(peer.store, name), ledger, recovery.jobs, recovery.capMs)
        const never = found.missing === 0 ? "" : `${found.missing} not within ${recovery.capMs / 1_000} s; `
        const first = found.firstMs === null ? "none began" : `first after ${count(found.firstMs)} ms`
        return { value: found.allMs, note: found.error ?? `${never}${first}; ${found.endedTwice} ended twice`, raw: found }
      },
    },
    [`a fan-out of ${count(history.probe)} with a history of ${count(history.jobs)}, per one without`]: {
      unit: "times as long",
      better: "less",
      rounds: 1,
      probe: historyProbe(history, plan.rounds),
    },
  }
  return Object.fromEntries(Object.entries(all).filter((entry): entry is [string, Workload] => entry[1] !== null))
}

/** Fills a store, then measures on it and on an empty one in turn. Until all handlers have begun: no question to a large table is in it. */
function historyProbe(history: Plan["history"], rounds: number): Probe {
  return async (name, peer, places) => {
    if (peer.keeps.startsWith("nothing")) return missing("keeps no history")
    const full = await places.next(peer.store, name)
    const until = performance.now() + history.capMs
    let filled = 0
    // Portions that end in time by the rate so far: what is cut off would stand in the way of what is measured.
    for (let portion = 1_000; filled < history.jobs && performance.now() < until; ) {
      const jobs = Math.min(portion, history.jobs - filled)
      const found = await measure(name, full, { workload: "fanout", jobs, capMs: history.capMs + 60_000 })
      if (found.error !== undefined || found.cut === true)
        return { value: null, note: found.error ?? "its history was not made in time", raw: found }
      filled += jobs
      portion = Math.max(100, Math.min(50_000, Math.floor((found.perSecond ?? 0) * Math.min(30, (until - performance.now()) / 1_000))))
    }
    const ratios: number[] = []
    for (let i = 0; i < rounds; i++) {
      const size = { workload: "fanout", jobs: history.probe, capMs: Math.max(60_000, history.capMs) } as const
      const [empty, laden] = [await measure(name, await places.next(peer.store, name), size), await measure(name, full, size)]
      if (typeof empty.begunMs === "number" && typeof laden.begunMs === "number") ratios.push(laden.begunMs / empty.begunMs)
    }
    const note = filled < history.jobs ? `${count(filled)} runs of history: as many as there were in ${history.capMs / 1_000} s` : null
    return { value: ratios.length === 0 ? null : round(middle(ratios)), note, raw: { filled, ratios: ratios.map(round) } }
  }
}

/** Each round takes all systems in turn, each time beginning with another one: they meet the same weather. */
async function interleaved(
  title: string,
  chosen: readonly [string, Peer][],
  places: Places,
  better: "more" | "less",
  rounds: number,
  probe: Probe,
  say: (line: string) => void,
): Promise<Record<string, Cell>> {
  const samples = new Map<string, Sample[]>(chosen.map(([name]) => [name, []]))
  for (let i = 0; i < rounds; i++) {
    for (let k = 0; k < chosen.length; k++) {
      const [name, peer] = chosen[(k + i) % chosen.length] as [string, Peer]
      const sample = await probe(name, peer, places).catch((error: unknown) => missing(`failed: ${String(error).slice(0, 200)}`))
      samples.get(name)?.push(sample)
      say(`${title} · ${name}: ${sample.value ?? "-"}${sample.note === null ? "" : ` (${sample.note})`}`)
    }
  }
  return Object.fromEntries(
    chosen.map(([name, peer]) => {
      const own = samples.get(name) ?? []
      const ours = samples.get(peer.store === "sqlite" ? "fanfare (SQLite)" : "fanfare (PostgreSQL)") ?? []
      const ratios = own.flatMap(({ value }, i) => {
        const us = ours[i]?.value
        if (value === null || us === null || us === undefined || name.startsWith("fanfare")) return []
        return [better === "more" ? us / Math.max(value, 0.1) : value / Math.max(us, 0.1)]
      })
      const values = own.flatMap(({ value }) => (value === null ? [] : [value]))
      return [
        name,
        {
          median: values.length === 0 ? null : middle(values),
          ratio: ratios.length === 0 ? null : round(middle(ratios)),
          note: own.findLast(({ note }) => note !== null)?.note ?? null,
          rounds: own.map(({ raw }) => raw),
        },
      ]
    }),
  )
}

/** What was measured now in place of the same of an earlier run: rows, and systems in them. Ratios are those of the rounds that they were measured in. */
export function beside(now: Figures, before: Figures): Figures {
  const rows = Object.entries(now.rows).map(([title, row]): [string, Row] => [
    title,
    { ...row, systems: { ...before.rows[title]?.systems, ...row.systems } },
  ])
  return { ...now, systems: { ...before.systems, ...now.systems }, rows: { ...before.rows, ...Object.fromEntries(rows) } }
}

function load(): number {
  return round(loadavg()[0] ?? 0)
}

function missing(note: string): Sample {
  return { value: null, note, raw: { note } }
}

function versionOf(name: string): string {
  const file = name === "fanfare" ? "../../package.json" : `node_modules/${name}/package.json`
  return (JSON.parse(readFileSync(new URL(file, import.meta.url), "utf8")) as { version: string }).version
}

function middle(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
}

function round(n: number): number {
  return Math.round(n * 100) / 100
}

function count(n: number): string {
  return Math.round(n).toLocaleString("en-US")
}
