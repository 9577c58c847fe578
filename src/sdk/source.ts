import { FanfareError } from "../core/errors.ts"
import type { EventInput } from "../core/event.ts"
import type { Piece, Pull } from "../core/source.ts"

/** Some items, and where those after them begin: null when there are none. */
export interface SourcePage<T> {
  readonly items: readonly T[]
  readonly next: string | null
}

/**
 * Where the items of a fan-out come from; there may be more than memory holds.
 * - An array, or anything that can be iterated over, also asynchronously. After a crash it is begun again and as many items as are durable are
 *   passed over: it must give the same ones in the same order.
 * - A function of a cursor (null for the beginning) that gives a page of at most 10,000 items and the cursor of the next one: after a crash
 *   it is asked for the page after the last one that is durable.
 * - A function that gives something to iterate over, such as a generator function.
 */
export type Source<T> =
  | Iterable<T>
  | AsyncIterable<T>
  | ((cursor: string | null) => SourcePage<T> | Promise<SourcePage<T>> | Iterable<T> | AsyncIterable<T>)

/** Pieces of this size cost little more than large ones, and leave an asynchronous source its pace. */
const pieceItems = 100

/**
 * A source as the engine asks for it.
 * @param toEvent what is sent for an item; `place` is its number in the source
 */
export function pullOf<T>(source: Source<T>, toEvent: (item: T, place: number) => EventInput | Promise<EventInput>): Pull {
  return ({ taken, cursor }) => pieces(source, toEvent, taken, cursor)
}

async function* pieces<T>(
  source: Source<T>,
  toEvent: (item: T, place: number) => EventInput | Promise<EventInput>,
  taken: number,
  cursor: string | null,
): AsyncGenerator<Piece, void, undefined> {
  const begun = typeof source === "function" ? await source(cursor) : source
  if (isIterable(begun)) {
    yield* iterated(begun, toEvent, taken)
    return
  }
  let place = taken
  for (
    let page: SourcePage<T> = checkPage(begun);
    ;
    page = checkPage(await (source as (at: string) => Promise<SourcePage<T>>)(page.next ?? ""))
  ) {
    const events: EventInput[] = []
    for (const item of page.items) events.push(await toEvent(item, place++))
    yield { events, cursor: page.next, last: page.next === null }
    if (page.next === null) return
  }
}

async function* iterated<T>(
  items: Iterable<T> | AsyncIterable<T>,
  toEvent: (item: T, place: number) => EventInput | Promise<EventInput>,
  taken: number,
): AsyncGenerator<Piece, void, undefined> {
  const size = Symbol.asyncIterator in items ? 1 : pieceItems
  let place = 0
  let events: EventInput[] = []
  for await (const item of items) {
    if (place++ < taken) continue
    events.push(await toEvent(item, place - 1))
    if (events.length < size) continue
    yield { events, cursor: null }
    events = []
  }
  if (events.length > 0) yield { events, cursor: null }
}

function isIterable<T>(value: Iterable<T> | AsyncIterable<T> | SourcePage<T>): value is Iterable<T> | AsyncIterable<T> {
  return typeof value === "object" && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value)
}

function checkPage<T>(page: SourcePage<T>): SourcePage<T> {
  const { items, next } = typeof page === "object" && page !== null ? page : { items: null, next: null }
  if (Array.isArray(items) && (next === null || (typeof next === "string" && next !== ""))) return page
  throw new FanfareError("invalid_option", "the source gave no page", {
    field: "source",
    hint: 'Give { items: [...], next: "cursor" }, with next: null on the last page, or something that can be iterated over.',
  })
}
