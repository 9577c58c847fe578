import { resolve } from "node:path"
import type { FanfareConfig } from "../../config.ts"
import { FanfareError } from "../../core/errors.ts"
import { checkFile, findConfig } from "../config.ts"

export interface Found {
  /** Those that export apps; none when there are only apps that are called over HTTP. */
  readonly files: readonly string[]
  readonly config: FanfareConfig | null
}

/**
 * The files with the user's code: the one that was named, or else those that the config in this folder names.
 * @throws FanfareError `not_found`, `invalid_option`; `invalid_function`: the config cannot be imported
 */
export async function findFiles(file: string | undefined, onlyHttp: boolean): Promise<Found> {
  if (file !== undefined) return { files: [checkFile(resolve(file), "", "file")], config: null }
  // Without code of its own this is a server for apps that are called over HTTP.
  const found = onlyHttp ? null : await findConfig()
  if (found === null) return { files: [], config: null }
  const { path, config, files } = found
  if (files.length > 0) return { files, config }
  throw new FanfareError("invalid_option", `${path}: functions must name at least one file`, {
    field: "functions",
    hint: 'export default defineConfig({ functions: "src/jobs.ts" })',
  })
}
