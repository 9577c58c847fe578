import type { BulkFilter, BulkKind, Operation } from "../../src/protocol/views.ts"
import { lookAgain } from "./api/ask.ts"
import { get, post } from "./api/client.ts"
import { count, plural } from "./format.ts"
import { notify } from "./notices.ts"

const lookMs = 300
const doneWords: Readonly<Record<BulkKind, string>> = { retry: "set going again", cancel: "cancelled", replay: "started anew" }

/** Does something, and says what came of it; gives null when it was refused. */
export async function perform<T>(act: () => Promise<T>, done: (result: T) => string): Promise<T | null> {
  try {
    const result = await act()
    notify("done", done(result))
    lookAgain()
    return result
  } catch (error) {
    notify("failed", error instanceof Error ? error.message : String(error))
    return null
  }
}

/**
 * Says how far something is that is done to many runs. It goes on if this page is left.
 * @param meant runs as they were counted before, where they were
 */
async function follow(kind: BulkKind, begin: () => Promise<Operation>, meant?: number): Promise<void> {
  const notice = notify("going", "Begun …")
  try {
    let operation = await begin()
    const { id, fanoutId } = operation
    const stop =
      kind === "cancel" && fanoutId !== "" ? undefined : (): void => void post("operationStop", { id }, {}).catch(() => undefined)
    while (operation.state === "running") {
      await new Promise((resolve) => setTimeout(resolve, lookMs))
      operation = await get("operation", { params: { id } })
      const of = meant === undefined ? "" : ` of ${count(meant)}`
      notify("going", `${count(operation.affected)}${of} runs ${doneWords[kind]} so far …`, notice, stop)
    }
    notify("done", `${operation.state === "stopped" ? "Stopped: " : ""}${plural(operation.affected, "run")} ${doneWords[kind]}.`, notice)
  } catch (error) {
    notify("failed", error instanceof Error ? error.message : String(error), notice)
  }
  lookAgain()
}

/** Runs again what has failed of a fan-out: all of it, or what has one cause. */
export function retryFanout(id: string, body: { readonly fingerprint?: string } = {}): Promise<void> {
  return follow("retry", () => post("fanoutRetry", { id }, body))
}

export function cancelFanout(id: string): Promise<void> {
  return follow("cancel", () => post("fanoutCancel", { id }, {}))
}

/** Does something to all runs that a filter means. */
export function bulk(kind: BulkKind, filter: BulkFilter, meant: number): Promise<void> {
  return follow(kind, () => post("runsBulk", {}, { kind, filter }), meant)
}

/** Starts a run of a function now; gives its id. */
export async function runNow(functionId: string, data?: unknown): Promise<string | null> {
  const started = await perform(
    () => post("trigger", { id: functionId }, data === undefined ? {} : { data }),
    () => "Started a run.",
  )
  return started?.runId ?? null
}
