import { type ReactNode, useId } from "react"
import type { Field, Texts } from "./schema-fields.ts"

interface SchemaFormProps {
  readonly fields: readonly Field[]
  readonly texts: Texts
  readonly problems: Texts
  readonly change: (name: string, text: string) => void
}

/** A field for each property of an event's data. */
export function SchemaForm({ fields, texts, problems, change }: SchemaFormProps): ReactNode {
  return (
    <div className="schema-form">
      {fields.map((field) => (
        <OneField
          key={field.name}
          field={field}
          text={texts.get(field.name) ?? ""}
          problem={problems.get(field.name) ?? ""}
          change={(text) => change(field.name, text)}
        />
      ))}
      {problems.has("") ? <p className="field-problem">{problems.get("")}</p> : null}
    </div>
  )
}

interface OneFieldProps {
  readonly field: Field
  readonly text: string
  readonly problem: string
  readonly change: (text: string) => void
}

function OneField({ field, text, problem, change }: OneFieldProps): ReactNode {
  const id = useId()
  const { name, title, description, required } = field
  return (
    <div className="field">
      <label htmlFor={id}>
        <span className="mono">{name}</span>
        {title === "" ? null : ` ${title}`}
        {required ? null : <span className="faint"> may be left out</span>}
      </label>
      <Input id={id} field={field} text={text} wrong={problem !== ""} change={change} />
      {description === "" ? null : <span className="faint">{description}</span>}
      {problem === "" ? null : (
        <span className="field-problem" id={`${id}-problem`} role="status">
          {problem}
        </span>
      )}
    </div>
  )
}

interface InputProps {
  readonly id: string
  readonly field: Field
  readonly text: string
  readonly wrong: boolean
  readonly change: (text: string) => void
}

function Input({ id, field: { kind, choices }, text, wrong, change }: InputProps): ReactNode {
  const common = { id, value: text, "aria-invalid": wrong, ...(wrong ? { "aria-describedby": `${id}-problem` } : {}) }
  if (kind === "json") {
    return <textarea {...common} rows={3} className="mono" spellCheck={false} onChange={(event) => change(event.target.value)} />
  }
  if (kind === "flag" || kind === "choice") {
    const given = kind === "flag" ? ["true", "false"] : choices
    return (
      <select {...common} onChange={(event) => change(event.target.value)}>
        <option value="">–</option>
        {given.map((choice) => (
          <option key={choice} value={choice}>
            {choice.startsWith('"') ? String(JSON.parse(choice)) : choice}
          </option>
        ))}
      </select>
    )
  }
  return (
    <input
      {...common}
      autoComplete="off"
      inputMode={kind === "number" ? "decimal" : "text"}
      onChange={(event) => change(event.target.value)}
    />
  )
}
