/** A piece of JSON text as it is shown: what it is, and its text, unchanged. */
export interface Token {
  readonly kind: "key" | "text" | "number" | "word" | "mark" | "rest"
  readonly text: string
}

const pieces = /\s+|("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(true|false|null)|([{}[\],:])|(.+)/gsu

/** Deeper than any value that is stored: what was never one is not moved further and further to the right. */
const deepest = 64

/**
 * JSON text in lines of tokens, indented. It is not parsed into values, so a number of twenty digits stays what it is, a key may be there
 * twice, and a text that was cut off is shown as far as it goes.
 */
export function jsonLines(text: string): readonly (readonly Token[])[] {
  const lines: Token[][] = [[]]
  let depth = 0
  let open = false
  const put = (token: Token): void => void lines.at(-1)?.push(token)
  const newLine = (): void => void lines.push([{ kind: "mark", text: "  ".repeat(Math.min(depth, deepest)) }])
  for (const [whole, string, colon, number, word, mark] of text.matchAll(pieces)) {
    if (whole.trim() === "") continue
    const closing = mark === "}" || mark === "]"
    if (closing) depth = Math.max(0, depth - 1)
    // An empty object or list stays on its line.
    if (open !== closing) newLine()
    open = false
    if (string !== undefined) {
      put({ kind: colon === undefined ? "text" : "key", text: string })
      if (colon !== undefined) put({ kind: "mark", text: ": " })
    } else if (number !== undefined) put({ kind: "number", text: number })
    else if (word !== undefined) put({ kind: "word", text: word })
    else if (mark !== undefined) {
      put({ kind: "mark", text: mark })
      if (mark === ",") newLine()
      open = mark === "{" || mark === "["
      if (open) depth++
    } else put({ kind: "rest", text: whole })
  }
  return lines
}
