import { existsSync } from "node:fs"
import { relative } from "node:path"
import { fileURLToPath } from "node:url"
import { FanfareError } from "../../core/errors.ts"

/** This package: frames in it are not where the user's mistake is. */
const own = new URL("../..", import.meta.url).href

/** What an import of a file of the user met, with the line where it is, or else the file, and what to do about it. */
export function explainImport(thrown: unknown, file: string): FanfareError {
  const known = thrown instanceof FanfareError ? thrown : null
  const error = thrown instanceof Error ? thrown : new Error(String(thrown))
  const place = placeOf(error.stack ?? "") ?? (error instanceof SyntaxError ? relative(process.cwd(), file) : null)
  const name = known !== null || error.name === "Error" ? "" : `${error.name}: `
  const hint = known?.hint ?? hintOf(error)
  return new FanfareError(known?.code ?? "invalid_function", `${place === null ? "" : `${place}: `}${name}${error.message}`, {
    ...(known?.field === undefined ? {} : { field: known.field }),
    ...(known?.bound === undefined ? {} : { bound: known.bound }),
    ...(hint === undefined ? {} : { hint }),
    cause: thrown,
  })
}

/** `src/jobs.ts:12`, from the line that Node puts above a syntax error, or else from the first frame in user code. */
function placeOf(stack: string): string | null {
  const head = /^(?:file:\/\/)?(\/[^\n]+):(\d+)\n/.exec(stack)
  if (head !== null) return `${relative(process.cwd(), head[1] ?? "")}:${head[2]}`
  for (const [, url = "", line] of stack.matchAll(/(file:\/\/\/[^\n)]+?):(\d+):\d+/g)) {
    if (!url.startsWith(own) && !url.includes("/node_modules/")) return `${relative(process.cwd(), fileURLToPath(url))}:${line}`
  }
  return null
}

function hintOf(error: Error & { readonly code?: string; readonly url?: string }): string | undefined {
  if (error.code === "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX") {
    return "Node runs TypeScript by leaving its types out, so enums, namespaces and parameter properties cannot be used in this file: write a const object or a plain class."
  }
  if (/^(Cannot use import statement outside a module|Unexpected token 'export')/.test(error.message)) {
    return "Its package.json says that its files are CommonJS, as npm init writes it. Run: npm pkg set type=module"
  }
  if (error.code !== "ERR_MODULE_NOT_FOUND") return undefined
  const missing = /^Cannot find package '((?:@[^/']+\/)?[^/']+)/.exec(error.message)?.[1]
  if (missing !== undefined) return `Install it: npm install ${missing}`
  const path = error.url?.startsWith("file:") === true ? fileURLToPath(error.url) : ""
  const ending = [".ts", ".js", ".mts", ".mjs", "/index.ts", "/index.js"].find((each) => existsSync(path + each))
  return ending === undefined ? undefined : `Node wants the whole name: write "${ending.startsWith("/") ? "" : "…"}${ending}" at its end.`
}
