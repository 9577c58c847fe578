import type { PausePolicy } from "../core/definition.ts"
import { FanfareError } from "../core/errors.ts"
import { call } from "./api.ts"
import type { Globals } from "./globals.ts"
import { count, print, printJson, table } from "./output.ts"

export async function listLimits(options: Globals & { readonly after?: string; readonly limit?: string }): Promise<void> {
  const { after, limit } = options
  const page = await call(options, "limits", { query: { after, limit } })
  if (options.json) {
    printJson(page)
    return
  }
  const rows = page.items.map(({ id, own, max, setByHand, used, held, heldUntil }) => [
    id,
    count(used),
    max === null ? "" : `${count(max)}${setByHand ? ` (set by hand${own === null ? "" : `, its runs say ${count(own)}`})` : ""}`,
    held >= 1_000 ? "1,000 or more" : count(held),
    heldUntil !== null && heldUntil > Date.now() ? new Date(heldUntil).toISOString() : "",
  ])
  print(rows.length === 0 ? "no limits in use" : table(["LIMIT", "USED", "MOST", "WAITING", "AT REST UNTIL"], rows))
  if (page.next !== null) print(`next page: fanfare limits list --after ${page.next}`)
}

export async function setLimit(id: string, max: string, globals: Globals): Promise<void> {
  const most = Number(max)
  if (max.trim() === "" || !Number.isInteger(most)) {
    throw new FanfareError("invalid_option", `"${max}" is not a whole number`, {
      field: "max",
      hint: "Example: fanfare limits set fn:shop-send-digest 20",
    })
  }
  await change(id, most, globals)
}

export async function resetLimit(id: string, globals: Globals): Promise<void> {
  await change(id, null, globals)
}

async function change(id: string, max: number | null, globals: Globals): Promise<void> {
  const changed = await call(globals, "limit", { params: { id }, body: { max } })
  if (globals.json) printJson(changed)
  else
    print(max === null ? `${id}: what its functions say holds again` : `${id}: at most ${count(max)} from now on; what has started goes on`)
}

export async function pauseFunction(id: string, options: Globals & { readonly newRuns?: PausePolicy }): Promise<void> {
  const body = options.newRuns === undefined ? {} : { newRuns: options.newRuns }
  const paused = await call(options, "functionPause", { params: { id }, body })
  if (options.json) printJson(paused)
  else
    print(
      `${paused.id} is paused: what executes goes on, what waits stays in line, new runs are ${paused.paused === "keep" ? "kept too" : "skipped"}`,
    )
}

export async function resumeFunction(id: string, globals: Globals): Promise<void> {
  const resumed = await call(globals, "functionResume", { params: { id }, body: {} })
  if (globals.json) printJson(resumed)
  else print(`${resumed.id} goes on`)
}
