import type { SourceSend } from "../core/attempt.ts"
import { FanfareError } from "../core/errors.ts"
import { produce } from "../core/produce.ts"
import type { Pull, SourceCourse, SourcePart, SourceResult } from "../core/source.ts"
import { traceHeaders } from "../core/trace.ts"
import type { Client } from "../protocol/client.ts"
import { platformClock } from "./serve-clock.ts"

const clock = {
  after(ms: number, ring: () => void): () => void {
    const [rung, cancel] = platformClock.after(ms)
    void rung.then(ring)
    return cancel
  },
}

/** Sends a source to a server, a part at a time. How far it came is kept there: the same name goes on, from whatever process. */
export async function sendSource(ask: Client, { key, rules, functionId, trace }: SourceSend, pull: Pull): Promise<SourceResult> {
  const course = (): Promise<SourceCourse> => ask("source", { params: { id: key } })
  const { taken, cursor, sealed, runs: total } = await course()
  const options = { ...(rules === undefined ? {} : { rules }), ...(functionId == null ? {} : { functionId }) }
  await produce({ check: async (events) => events, clock, begun: { taken, cursor, sealed, total }, pull }, async (part, from) => {
    const body: SourcePart = { from, events: part.events, cursor: part.cursor, last: part.sealed, ...options }
    const { closed, runs } = await ask("sourceAdd", { params: { id: key }, body, headers: traceHeaders(trace ?? null) })
    return { result: closed ? { kind: "closed" } : { kind: "applied", duplicates: null }, runs }
  })
  const end = await course()
  if (end.fanoutId === null || (!end.sealed && !end.cancelled)) {
    throw new FanfareError("fanout_closed", `another process sends the fan-out "${key}" at the same time`, {
      field: "id",
      hint: "Let one go on; the same id goes on where it stopped.",
    })
  }
  return { fanoutId: end.fanoutId, items: end.taken, events: end.events, runs: end.runs, cancelled: end.cancelled }
}
