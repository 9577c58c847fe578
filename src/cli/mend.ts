import { FanfareError } from "../core/errors.ts"
import type { BulkFilter } from "../core/bulk.ts"
import { durationMs } from "../core/duration.ts"
import type { BulkKind } from "../core/runs.ts"
import type { RunFilter } from "../core/views.ts"
import { call } from "./api.ts"
import { follow } from "./fanouts.ts"
import type { Globals } from "./globals.ts"
import { count, print, printJson, say } from "./output.ts"

export interface MendOptions extends Globals {
  readonly state?: string
  readonly function?: string
  /** Created within this time, such as 2h. */
  readonly since?: string
  readonly yes?: boolean
  readonly fromStep?: string
  readonly data?: string
  readonly reason?: string
}

const done: Readonly<Record<BulkKind, string>> = { cancel: "to be cancelled", replay: "replayed", retry: "set going again" }

/** One run by its id, or all that the filter means: these are counted first, and it is only done when confirmed. */
export async function mend(kind: BulkKind, id: string | undefined, options: MendOptions): Promise<void> {
  if (id !== undefined) {
    if (kind === "cancel") await cancelOne(id, options)
    else if (kind === "replay") await replayOne(id, options)
    else await retryOne(id, options)
    return
  }
  const { state, function: functionId, since } = options
  if (state === undefined && functionId === undefined && since === undefined) {
    throw new FanfareError("invalid_option", `${kind} which runs?`, {
      field: "function",
      hint: "Say which runs are meant with --function, --state and --since, or give the id of one.",
    })
  }
  const filter: BulkFilter = {
    ...(state === undefined ? {} : { state: state as Exclude<RunFilter["state"], undefined> }),
    ...(functionId === undefined ? {} : { functionId }),
    ...(since === undefined ? {} : { from: Date.now() - durationMs(since, "--since") }),
  }
  const { count: runs } = await call(options, "runsCount", { body: filter })
  if (options.yes !== true) {
    if (options.json) printJson({ kind, filter, count: runs, done: false })
    else print(`${count(runs)} runs are meant. Nothing was done; to ${kind} them, add --yes.`)
    return
  }
  if (!options.json) say(`${count(runs)} runs are meant`)
  await follow(await call(options, "runsBulk", { body: { kind, filter } }), options, done[kind])
}

async function cancelOne(id: string, options: MendOptions): Promise<void> {
  const body = options.reason === undefined ? {} : { reason: options.reason }
  const { cancelled, run } = await call(options, "runCancel", { params: { id }, body })
  if (options.json) printJson({ cancelled, run })
  else print(cancelled ? `– ${id} cancelled` : `${id} had ended: ${run.state}`)
  if (!cancelled) process.exitCode = 1
}

async function replayOne(id: string, { fromStep, data, ...globals }: MendOptions): Promise<void> {
  const body = { ...(fromStep === undefined ? {} : { fromStep }), ...(data === undefined ? {} : { data: parse(data) }) }
  const { runId } = await call(globals, "runReplay", { params: { id }, body })
  if (globals.json) printJson({ runId })
  else print(`▶ ${runId}  replays ${id}`)
}

async function retryOne(id: string, globals: MendOptions): Promise<void> {
  const run = await call(globals, "runRetry", { params: { id }, body: {} })
  if (globals.json) printJson(run)
  else print(`▶ ${id}  set going again`)
}

/** Why a run is not running. */
export async function why(id: string, globals: Globals): Promise<void> {
  const run = await call(globals, "run", { params: { id } })
  const { state, reason, dueAt, error } = run
  if (globals.json) printJson({ id, state, reason, dueAt, error })
  else
    print(
      `${id} ${reason ?? (state === "running" ? "is running" : `has ended: ${state}`)}${error === null ? "" : `  (${error.name}: ${error.message})`}`,
    )
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new FanfareError("not_json", `--data is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`, {
      field: "data",
      cause,
    })
  }
}
