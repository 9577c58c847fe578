import { FanfareError } from "./errors.ts"

/** A stretch of time in which a zone's clocks differ from UTC by the same amount. Milliseconds; `to` does not belong to it. */
export interface Stretch {
  readonly from: number
  readonly to: number
  /** Local time minus UTC. */
  readonly offset: number
  /** What it was just before `from`, and is from `to` on. */
  readonly before: number
  readonly after: number
}

/** How the clocks of a zone go. */
export interface Zone {
  readonly name: string
  /** The stretch that `at` is in. A stretch ends with a year at the latest, so `before` and `after` may be the same as `offset`. */
  stretch(at: number): Stretch
}

const day = 86_400_000
/** Years whose stretches are kept: of others they are worked out each time. */
const yearFirst = 1970
const yearLast = 2200

/**
 * The clocks of an IANA zone, by the data of the platform. Changes of the offset are found once a year and kept.
 * @throws FanfareError `invalid_trigger` naming `field` when there is no such zone
 */
export function zoneNamed(name: string, field: string): Zone {
  const known = zones.get(name)
  if (known !== undefined) return known
  const zone = utcNames.has(name) ? fixed(name) : changing(name, formatOf(name, field))
  if (zones.size < zonesMax) zones.set(name, zone)
  return zone
}

const zones = new Map<string, Zone>()
/** All names of all zones are fewer; differences in upper and lower case must not fill the memory. */
const zonesMax = 2_000
const utcNames = new Set(["UTC", "Etc/UTC"])

function fixed(name: string): Zone {
  const always: Stretch = { from: Number.NEGATIVE_INFINITY, to: Number.POSITIVE_INFINITY, offset: 0, before: 0, after: 0 }
  return { name, stretch: () => always }
}

function formatOf(name: string, field: string): Intl.DateTimeFormat {
  try {
    const numbers = { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" } as const
    return new Intl.DateTimeFormat("en-US", { timeZone: name, hourCycle: "h23", ...numbers })
  } catch (cause) {
    throw new FanfareError("invalid_trigger", `${field}: there is no time zone "${String(name)}"`, {
      field,
      hint: 'Use an IANA name such as "Europe/Paris" or "UTC".',
      cause,
    })
  }
}

function changing(name: string, format: Intl.DateTimeFormat): Zone {
  const years = new Map<number, readonly Stretch[]>()
  const offsetAt = (at: number): number => localOf(format, at) - Math.floor(at / 1_000) * 1_000
  const stretchesOf = (year: number): readonly Stretch[] => {
    const known = years.get(year)
    if (known !== undefined) return known
    const found = findStretches(offsetAt, Date.UTC(year, 0, 1), Date.UTC(year + 1, 0, 1))
    if (year >= yearFirst && year <= yearLast) years.set(year, found)
    return found
  }
  return {
    name,
    stretch(at) {
      const stretches = stretchesOf(new Date(at).getUTCFullYear())
      const found = stretches.find(({ to }) => at < to) ?? stretches.at(-1)
      if (found === undefined) throw new FanfareError("internal", `the zone ${name} has no clocks at ${at}`)
      return found
    },
  }
}

/** Days with different offsets at their ends have a change in between. */
function findStretches(offsetAt: (at: number) => number, from: number, to: number): Stretch[] {
  const changes: { at: number; offset: number }[] = [{ at: from, offset: offsetAt(from) }]
  let offset = offsetAt(from)
  for (let start = from; start < to; start += day) {
    const end = Math.min(start + day, to - 1)
    if (offsetAt(end) === offset) continue
    let before = start
    let after = end
    while (after - before > 1) {
      const middle = Math.floor((before + after) / 2)
      if (offsetAt(middle) === offset) before = middle
      else after = middle
    }
    offset = offsetAt(after)
    changes.push({ at: after, offset })
  }
  return changes.map((change, i) => ({
    from: change.at,
    to: changes[i + 1]?.at ?? to,
    offset: change.offset,
    before: changes[i - 1]?.offset ?? offsetAt(from - 1),
    after: changes[i + 1]?.offset ?? offsetAt(to),
  }))
}

const shape = /^(\d+)\/(\d+)\/(\d+), (\d+):(\d+):(\d+)$/

/** What a clock on the wall shows, as if it showed UTC. */
function localOf(format: Intl.DateTimeFormat, at: number): number {
  const [, month, date, year, hour, minute, second] = shape.exec(format.format(at)) ?? []
  return Date.UTC(Number(year), Number(month) - 1, Number(date), Number(hour), Number(minute), Number(second))
}
