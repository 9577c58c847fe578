import type { FanOutWish, Recorder, SendWay } from "../core/attempt.ts"
import { FanfareError } from "../core/errors.ts"
import type { EventInput } from "../core/event.ts"
import { type JoinUntil, needOf } from "../core/join.ts"
import { limits } from "../core/limits.ts"
import type { Piece, Pull } from "../core/source.ts"
import type { SourceAsked } from "../protocol/call.ts"
import { isObject, type Op, ProtocolError } from "../protocol/ops.ts"
import type { Reply } from "../protocol/reply.ts"
import type { Gone } from "./workers.ts"

/** Asks an app for the next items of a fan-out. */
type Ask = (source: SourceAsked) => Promise<Reply | Gone>

/**
 * What an app says of a fan-out that it wants.
 * @throws FanfareError `invalid_step`: its end cannot be understood
 */
export function fanOutWish({ key, opts }: Op): FanOutWish {
  const { functionId, rules, until = "all", timeoutAt, outputs, total } = opts
  needOf(until as JoinUntil, 0)
  return {
    key,
    ...(typeof functionId === "string" ? { functionId } : {}),
    ...(isObject(rules) ? { rules } : {}),
    until: until as JoinUntil,
    timeoutAt: typeof timeoutAt === "number" ? timeoutAt : null,
    outputs: outputs === true,
    total: typeof total === "number" && total >= 0 ? total : null,
  }
}

/** Sends the items of a fan-out, which the app gives part by part; gives its id. Another attempt goes on where this one stopped. */
export async function sendFanOut({ key, rules, functionId, total }: FanOutWish, ask: Ask, recorder: Recorder): Promise<string> {
  const sendKey = `${key}/$send`
  const way: Pick<SendWay, "rules" | "functionId"> = {
    ...(rules === undefined ? {} : { rules }),
    ...(functionId === undefined ? {} : { functionId }),
  }
  const pull: Pull = (from) => pieces(from, ask)
  // Rules may need the number of all items.
  if (total === null || total > limits.eventsPerSend) return recorder.sendSource(sendKey, way, pull)
  const events: EventInput[] = []
  const source = pull({ taken: 0, cursor: null })
  for (let piece = await source.next(); piece.done !== true; piece = await source.next()) {
    for (const event of piece.value.events) events.push(event)
    if (events.length > total) throw new ProtocolError(`the app announced ${total} items and gives more`)
  }
  const { fanoutId } = await recorder.send(sendKey, events, { ...way, fanned: true })
  if (fanoutId === null) throw new ProtocolError("the app announced items and gave none")
  return fanoutId
}

async function* pieces(from: SourceAsked, ask: Ask): AsyncGenerator<Piece, void, undefined> {
  let { taken, cursor } = from
  for (;;) {
    const piece = pieceOf(await ask({ taken, cursor }))
    yield piece
    if (piece.last === true) return
    if (piece.events.length === 0 && piece.cursor === cursor) throw new ProtocolError("the app gave nothing of a source that has not ended")
    taken += piece.events.length
    cursor = piece.cursor
  }
}

/** @throws what the app's code threw, ProtocolError */
function pieceOf(reply: Reply | Gone): Piece {
  if (reply.kind === "gone") throw new Error("the worker that was asked for the items of a fan-out went away")
  if (reply.kind === "failed") throw Object.assign(new Error(reply.failure.message), { name: reply.failure.name })
  const part = reply.kind === "ops" ? reply.ops.find(({ kind }) => kind === "SourcePart") : undefined
  if (part === undefined) throw new ProtocolError("the app was asked for the items of a fan-out and gave none")
  const { events, cursor, last } = part.opts
  if (!Array.isArray(events) || events.length > limits.eventsPerTransaction) {
    throw new FanfareError("too_many", `a part of the app's items must be a list of at most ${limits.eventsPerTransaction}`, {
      field: "source",
      bound: limits.eventsPerTransaction,
    })
  }
  return { events: events as EventInput[], cursor: typeof cursor === "string" ? cursor : null, last: last === true }
}
