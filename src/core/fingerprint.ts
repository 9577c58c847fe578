import type { Failure } from "./failure.ts"

const charsMax = 300

/**
 * What failures of the same cause have in common: the error's name, its message without what differs from case to case, and the place
 * it came from. For people to read and for grouping.
 */
export function fingerprintOf({ name, message, stack }: Failure): string {
  const frame = stack === undefined ? null : topFrame(stack)
  const text = `${name}: ${normalised(message)}${frame === null ? "" : ` @ ${frame}`}`
  return text.length <= charsMax ? text : `${text.slice(0, charsMax - 1)}…`
}

function normalised(message: string): string {
  return (message.split("\n")[0] ?? "")
    .slice(0, 1_000)
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/gi, "*")
    .replaceAll(/(["'`])[^"'`]{0,200}\1/g, "$1…$1")
    .replaceAll(/\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b/gi, "*")
    .replaceAll(/\d+/g, "#")
    .trim()
}

/** The first place in the user's code: the function and its file, without the line, which a deploy moves. */
function topFrame(stack: string): string | null {
  for (const line of stack.split("\n").slice(0, 50)) {
    const match = /^\s*at (?:async )?(?:(.+?) \()?(.+?):\d+:\d+\)?$/.exec(line)
    const file = match?.[2]
    if (file === undefined || file.startsWith("node:") || file.includes("/node_modules/")) continue
    const short = file
      .replace(/^file:\/\//, "")
      .split("/")
      .slice(-2)
      .join("/")
    return match?.[1] === undefined ? short : `${match[1]} (${short})`
  }
  return null
}
