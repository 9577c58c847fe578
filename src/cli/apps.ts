import { call } from "./api.ts"
import type { Globals } from "./globals.ts"
import { print, printJson, table } from "./output.ts"

/** Shows the apps that are called over HTTP; with `sync`, after asking one of them to register. */
export async function listApps(options: Globals & { readonly sync?: string }): Promise<void> {
  if (options.sync !== undefined) await call(options, "appSync", { body: { url: options.sync } })
  const page = await call(options, "apps")
  if (options.json) printJson(page)
  else if (page.items.length === 0) print("no app is called over HTTP")
  else {
    const rows = page.items.map(({ id, url, sdk, functionIds, error }) => [id, url, sdk, String(functionIds.length), error ?? ""])
    print(table(["app", "url", "sdk", "functions", "trouble"], rows))
  }
}
