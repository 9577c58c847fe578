import { toFailure } from "../core/failure.ts"
import { encodeJson } from "../core/json.ts"
import { limits } from "../core/limits.ts"
import type { Outcome } from "../core/outcome.ts"
import type { Op } from "../protocol/ops.ts"

/** How a run ends that gives `value`. */
export function completed(value: unknown): Outcome {
  try {
    return { kind: "completed", output: encodeJson(value, { field: "the function's result", bytes: limits.outputBytes }) }
  } catch (thrown) {
    return { kind: "failed", failure: toFailure(thrown), retry: "never" }
  }
}

export const nothingToDo: Outcome = {
  kind: "failed",
  failure: { name: "ProtocolError", message: "the app reported nothing that the run could go on with" },
  retry: "policy",
}

export const tooManySteps: Outcome = {
  kind: "failed",
  failure: { name: "FanfareError", code: "too_many", message: `the run has more than ${limits.stepsPerRun} steps` },
  retry: "never",
}

export const tooMuchState: Outcome = {
  kind: "failed",
  failure: { name: "FanfareError", code: "too_large", message: `the results of the run's steps are over ${limits.stateBytes} bytes` },
  retry: "never",
}

export function unknownOp({ kind, key }: Op): Outcome {
  // As while a new version of the app is rolled out.
  if (kind === "StepNotFound") {
    return { kind: "failed", failure: { name: "AppError", message: `the app does not find the step "${key}"` }, retry: "policy" }
  }
  const message = `the step "${key}" is a ${kind}, which this server does not know yet`
  return { kind: "failed", failure: { name: "ProtocolError", message }, retry: "never" }
}
