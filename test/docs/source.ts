import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

/** A field or a method, as the source says it. */
export interface Member {
  readonly name: string
  readonly type: string
  readonly about: string
}

export function sourceOf(path: string): string {
  return readFileSync(fileURLToPath(new URL(`../../src/${path}`, import.meta.url)), "utf8")
}

/** The text of a doc comment, without what stands around it; tags and their text are left out. */
function textOf(comment: string): string {
  const lines = comment
    .replace(/^\s*\/\*\*|\*\/\s*$/g, "")
    .split("\n")
    .map((line) => line.replace(/^\s*\* ?/, "").trim())
  const tag = lines.findIndex((line) => line.startsWith("@") || line.startsWith("```"))
  return lines
    .slice(0, tag === -1 ? lines.length : tag)
    .join(" ")
    .replaceAll(/\s+/g, " ")
    .replace(/ ?@(?:throws|param|example) .*$/, "")
    .trim()
}

/** The comment right above a line, as text. */
function above(lines: readonly string[], at: number): string {
  if (!lines[at - 1]?.trim().endsWith("*/")) return ""
  let from = at - 1
  while (from > 0 && !lines[from]?.trim().startsWith("/**")) from--
  return textOf(lines.slice(from, at).join("\n"))
}

/** What the comment above the declaration of a name says. */
export function aboutOf(path: string, name: string): string {
  const lines = sourceOf(path).split("\n")
  const at = lines.findIndex((line) => new RegExp(`^export (?:async )?(?:interface|type|class|function|const) ${name}\\b`).test(line))
  if (at === -1) throw new Error(`${path} does not declare ${name}`)
  return above(lines, at)
}

const member = /^(?:readonly |get |async )*([a-zA-Z]\w*)(\??)(?:<.*>)?(?=[(:])(.*)$/

/** The public members of an interface, an object type or a class; of objects inside of it too, as `outer.inner`. */
export function membersOf(path: string, name: string): Member[] {
  const lines = sourceOf(path).split("\n")
  const start = lines.findIndex((line) => new RegExp(`^(?:export )?(?:interface|type|class) ${name}\\b`).test(line))
  if (start === -1) throw new Error(`${path} does not declare ${name}`)
  let body = start
  while (!lines[body]?.endsWith("{")) body++
  const indent = (/^ */.exec(lines[body + 1] ?? "")?.[0] ?? "").length
  const found: Member[] = []
  let outer = ""
  for (let i = body + 1; i < lines.length && lines[i]?.startsWith("}") !== true; i++) {
    const line = lines[i] ?? ""
    const depth = (/^ */.exec(line)?.[0] ?? "").length
    const fit = member.exec(line.trim())
    if (depth === indent) outer = line.trimEnd().endsWith("{") && fit !== null && !fit[3]?.startsWith("(") ? `${fit[1]}.` : ""
    const inside = depth === indent + 2 && outer !== ""
    if (fit === null || /^\s*(\*|\/\/|return|if|constructor|const|type|field|bound|hint)\b/.test(line) || !(depth === indent || inside))
      continue
    const [, own = "", optional = "", rest = ""] = fit
    const shape = line.trim().startsWith("get ") ? rest.replace(/^\(\)/, "") : rest
    const type = shape
      .replace(/^: ?/, "")
      .replace(/\s*\{$/, "")
      .replace(/;$/, "")
    found.push({ name: `${inside ? outer : ""}${own}${optional}`, type, about: above(lines, i) })
  }
  return found.filter(({ name: each }, i) => found.findIndex((other) => other.name === each) === i)
}

export interface Exported {
  readonly name: string
  /** Below src. */
  readonly path: string
  readonly isType: boolean
}

/** What an entry exports, its own declarations and those it passes on. */
export function exportsOf(entry: string): Exported[] {
  const text = sourceOf(entry)
  const folder = entry.includes("/") ? entry.slice(0, entry.lastIndexOf("/") + 1) : ""
  const passed = [...text.matchAll(/^export (type )?\{([^}]*)\} from "\.\/([^"]+)"/gm)].flatMap(([, type, names = "", path = ""]) =>
    names
      .split(",")
      .map((name) => name.trim())
      .filter((name) => name !== "")
      .map((name) => ({ name: name.replace(/^type /, ""), path: folder + path, isType: type !== undefined || name.startsWith("type ") })),
  )
  const own = [...text.matchAll(/^export (?:async )?(interface|type|class|function|const) (\w+)/gm)].map(([, kind, name = ""]) => ({
    name,
    path: entry,
    isType: kind === "interface" || kind === "type",
  }))
  return [...passed, ...own]
}
