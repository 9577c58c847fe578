import type { ChangeOf, FanoutPart, Unit } from "../core/change.ts"
import { type Column, Conflict, type Db, together } from "./db.ts"
import { type Counted, counted } from "./fanout-row.ts"

type Grow = ChangeOf<"fanout.grow">

function partsOf(units: readonly Unit[]): { i: number; part: Grow }[] {
  return units.flatMap(({ changes }, i) => changes.flatMap((part) => (part.kind === "fanout.grow" ? [{ i, part }] : [])))
}

/**
 * The units, by number, that cannot be added to their fan-out: it is sealed, or does not end where the part begins, or its sender's name is
 * taken; or was given a gate since the sender began, which the part does not know. Fan-outs of one part, the usual ones, are not asked about.
 */
export async function closedFanouts(db: Db, units: readonly Unit[]): Promise<ReadonlyMap<number, "closed" | "paused">> {
  const parts = partsOf(units)
  const later = parts.filter(({ part }) => part.from > 0)
  const named = parts.filter(({ part }) => part.from === 0 && part.key !== null)
  const [open, known] = await together([
    later.length === 0
      ? Promise.resolve([])
      : db.query<{ id: string; taken: number; rules: string | null }>(
          `select id, taken, rules from fanout where sealed_at is null and id in (select id from ${db.dialect.rows("$1", [["id", "text"]])} as j)`,
          [JSON.stringify(later.map(({ part }) => [part.id]))],
        ),
    named.length === 0
      ? Promise.resolve([])
      : db.query<{ key: string }>(
          `select key from fanout where key in (select key from ${db.dialect.rows("$1", [["key", "text"]])} as j)`,
          [JSON.stringify(named.map(({ part }) => [part.key]))],
        ),
  ])
  const ends = new Map(open.map((row) => [row.id, row]))
  const taken = new Set<string | null>(known.map(({ key }) => key))
  const closed = new Map<number, "closed" | "paused">()
  for (const { i, part } of later) {
    const end = ends.get(part.id)
    if (end?.taken !== part.from) closed.set(i, "closed")
    else if (end.rules !== null && part.rules === null) closed.set(i, "paused")
    else ends.delete(part.id)
  }
  for (const { i, part } of named) {
    if (taken.has(part.key)) closed.set(i, "closed")
    taken.add(part.key)
  }
  return closed
}

const columns: readonly Column[] = [
  ["id", "text"],
  ["key", "text"],
  ["run_id", "text"],
  ["name", "text"],
  ["begins", "bigint"],
  ["taken", "bigint"],
  ["cursor", "text"],
  ["events", "bigint"],
  ["total", "bigint"],
  ["grown_at", "bigint"],
  ["sealed_at", "bigint"],
  ["rules", "text"],
  ["gate", "text"],
]

function valuesOf(part: FanoutPart): readonly (string | number | null)[] {
  const { id, key, runId, name, from, taken, cursor, events, runs, at, sealed, rules } = part
  const gate = rules === null ? null : rules.canary > 0 ? "canary" : "open"
  return [id, key, runId, name, from, taken, cursor, events, runs, at, sealed ? at : null, rules && JSON.stringify(rules), gate]
}

/** In the order of the ids, so that two nodes never wait for each other. */
function rowsOf(parts: readonly Grow[]): string {
  return JSON.stringify(parts.toSorted((a, b) => (a.id < b.id ? -1 : 1)).map(valuesOf))
}

export async function growFanouts(db: Db, grown: readonly Grow[]): Promise<Counted[]> {
  const first = grown.filter(({ from }) => from === 0)
  const later = grown.filter(({ from }) => from > 0)
  const [made, added] = await together([
    first.length === 0
      ? Promise.resolve([])
      : db.query<Counted>(
          `insert into fanout (id, key, run_id, name, events, taken, cursor, total, completed, failed, cancelled, created_at, grown_at, sealed_at,
             ended_before, rules, gate, base_ended, base_failed, joins)
           select id, key, run_id, name, events, taken, cursor, total, 0, 0, 0, grown_at, grown_at, sealed_at, 0, rules, gate, 0, 0, 0
             from ${db.dialect.rows("$1", columns)} as j where true returning ${counted}`,
          [rowsOf(first)],
        ),
    later.length === 0
      ? Promise.resolve([])
      : db.query<Counted>(
          `update fanout set events = fanout.events + j.events, taken = j.taken, cursor = j.cursor, total = fanout.total + j.total,
             grown_at = j.grown_at, sealed_at = j.sealed_at
           from ${db.dialect.rows("$1", columns)} as j
             where fanout.id = j.id and fanout.taken = j.begins and fanout.sealed_at is null returning ${counted}`,
          [rowsOf(later)],
        ),
  ])
  if (added.length < later.length) throw new Conflict("a fan-out was sealed, or grew, while a part was added to it")
  return [...made, ...added]
}
