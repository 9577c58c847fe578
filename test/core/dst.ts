import { cronMoments, type CronRule, type DstPolicy, type Moments } from "../../src/core/cron.ts"
import { seededRandom } from "../../src/testing/random.ts"

// What the policies mean, worked out the long way: every minute around a change of the clocks is looked at on the clock of the zone.

const minute = 60_000
const day = 86_400_000

interface Shape {
  readonly line: string
  readonly second: number
  /** By the fields of a local time, read as UTC. */
  readonly fits: (local: Date) => boolean
}

const shape = (line: string, fits: Shape["fits"], second = 0): Shape => ({ line, second, fits })
const clock = (at: Date): string => `${at.getUTCHours()}:${at.getUTCMinutes()}`

export const shapes: readonly Shape[] = [
  shape("* * * * *", () => true),
  shape("*/15 * * * *", (at) => at.getUTCMinutes() % 15 === 0),
  shape("*/20 0-3 * * *", (at) => at.getUTCMinutes() % 20 === 0 && at.getUTCHours() <= 3),
  shape("0 * * * *", (at) => at.getUTCMinutes() === 0),
  shape("30 * * * *", (at) => at.getUTCMinutes() === 30),
  shape("0 */2 * * *", (at) => at.getUTCMinutes() === 0 && at.getUTCHours() % 2 === 0),
  shape("@daily", (at) => clock(at) === "0:0"),
  shape("30 2 * * *", (at) => clock(at) === "2:30"),
  shape("5,45 1,2,3 * * *", (at) => [5, 45].includes(at.getUTCMinutes()) && [1, 2, 3].includes(at.getUTCHours())),
  shape("0 9 * * MON-FRI", (at) => clock(at) === "9:0" && at.getUTCDay() >= 1 && at.getUTCDay() <= 5),
  shape("15 2 * * SUN", (at) => clock(at) === "2:15" && at.getUTCDay() === 0),
  shape("0 0 1 * *", (at) => clock(at) === "0:0" && at.getUTCDate() === 1),
  shape("40 15 23 * * *", (at) => clock(at) === "23:15", 40),
  shape("5 30 2 25-31 3,10 *", (at) => clock(at) === "2:30" && at.getUTCDate() >= 25 && [2, 9].includes(at.getUTCMonth()), 5),
]

export const policies: readonly DstPolicy[] = (["shift", "skip"] as const).flatMap((gap) =>
  (["first", "second", "both"] as const).map((repeat) => ({ gap, repeat })),
)

export interface Change {
  readonly zone: string
  readonly at: number
}

type Local = (at: number) => number

const formats = new Map<string, Intl.DateTimeFormat>()

/** The clock of a zone, read from its parts. */
function localIn(zone: string): Local {
  const format =
    formats.get(zone) ??
    new Intl.DateTimeFormat("en-GB", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
    })
  formats.set(zone, format)
  return (at) => {
    const [date = "", time = ""] = format.format(at).split(", ")
    const [d = "", m = "", y = ""] = date.split("/")
    return Date.parse(`${y}-${m}-${d}T${time}Z`)
  }
}

/** Every change of the clocks from 2020 to 2040 in these zones; and the two days that an island has left out. */
export function changes(zones: readonly string[], from = Date.UTC(2020, 0, 1), to = Date.UTC(2041, 0, 1)): Change[] {
  const found: Change[] = []
  for (const zone of zones) {
    const local = localIn(zone)
    const offset = (at: number): number => local(at) - at
    let before = offset(from)
    for (let at = from + day; at <= to; at += day) {
      if (offset(at) === before) continue
      let low = at - day
      let high = at
      while (high - low > minute) {
        const middle = low + Math.floor((high - low) / 2 / minute) * minute
        if (offset(middle) === before) low = middle
        else high = middle
      }
      found.push({ zone, at: high })
      before = offset(at)
    }
  }
  return found
}

export function leftOutDays(): Change[] {
  return [
    ...changes(["Pacific/Apia", "Pacific/Fakaofo"], Date.UTC(2011, 11, 1), Date.UTC(2012, 0, 20)),
    ...changes(["Pacific/Kwajalein"], Date.UTC(1993, 7, 1), Date.UTC(1993, 8, 1)),
  ]
}

/** Where the moments around a change differ from what a look at every minute gives. */
export function differences({ zone, at }: Change): string[] {
  const local = localIn(zone)
  const shown = look(local, at - 2.5 * day, at + 2.5 * day)
  const [from, to] = [at - 0.75 * day, at + 1.25 * day]
  const found: string[] = []
  for (const each of shapes) {
    const fitting: Shown = {
      there: shown.there.filter((one) => each.fits(new Date(one.local))),
      skipped: shown.skipped.filter((one) => each.fits(new Date(one.local))),
    }
    for (const dst of policies) {
      const rule: CronRule = { cron: each.line, timezone: zone, dst }
      const expected = expectedMoments(fitting, dst, each.second * 1_000).filter((moment) => moment >= from && moment < to)
      const got = momentsBetween(cronMoments(rule, "test"), from, to)
      if (JSON.stringify(expected) === JSON.stringify(got)) continue
      const iso = (all: number[]): string => all.map((moment) => new Date(moment).toISOString()).join(" ")
      const missing = expected.filter((moment) => !got.includes(moment))
      const extra = got.filter((moment) => !expected.includes(moment))
      found.push(
        `${zone} ${new Date(at).toISOString()} "${each.line}" ${dst.gap}/${dst.repeat}: missing ${iso(missing)}, extra ${iso(extra)}`,
      )
    }
  }
  return found
}

function momentsBetween(moments: Moments, from: number, to: number): number[] {
  const found: number[] = []
  for (let at = moments.next(from - 1); at !== null && at < to; at = moments.next(at)) found.push(at)
  return found
}

interface Shown {
  /** Local times and when they were shown. */
  readonly there: readonly { readonly local: number; readonly instants: readonly number[] }[]
  /** Local times that were never shown, and when they would have been if the clocks had not been changed. */
  readonly skipped: readonly { readonly local: number; readonly instead: number }[]
}

function look(localAt: Local, from: number, to: number): Shown {
  const minutes: { at: number; local: number }[] = []
  for (let at = from; at < to; at += minute) minutes.push({ at, local: localAt(at) })
  const byLocal = Map.groupBy(minutes, ({ local }) => local)
  const skipped: { local: number; instead: number }[] = []
  for (const [i, { at, local }] of minutes.entries()) {
    const next = minutes[i + 1]?.local ?? local
    for (let each = local + minute; each < next; each += minute)
      if (!byLocal.has(each)) skipped.push({ local: each, instead: at + each - local })
  }
  return { there: Array.from(byLocal, ([local, all]) => ({ local, instants: all.map(({ at }) => at) })), skipped }
}

function expectedMoments({ there, skipped }: Shown, { gap, repeat }: DstPolicy, seconds: number): number[] {
  const fires = new Set(gap === "shift" ? skipped.map(({ instead }) => instead) : [])
  for (const { instants } of there) {
    const chosen = repeat === "both" ? instants : [repeat === "first" ? Math.min(...instants) : Math.max(...instants)]
    for (const at of chosen) fires.add(at)
  }
  return [...fires].map((at) => at + seconds).toSorted((a, b) => a - b)
}

/** So many of all changes, drawn by a seed. */
export function sample(all: readonly Change[], n: number, seed: number): Change[] {
  const random = seededRandom(seed, "dst")
  return Array.from({ length: n }, () => all[Math.floor(random.next() * all.length)]).filter((each) => each !== undefined)
}

export const allZones: readonly string[] = Intl.supportedValuesOf("timeZone")
