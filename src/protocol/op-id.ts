import { limits } from "../core/limits.ts"
import { sha1 } from "./sha1.ts"

/** What an op says of its own name. */
export interface OpName {
  readonly id: string
  /** The id in the user's code, and which use of it this is. */
  readonly userland: { readonly id: string; readonly index: number } | null
  readonly displayName: string | null
}

/** Begins keys of steps whose name on the wire tells nothing of the id in the user's code. */
const opaque = "="

/**
 * The key under which an op's step is kept. On the wire a step is named by a hash of its id; kept is the id itself, so that people can
 * read it, if the hash proves that it is the one.
 */
export function stepKeyOf({ id, userland, displayName }: OpName): string {
  const names = [userland === null ? null : userland.index === 0 ? userland.id : `${userland.id}:${userland.index}`, displayName]
  return names.find((name) => name !== null && isReadable(name) && sha1(name) === id) ?? `${opaque}${id}`
}

/** The name on the wire of the step that is kept under `key`. */
export function opIdOf(key: string): string {
  return key.startsWith(opaque) ? key.slice(opaque.length) : sha1(key)
}

/** A name in the form of a UUID: the same one each time. */
export function uuidOf(name: string): string {
  const hex = sha1(name)
  return [hex.slice(0, 8), hex.slice(8, 12), `5${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join("-")
}

/** Text that may stand in a column: the stores differ in what else they take. */
export function isPlainText(text: string, chars: number): boolean {
  // oxlint-disable-next-line no-control-regex -- control characters are exactly what is refused
  return text !== "" && text.length <= chars && text.isWellFormed() && !/[\u0000-\u001f\u007f]/.test(text)
}

function isReadable(name: string): boolean {
  return isPlainText(name, limits.stepIdChars) && !name.startsWith(opaque)
}
