import { call } from "./api.ts"
import type { Globals } from "./globals.ts"
import { print, printJson, table } from "./output.ts"

/** Shows the apps elsewhere, which are called over HTTP or connect; with `sync`, after asking one of them to register. */
export async function listApps(options: Globals & { readonly sync?: string }): Promise<void> {
  if (options.sync !== undefined) await call(options, "appSync", { body: { url: options.sync } })
  const page = await call(options, "apps")
  if (options.json) printJson(page)
  else if (page.items.length === 0) print("no app is called over HTTP, and none has connected")
  else {
    const rows = page.items.map(({ id, url, sdk, workers, functionIds, error }) => {
      const place = workers === null ? url : `connected, ${workers} worker${workers === 1 ? "" : "s"}`
      return [id, place, sdk, String(functionIds.length), error ?? ""]
    })
    print(table(["app", "where", "sdk", "functions", "trouble"], rows))
  }
}
