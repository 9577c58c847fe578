import type { EventInput } from "./event.ts"
import type { FanOutRules } from "./gate.ts"

/** Items of a source, in order, and where it goes on after them: null when it can only be told by their number. */
export interface Piece {
  readonly events: readonly EventInput[]
  readonly cursor: string | null
  /** Nothing comes after it. */
  readonly last?: boolean
}

/** Begins a source, or goes on with it: `taken` of its items are durable, `cursor` is what came with the last of them. */
export type Pull = (from: { readonly taken: number; readonly cursor: string | null }) => AsyncIterator<Piece, unknown, undefined>

/** How far a source has come that is sent over HTTP. */
export interface SourceCourse {
  /** Null: nothing was sent yet. */
  readonly fanoutId: string | null
  readonly taken: number
  readonly cursor: string | null
  readonly events: number
  readonly runs: number
  readonly sealed: boolean
  readonly cancelled: boolean
}

/** What of a source is sent over HTTP in one request. */
export interface SourcePart {
  /** Items before these: the part is only added where the one before it ended. */
  readonly from: number
  readonly events: readonly EventInput[]
  readonly cursor: string | null
  /** Nothing comes after it. */
  readonly last: boolean
  readonly rules?: FanOutRules
  readonly functionId?: string
}

/** What became of a part. `closed`: the fan-out is whole, was cancelled, or goes on elsewhere. */
export interface SourcePartResult {
  readonly closed: boolean
  readonly runs: number
}

/** What came of a source. */
export interface SourceResult {
  readonly fanoutId: string
  /** Items taken from the source so far, those that were duplicates included. */
  readonly items: number
  /** Events and runs that came of them. */
  readonly events: number
  readonly runs: number
  /** Whether the fan-out was cancelled meanwhile: the rest of the source was left. */
  readonly cancelled: boolean
}
