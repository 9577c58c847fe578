/** JSON Schema, as far as it is looked at. */
export type Schema = Readonly<Record<string, unknown>>

/** A field of a form: one property of the data. */
export interface Field {
  readonly name: string
  /** `choice`: one of some values; `json`: whatever has no field of its own kind. */
  readonly kind: "text" | "number" | "flag" | "choice" | "json"
  readonly required: boolean
  readonly title: string
  readonly description: string
  /** Of a choice: JSON texts. */
  readonly choices: readonly string[]
  /** What it is when nothing was given, as it is typed. */
  readonly start: string
}

/** More make no form. */
const fieldsMost = 40

/** The fields of a schema; none when it is not an object of some known properties. */
export function fieldsOf(schema: Schema): readonly Field[] {
  const properties = objectOf(schema["properties"])
  const names = Object.keys(properties)
  if (names.length > fieldsMost) return []
  const required = Array.isArray(schema["required"]) ? (schema["required"] as readonly unknown[]) : []
  return names.map((name) => fieldOf(name, objectOf(properties[name]), required.includes(name)))
}

function fieldOf(name: string, given: Schema, required: boolean): Field {
  const schema = plainOf(given)
  const choices = choicesOf(schema)
  const kind = choices.length > 0 ? "choice" : (kinds[String(schema["type"])] ?? "json")
  const said = (key: string): string => (typeof given[key] === "string" ? given[key] : "")
  const start = given["default"] === undefined ? "" : typed(kind, given["default"])
  return { name, kind, required, title: said("title"), description: said("description"), choices, start }
}

const kinds: Readonly<Record<string, Field["kind"]>> = { string: "text", number: "number", integer: "number", boolean: "flag" }

/** Of a value that may be null as well: what it is otherwise. */
function plainOf(schema: Schema): Schema {
  const ways = [schema["anyOf"], schema["oneOf"]].find((each) => Array.isArray(each)) as readonly unknown[] | undefined
  const others = ways?.map(objectOf).filter(({ type }) => type !== "null")
  return others?.length === 1 && others[0] !== undefined ? others[0] : schema
}

function choicesOf(schema: Schema): readonly string[] {
  const listed = Array.isArray(schema["enum"]) ? (schema["enum"] as readonly unknown[]) : []
  return (Object.hasOwn(schema, "const") ? [schema["const"]] : listed).map((value) => JSON.stringify(value))
}

function objectOf(value: unknown): Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Schema) : {}
}

/** Texts by the name of a field, which may be any, such as `__proto__`. */
export type Texts = ReadonlyMap<string, string>

/** Data as it is typed into the fields; what has no field is left out. */
export function typedOf(fields: readonly Field[], data: Schema): Texts {
  return new Map(fields.map(({ name, kind, start }) => [name, Object.hasOwn(data, name) ? typed(kind, data[name]) : start]))
}

function typed(kind: Field["kind"], value: unknown): string {
  return kind === "text" && typeof value === "string" ? value : JSON.stringify(value, null, kind === "json" ? 2 : 0)
}

export interface Filled {
  readonly data: Schema
  /** What is wrong with which field. */
  readonly problems: Texts
}

/** What was typed as data: an empty field is not there. */
export function filledOf(fields: readonly Field[], texts: Texts): Filled {
  const data: Record<string, unknown> = {}
  const problems = new Map<string, string>()
  const put = (name: string, value: unknown): void =>
    void Object.defineProperty(data, name, { value, enumerable: true, configurable: true, writable: true })
  for (const { name, kind, required } of fields) {
    const text = texts.get(name) ?? ""
    if (text.trim() === "") {
      if (required) problems.set(name, "It is needed.")
    } else if (kind === "text") put(name, text)
    else {
      try {
        put(name, JSON.parse(text))
      } catch (error) {
        problems.set(name, kind === "number" ? "It must be a number." : error instanceof Error ? error.message : String(error))
      }
    }
  }
  return { data, problems }
}

/** Something that a validator finds wrong, where it is: `#/user/name`. */
export interface Found {
  readonly instanceLocation: string
  readonly error: string
}

/** What is found wrong, by the field that it is in; what is in none has an empty name. */
export function problemsOf(found: readonly Found[], fields: readonly Field[]): Texts {
  const problems = new Map<string, string>()
  for (const { instanceLocation, error } of found) {
    // A whole is wrong because of what is wrong in it, which is told too.
    if (/^Property |not match any subschemas|not match all subschemas/.test(error)) continue
    const [first = "", ...rest] = instanceLocation.split("/").slice(1).map(decoded)
    const name = fields.some((field) => field.name === first) ? first : ""
    const known = problems.get(name)
    // A format says more than the pattern that stands for it.
    if (known === undefined || known.endsWith("does not match pattern.")) {
      problems.set(name, name === "" || rest.length === 0 ? error : `${rest.join(".")}: ${error}`)
    }
  }
  return problems
}

function decoded(part: string): string {
  return decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~")
}
