import { existsSync, statSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import type { FanfareConfig } from "../../config.ts"
import { FanfareError } from "../../core/errors.ts"
import { explainImport } from "./import-error.ts"

export interface Found {
  /** Those that export apps; none when there are only apps that are called over HTTP. */
  readonly files: string[]
  readonly config: FanfareConfig | null
}

/**
 * The files with the user's code: the one that was named, or else those that the config in this folder names.
 * @throws FanfareError `not_found`, `invalid_option`; `invalid_function`: the config cannot be imported
 */
export async function findFiles(file: string | undefined, onlyHttp: boolean): Promise<Found> {
  if (file !== undefined) return { files: [checkFile(resolve(file), "", "file")], config: null }
  const found = ["fanfare.config.ts", "fanfare.config.js", "fanfare.config.mjs"]
    .map((name) => resolve(name))
    .find((path) => existsSync(path))
  // Without code of its own this is a server for apps that are called over HTTP.
  if (found === undefined || onlyHttp) return { files: [], config: null }
  const config = checkConfig(await importConfig(found), found)
  return { files: [config.functions].flat().map((name) => checkFile(resolve(dirname(found), name), `${found}: `, "functions")), config }
}

function checkFile(path: string, at: string, field: string): string {
  if (!existsSync(path)) throw new FanfareError("not_found", `${at}there is no file ${path}`, { field })
  if (!statSync(path).isDirectory()) return path
  throw new FanfareError("invalid_option", `${at}${path} is a folder`, { field, hint: "Name the file in it that exports your app." })
}

async function importConfig(path: string): Promise<unknown> {
  try {
    return ((await import(pathToFileURL(path).href)) as { default?: unknown }).default
  } catch (error) {
    throw explainImport(error, path)
  }
}

const fields = ["functions", "db", "port"] as const satisfies readonly (keyof FanfareConfig)[]

function checkConfig(config: unknown, path: string): FanfareConfig {
  const wrong = (field: string, message: string): FanfareError =>
    new FanfareError("invalid_option", `${path}: ${message}`, { field, hint: 'export default defineConfig({ functions: "src/jobs.ts" })' })
  if (typeof config !== "object" || config === null) throw wrong("default", "it has no default export")
  const unknown = Object.keys(config).find((field) => !(fields as readonly string[]).includes(field))
  if (unknown !== undefined) throw wrong(unknown, `unknown field "${unknown}"; known are ${fields.join(", ")}`)
  const { functions, db, port } = config as Partial<FanfareConfig>
  const files = [functions ?? []].flat()
  if (files.length === 0 || files.some((file) => typeof file !== "string"))
    throw wrong("functions", "functions must name at least one file")
  if (db !== undefined && typeof db !== "string") throw wrong("db", "db must be a path or a postgres:// URL")
  if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= 65_535)) {
    throw wrong("port", "port must be a whole number from 0 to 65535")
  }
  return config as FanfareConfig
}
