import { fireAt, momentsOf, type Schedule } from "./schedule.ts"

/** What schedules will start in the next 24 h. */
export interface ScheduleLoad {
  readonly from: number
  readonly stepMs: number
  /** Whether each number is exact; with very many schedules they are estimates from a sample. */
  readonly exact: boolean
  /** A quarter of an hour each. */
  readonly buckets: readonly LoadBucket[]
  /** The soonest moments: the next one of each schedule. */
  readonly next: readonly NextMoment[]
}

export interface LoadBucket {
  readonly at: number
  readonly ticks: number
  /** Some of the schedules that have them. */
  readonly schedules: readonly string[]
}

export interface NextMoment {
  readonly scheduleId: string
  readonly at: number
  /** Of the rule; null when it has none. */
  readonly timezone: string | null
}

export const loadSteps = 96
export const loadStepMs = 15 * 60_000

/** Where the quarter of an hour begins that is under way. */
export function loadBegin(now: number): number {
  return Math.floor(now / loadStepMs) * loadStepMs
}

/** A schedule with a moment in these 24 h; it stands for `weight` of its like. */
export interface Due extends Pick<Schedule, "id" | "rule" | "policies"> {
  readonly weight: number
}

/** Moments that are worked out of one rule, and of all: some 10 µs each, so this bounds what a look costs. */
const perRule = 1_500
const inAll = 20_000
const namesKept = 3

interface Alike {
  readonly some: Due[]
  weight: number
}

/**
 * The moments of schedules over 24 h. Schedules of one rule are worked out once. Of a rule that has more moments than are worked out, the
 * rest is taken to go on as before.
 */
export function loadOf(due: readonly Due[], now: number, exact: boolean): Omit<ScheduleLoad, "next"> {
  const from = loadBegin(now)
  const buckets = Array.from({ length: loadSteps }, (_, i) => ({ at: from + i * loadStepMs, ticks: 0, names: new Set<string>() }))
  const put = (at: number, ticks: number, ids: readonly string[]): void => {
    const bucket = buckets[Math.floor((at - from) / loadStepMs)]
    if (bucket === undefined || at < now) return
    bucket.ticks += ticks
    for (const id of ids) if (bucket.names.size < namesKept) bucket.names.add(id)
  }
  let left = inAll
  let whole = exact
  for (const alike of grouped(due)) {
    const { times, all } = momentsFrom(alike, now, Math.max(1, Math.min(perRule, left)))
    const spread = spreadOf(alike, Math.max(1, Math.floor(left / Math.max(1, times.length))))
    left -= times.length * spread.length
    whole &&= all && (spread.length === 1 || spread.length === alike.some.length)
    for (const at of times) for (const { ids, weight, shift } of spread) put(shift(at), weight, ids)
    if (!all) goOn(times, from, (at, ticks) => put(at, ticks * alike.weight, []))
  }
  const rounded = buckets.map(({ at, ticks, names }) => ({ at, ticks: Math.round(ticks), schedules: [...names] }))
  return { from, stepMs: loadStepMs, exact: whole, buckets: rounded }
}

/** Those of the same rule, the most first. */
function grouped(due: readonly Due[]): readonly Alike[] {
  const groups = new Map<string, Alike>()
  for (const each of due) {
    const { startAt, endAt, jitterMs } = each.policies
    const key = JSON.stringify([each.rule, startAt, endAt, jitterMs])
    const known = groups.get(key) ?? { some: [], weight: 0 }
    known.some.push(each)
    known.weight += each.weight
    groups.set(key, known)
  }
  return [...groups.values()].toSorted((a, b) => b.weight - a.weight)
}

/** The first moments from now on, at most `most`; `all`: there are no others in these 24 h. */
function momentsFrom({ some: [first] }: Alike, now: number, most: number): { readonly times: readonly number[]; readonly all: boolean } {
  const times: number[] = []
  if (first === undefined) return { times, all: true }
  const { rule, policies } = first
  const moments = momentsOf(rule, policies)
  const to = loadBegin(now) + loadSteps * loadStepMs
  // One that was before may still come, by its jitter.
  for (let at = moments.next(now - 1 - policies.jitterMs); at !== null && at < to; at = moments.next(at)) {
    if (times.length === most) return { times, all: false }
    times.push(at)
  }
  return { times, all: true }
}

interface Part {
  readonly ids: readonly string[]
  readonly weight: number
  readonly shift: (at: number) => number
}

/** Without jitter all fire at the same moment; with it each has a moment of its own, of which at most `most` are looked at. */
function spreadOf({ some, weight }: Alike, most: number): readonly Part[] {
  const jitterMs = some[0]?.policies.jitterMs ?? 0
  if (jitterMs === 0) return [{ ids: some.slice(0, namesKept).map(({ id }) => id), weight, shift: (at) => at }]
  const looked = some.slice(0, most)
  const share = weight / looked.reduce((sum, each) => sum + each.weight, 0)
  return looked.map(({ id, weight: own }) => ({ ids: [id], weight: own * share, shift: (at) => fireAt(id, at, jitterMs) }))
}

/** Spreads more moments at the pace of those that are known over the rest of the 24 h. */
function goOn(times: readonly number[], from: number, put: (at: number, ticks: number) => void): void {
  const [first, last] = [times[0], times.at(-1)]
  if (first === undefined || last === undefined || last === first) return
  const gap = (last - first) / (times.length - 1)
  for (let i = 0; i < loadSteps; i++) {
    const begin = Math.max(last + gap, from + i * loadStepMs)
    const end = from + (i + 1) * loadStepMs
    if (end > begin) put(begin, (end - begin) / gap)
  }
}
