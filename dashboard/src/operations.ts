import { lookAgain } from "./api/ask.ts"
import { get, post } from "./api/client.ts"
import { count } from "./format.ts"
import { notify } from "./notices.ts"

const lookMs = 300

/** Retries what has failed of a fan-out, or cancels the rest of it, and says how far that is. It goes on if this page is left. */
export async function operate(
  kind: "fanoutRetry" | "fanoutCancel",
  id: string,
  body: { readonly fingerprint?: string } = {},
): Promise<void> {
  const done = kind === "fanoutRetry" ? "set going again" : "cancelled"
  const notice = notify("going", kind === "fanoutRetry" ? "Retrying …" : "Cancelling …")
  try {
    let operation = await post(kind, { id }, body)
    while (operation.state === "running") {
      await new Promise((resolve) => setTimeout(resolve, lookMs))
      operation = await get("operation", { params: { id: operation.id } })
      if (operation.affected > 0) notify("going", `${count(operation.affected)} runs ${done} so far …`, notice)
    }
    notify("done", `${count(operation.affected)} ${operation.affected === 1 ? "run" : "runs"} ${done}.`, notice)
  } catch (error) {
    notify("failed", error instanceof Error ? error.message : String(error), notice)
  }
  lookAgain()
}

/** Starts a run of a function now; gives its id. */
export async function runNow(functionId: string, data?: unknown): Promise<string | null> {
  try {
    const { runId } = await post("trigger", { id: functionId }, data === undefined ? {} : { data })
    notify("done", "Started a run.")
    lookAgain()
    return runId
  } catch (error) {
    notify("failed", error instanceof Error ? error.message : String(error))
    return null
  }
}
