import { type ReactNode, useMemo, useState } from "react"
import { count } from "../format.ts"
import { Copy } from "./copy.tsx"
import { jsonLines } from "./json.ts"
import { useSession } from "../api/session.ts"

const firstLines = 60
const moreLines = 1_000
/** Characters that are shown, of however long a text. */
const shownChars = 65_536

interface JsonViewProps {
  readonly text: string
  readonly chars: number
  readonly label: string
  readonly whole: () => Promise<string>
}

/**
 * JSON as it is stored, digit for digit.
 * @param chars of the whole, of which `text` may be the beginning
 * @param whole gives all of it
 */
export function JsonView({ text, chars, label, whole }: JsonViewProps): ReactNode {
  const [most, setMost] = useState(firstLines)
  const { payloads } = useSession()
  const beginning = text.slice(0, shownChars)
  const lines = useMemo(() => jsonLines(beginning), [beginning])
  const left = lines.length - most
  if (!payloads) return <p className="faint">Not for those who may only look.</p>
  return (
    <div className="json">
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard */}
      <pre tabIndex={0} role="group" aria-label={label}>
        <code>
          {lines.slice(0, most).map((line, i) => (
            // oxlint-disable-next-line react/no-array-index-key -- a line is its number
            <span key={i} className="json-line">
              {line.map((token, j) => (
                // oxlint-disable-next-line react/no-array-index-key -- and a token its place
                <span key={j} className={`json-${token.kind}`}>
                  {token.text}
                </span>
              ))}
            </span>
          ))}
        </code>
      </pre>
      <Copy text={text} label={`Copy ${label.toLowerCase()}`} />
      {lines.length > firstLines ? (
        <button type="button" className="link" onClick={() => setMost(left > 0 ? most + moreLines : firstLines)}>
          {left <= 0 ? "Show less" : left <= moreLines ? `Show all ${count(lines.length)} lines` : `Show ${count(moreLines)} lines more`}
        </button>
      ) : null}
      {beginning.length < chars ? (
        <p className="faint">
          The first {count(beginning.length)} of {count(chars)} characters.{" "}
          <button type="button" className="link" onClick={() => void whole().then((all) => download(`${label.toLowerCase()}.json`, all))}>
            Download all of it
          </button>
        </p>
      ) : null}
    </div>
  )
}

/** As it is stored: nothing of it was made a value that could lose digits. */
export function download(name: string, text: string): void {
  const link = document.createElement("a")
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }))
  link.download = name.replaceAll(/[^\w.]+/g, "-")
  link.click()
  URL.revokeObjectURL(link.href)
}
