import { type ReactNode, useState } from "react"

const doneMs = 1_500

/** Pages that were not served over HTTPS or from this machine have no clipboard: select and copy, as one did before. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    const area = document.createElement("textarea")
    area.value = text
    area.className = "off-screen"
    document.body.append(area)
    area.select()
    // oxlint-disable-next-line typescript/no-deprecated -- there is no other way without a clipboard
    const copied = document.execCommand("copy")
    area.remove()
    return copied
  }
}

export function Copy({ text, label }: { readonly text: string; readonly label: string }): ReactNode {
  const [said, setSaid] = useState("")
  const copy = async (): Promise<void> => {
    setSaid((await copyText(text)) ? "Copied" : "Not copied")
    setTimeout(() => setSaid(""), doneMs)
  }
  return (
    <button type="button" className="copy" aria-label={said === "" ? label : said} title={label} onClick={() => void copy()}>
      {said === "" ? (
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <path
            d="M5 2h8a1 1 0 0 1 1 1v8h-1.5V3.5H5zM2 5h8a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1H3a1 1 0 0 1-1-1zm1.5 1.5v6h6v-6z"
            fillRule="evenodd"
          />
        </svg>
      ) : (
        <span aria-hidden="true">{said === "Copied" ? "✓" : "✕"}</span>
      )}
    </button>
  )
}

/** A command or some code that is there to be taken along. */
export function Sample({ code, label }: { readonly code: string; readonly label: string }): ReactNode {
  return (
    <div className="sample">
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard */}
      <pre tabIndex={0} role="group" aria-label={label}>
        <code>{code}</code>
      </pre>
      <Copy text={code} label={`Copy ${label.toLowerCase()}`} />
    </div>
  )
}

export function Empty({ title, children }: { readonly title: string; readonly children?: ReactNode }): ReactNode {
  return (
    <div className="empty">
      <h2>{title}</h2>
      {children}
    </div>
  )
}
