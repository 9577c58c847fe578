import { existsSync, statSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import type { FanfareConfig } from "../config.ts"
import type { App } from "../core/app.ts"
import { FanfareError } from "../core/errors.ts"
import { explainImport } from "./dev/import-error.ts"

const names = ["fanfare.config.ts", "fanfare.config.js", "fanfare.config.mjs"]

export interface FoundConfig {
  readonly path: string
  readonly config: FanfareConfig
  /** Of its functions, where they are. */
  readonly files: readonly string[]
}

/**
 * The config file in this folder, or the one that is named; null when there is none.
 * @throws FanfareError `not_found`, `invalid_option` naming file and field; `invalid_function`: it cannot be imported
 */
export async function findConfig(named?: string): Promise<FoundConfig | null> {
  const path =
    named === undefined ? names.map((name) => resolve(name)).find((each) => existsSync(each)) : checkFile(resolve(named), "", "config")
  if (path === undefined) return null
  const { default: config } = (await importFile(path)) as { default?: unknown }
  checkConfig(config, path)
  const files = [config.functions ?? []].flat().map((name) => checkFile(resolve(dirname(path), name), `${path}: `, "functions"))
  return { path, config, files }
}

/** @throws FanfareError `not_found`, or `invalid_option` for a folder; `at` and `field` say where it is named */
export function checkFile(path: string, at: string, field: string): string {
  if (!existsSync(path)) throw new FanfareError("not_found", `${at}there is no file ${path}`, { field })
  if (!statSync(path).isDirectory()) return path
  throw new FanfareError("invalid_option", `${at}${path} is a folder`, { field, hint: "Name the file in it that exports your app." })
}

async function importFile(path: string): Promise<object> {
  try {
    return (await import(pathToFileURL(path).href)) as object
  } catch (error) {
    throw explainImport(error, path)
  }
}

const isText = (value: unknown): boolean => typeof value === "string"
const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every(isText)
const isWhole = (value: unknown): boolean => Number.isInteger(value)

/** What each field must be; the bounds of numbers are those of the options that they are given on to. */
const fields: { readonly [K in keyof FanfareConfig]-?: readonly [fits: (value: unknown) => boolean, what: string] } = {
  functions: [(value) => isText(value) || (isTexts(value) && (value as unknown[]).length > 0), "name at least one file"],
  db: [isText, "be a path or a postgres:// URL"],
  port: [(value) => isWhole(value) && Number(value) >= 0 && Number(value) <= 65_535, "be a whole number from 0 to 65535"],
  host: [isText, "be an address"],
  apps: [isTexts, "be an array of URLs"],
  allow: [isTexts, "be an array of networks"],
  concurrency: [isWhole, "be a whole number"],
  retentionDays: [isWhole, "be a whole number"],
  stopGrace: [(value) => isText(value) || isWhole(value), 'be a time such as "30s"'],
  logs: [isText, "be pretty, json or none"],
  eventsPerSecond: [isWhole, "be a whole number"],
  readPayloads: [(value) => typeof value === "boolean", "be true or false"],
}

function checkConfig(config: unknown, path: string): asserts config is FanfareConfig {
  const wrong = (field: string, message: string): FanfareError =>
    new FanfareError("invalid_option", `${path}: ${message}`, { field, hint: 'export default defineConfig({ functions: "src/jobs.ts" })' })
  if (typeof config !== "object" || config === null) throw wrong("default", "it has no default export")
  for (const [field, value] of Object.entries(config)) {
    if (!(field in fields)) throw wrong(field, `unknown field "${field}"; known are ${Object.keys(fields).join(", ")}`)
    const [fits, what] = fields[field as keyof FanfareConfig]
    if (value !== undefined && !fits(value)) throw wrong(field, `${field} must ${what}`)
  }
}

/** The apps that files export. @throws FanfareError `invalid_option` when there is none */
export async function loadApps(files: readonly string[]): Promise<App[]> {
  const found: App[] = []
  for (const file of files) {
    found.push(...Object.values(await importFile(file)).filter(isApp))
  }
  const apps = [...new Set(found)]
  if (apps.length > 0) return apps
  throw new FanfareError("invalid_option", `no app is exported by ${files.join(", ")}`, {
    field: "file",
    hint: 'Export it: export const fanfare = new Fanfare({ id: "my-app" })',
  })
}

/** By shape, since the file may have another copy of this package. */
function isApp(value: unknown): value is App {
  const app = value as Partial<App> | null
  return typeof app === "object" && typeof app?.hosted === "function" && typeof app.connect === "function" && typeof app.id === "string"
}
