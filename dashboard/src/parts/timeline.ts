import type { RunDetail, RunState } from "../../../src/protocol/views.ts"

/** A row of a run's timeline. `kind` says how it is drawn: executing is solid, waiting is hatched. */
export interface Span {
  readonly key: string
  readonly kind: "wait" | "attempt" | "step"
  readonly label: string
  readonly state: RunState
  readonly from: number
  readonly to: number
  /** What happened, in a word or two. */
  readonly note: string
}

/** What happened to a run, in the order in which it began. `now` ends what is still going on. */
export function spansOf(run: RunDetail, now: number): readonly Span[] {
  const attempts = run.attempts.map(
    (attempt): Span => ({
      key: `attempt ${attempt.fence}`,
      kind: "attempt",
      label: `attempt ${attempt.attempt}`,
      state: "failed",
      from: attempt.startedAt,
      to: attempt.endedAt,
      note: attempt.failure.name,
    }),
  )
  const last = lastAttempt(run, now)
  const tried = [...attempts, ...(last === null || attempts.some(({ from }) => from === last.from) ? [] : [last])]
  const steps = run.steps.map((step): Span => {
    const waiting = step.state === "waiting" || step.state === "retrying"
    return {
      key: `step ${step.key}`,
      kind: step.kind === "run" || step.kind === "send" ? "step" : "wait",
      label: step.key,
      state: step.state === "completed" ? "completed" : step.state === "failed" ? "failed" : "waiting",
      from: step.startedAt,
      to: waiting ? Math.max(step.endedAt, Math.min(now, step.dueAt ?? now)) : step.endedAt,
      note: step.state === "retrying" ? `${step.attempts} tries` : step.kind === "run" ? "" : step.kind,
    }
  })
  const all = [...tried, ...steps].toSorted((a, b) => a.from - b.from || order(a) - order(b))
  return [...waits(run, tried, now), ...all].toSorted((a, b) => a.from - b.from || order(a) - order(b))
}

const order = ({ kind }: Span): number => (kind === "attempt" ? 0 : 1)

function lastAttempt(run: RunDetail, now: number): Span | null {
  const { startedAt, endedAt, state, attempt } = run
  if (startedAt === null || (endedAt === null && state !== "running")) return null
  const base = { key: "attempt last", kind: "attempt", label: `attempt ${Math.max(1, attempt)}`, from: startedAt, note: "" } as const
  return { ...base, state, to: endedAt ?? Math.max(now, startedAt) }
}

/** The time before the first attempt, and between attempts. */
function waits(run: RunDetail, tried: readonly Span[], now: number): Span[] {
  const first = Math.min(...tried.map(({ from }) => from), ...run.steps.map(({ startedAt }) => startedAt))
  const spans: Span[] = []
  const queuedTo = Number.isFinite(first) ? first : (run.endedAt ?? now)
  // Before it was due it did not stand in line.
  const dueAt = Math.min(queuedTo, Math.max(run.createdAt, run.eventTs))
  if (dueAt > run.createdAt) spans.push(wait("not due yet", run.createdAt, dueAt))
  if (queuedTo > dueAt) spans.push(wait("queued", dueAt, queuedTo))
  for (const [i, attempt] of tried.entries()) {
    const next = tried[i + 1]
    if (attempt.state !== "failed") continue
    if (next !== undefined && next.from > attempt.to) spans.push(wait(`back-off ${i + 1}`, attempt.to, next.from))
    else if (next === undefined && run.state === "scheduled") spans.push(wait(`back-off ${i + 1}`, attempt.to, run.dueAt ?? now))
  }
  return spans
}

function wait(label: string, from: number, to: number): Span {
  return { key: label, kind: "wait", label: label.replace(/ \d+$/, ""), state: "waiting", from, to, note: "" }
}

/** How long a run was in line, and how long something of it was executed, in milliseconds. */
export function timesOf(spans: readonly Span[]): { readonly queued: number; readonly ran: number } {
  const queued = spans.filter(({ label, kind }) => kind === "wait" && label === "queued")
  const ran = merged(spans.filter(({ kind }) => kind !== "wait"))
  return {
    queued: queued.reduce((sum, { from, to }) => sum + to - from, 0),
    ran: ran.reduce((sum, [from, to]) => sum + to - from, 0),
  }
}

/** From a moment to its place, from 0 to 1. Long stretches in which nothing was executed are drawn short. */
export interface Scale {
  place(at: number): number
  readonly gaps: readonly { readonly at: number; readonly ms: number }[]
}

const shortest = 1_000

export function scaleOf(spans: readonly Span[], collapse: boolean): Scale {
  const from = Math.min(...spans.map((span) => span.from))
  const to = Math.max(...spans.map((span) => span.to), from + 1)
  const busy = merged(spans.filter(({ kind }) => kind !== "wait"))
  const worked = busy.reduce((sum, [begin, end]) => sum + end - begin, 0)
  const most = Math.max(shortest, worked / 4)
  const edges = [from, ...busy.flat(), to]
  const pieces: { from: number; to: number; width: number }[] = []
  const gaps: { at: number; ms: number }[] = []
  for (let i = 0; i + 1 < edges.length; i++) {
    const [begin = 0, end = 0] = [edges[i], edges[i + 1]]
    const idle = i % 2 === 0
    const cut = collapse && idle && busy.length > 0 && end - begin > most
    if (cut) gaps.push({ at: (begin + end) / 2, ms: end - begin })
    pieces.push({ from: begin, to: end, width: cut ? most / 2 : end - begin })
  }
  const whole = pieces.reduce((sum, { width }) => sum + width, 0) || 1
  return {
    gaps,
    place(at) {
      let sum = 0
      for (const piece of pieces) {
        if (at >= piece.to) sum += piece.width
        else if (at > piece.from) sum += (piece.width * (at - piece.from)) / (piece.to - piece.from)
      }
      return sum / whole
    },
  }
}

function merged(spans: readonly Span[]): [number, number][] {
  const all: [number, number][] = []
  for (const { from, to } of spans.toSorted((a, b) => a.from - b.from)) {
    const last = all.at(-1)
    if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], to)
    else all.push([from, to])
  }
  return all
}
