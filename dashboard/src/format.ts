const second = 1_000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

/** A length of time for people: `480 ms`, `3.4 s`, `2 min 5 s`, `1 h 20 min`, `3 d 4 h`. */
export function span(ms: number): string {
  if (ms < second) return `${Math.max(0, Math.round(ms))} ms`
  if (ms < minute) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`
  if (ms < hour) return two(ms, minute, "min", second, "s")
  if (ms < day) return two(ms, hour, "h", minute, "min")
  return two(ms, day, "d", hour, "h")
}

function two(ms: number, large: number, largeName: string, small: number, smallName: string): string {
  const rest = Math.floor((ms % large) / small)
  return `${Math.floor(ms / large)} ${largeName}${rest === 0 ? "" : ` ${rest} ${smallName}`}`
}

/** A length of time in one unit. */
export function roughly(ms: number): string {
  if (ms < minute) return `${Math.floor(ms / second)} s`
  if (ms < hour) return `${Math.floor(ms / minute)} min`
  if (ms < day) return `${Math.floor(ms / hour)} h`
  return `${Math.floor(ms / day)} d`
}

/** How far a moment is from now: `12 s ago`, `in 43 min`. */
export function relative(at: number, now: number): string {
  const away = at - now
  if (away > -second && away < second) return "now"
  return away < 0 ? `${roughly(-away)} ago` : `in ${roughly(away)}`
}

const [twoDigits, shortDay] = [
  { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  { month: "short", day: "numeric" },
] as const
const toSecond = { ...twoDigits, second: "2-digit" } as const
const shapes = {
  whole: { year: "numeric", ...shortDay, ...toSecond, fractionalSecondDigits: 3, timeZoneName: "short" },
  moment: { weekday: "short", year: "numeric", ...shortDay, ...toSecond },
  clock: toSecond,
  minute: twoDigits,
  day: { ...shortDay, ...twoDigits },
  date: { year: "numeric", ...shortDay },
} as const satisfies Readonly<Record<string, Intl.DateTimeFormatOptions>>

/** Of times that are given no zone; undefined: the zone of this browser. */
let usualZone: string | undefined
const formats = new Map<string, Intl.DateTimeFormat>()

/** From now on times are shown in this zone, unless they are given one; undefined: in that of this browser. */
export function showTimesIn(zone: string | undefined): void {
  usualZone = zone
}

function format(shape: keyof typeof shapes, at: number, zone = usualZone): string {
  const key = `${shape} ${zone ?? ""}`
  const known = formats.get(key) ?? formatIn(shapes[shape], zone)
  formats.set(key, known)
  return known.format(at)
}

/** A browser may not know a zone that the server knows. */
function formatIn(shape: Intl.DateTimeFormatOptions, timeZone: string | undefined): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat(undefined, timeZone === undefined ? shape : { ...shape, timeZone })
  } catch {
    return new Intl.DateTimeFormat(undefined, { ...shape, timeZone: "UTC" })
  }
}

/** The whole of a moment, with its zone. */
export function absolute(at: number, zone?: string): string {
  return format("whole", at, zone)
}

/** A moment to the second. */
export function momentTime(at: number, zone?: string): string {
  return format("moment", at, zone)
}

/** The time of day, to the millisecond. */
export function clockTime(at: number): string {
  return `${format("clock", at)}.${String(at % second).padStart(3, "0")}`
}

/** The time of day, to the minute. */
export function minuteTime(at: number): string {
  return format("minute", at)
}

/** A moment, as short as it is still clear: the time today, the day otherwise. */
export function shortTime(at: number, now: number, zone?: string): string {
  return format(format("date", at, zone) === format("date", now, zone) ? "minute" : "day", at, zone)
}

const numberFormat = new Intl.NumberFormat("en-US")

export function count(n: number): string {
  return numberFormat.format(n)
}

/** A count that was not taken further than `most`. */
export function capped(n: number, most = 10_000): string {
  return n >= most ? `${count(most)}+` : count(n)
}

/** A number for axes and tight places: `950`, `8.5k`, `103k`, `1.2M`. */
export function compact(n: number): string {
  if (n < 1_000) return String(Math.round(n))
  const [value, unit] = n < 1_000_000 ? [n / 1_000, "k"] : [n / 1_000_000, "M"]
  return `${value < 10 ? value.toFixed(1).replace(/\.0$/, "") : Math.round(value)}${unit}`
}

/** A share in percent that says neither 0 nor 100 unless it is that. */
export function percent(part: number, whole: number): string {
  if (whole === 0) return "–"
  const share = (part / whole) * 100
  if (share > 0 && share < 0.1) return "< 0.1 %"
  if (share < 100 && share > 99.9) return "> 99.9 %"
  return `${share.toFixed(1).replace(/\.0$/, "")} %`
}

/**
 * Text with the marks that turn the direction of what follows made visible: what came from elsewhere must not rearrange the page, or look
 * like something else.
 */
export function visible(text: string): string {
  return text.replaceAll(
    /[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/g,
    (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, "0")}`,
  )
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`
}
