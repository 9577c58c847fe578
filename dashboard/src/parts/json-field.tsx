import type { ReactNode } from "react"

interface JsonFieldProps {
  readonly label: string
  readonly text: string
  readonly change: (text: string) => void
}

/** A text that must be a JSON object, and what is wrong with it. */
export function JsonField({ label, text, change }: JsonFieldProps): ReactNode {
  const problem = problemOf(text)
  return (
    <>
      <label className="field">
        {label}
        <textarea
          rows={8}
          className="mono"
          spellCheck={false}
          value={text}
          aria-invalid={problem !== ""}
          onChange={(event) => change(event.target.value)}
        />
      </label>
      <p className="field-problem" role="status">
        {problem}
      </p>
    </>
  )
}

/** Empty when the text is a JSON object. */
export function problemOf(text: string): string {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null && !Array.isArray(value) ? "" : "It must be an object."
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
