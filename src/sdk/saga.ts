import { FanfareError, NonRetriableError, StepError } from "../core/errors.ts"
import type { Jsonify, StepId, StepTools } from "./step.ts"

/** Steps that can be undone. */
export interface Saga {
  /**
   * A `step.run` whose result can be undone: when the saga fails later, or its run is cancelled, `compensate` is run as a step with that
   * result, after those of the steps that came later.
   */
  run<T>(id: StepId, work: () => T | Promise<T>, compensate: (result: Jsonify<T>) => unknown): Promise<Jsonify<T>>
}

/** Steps that undo others may run also where nothing new may begin: after a cancellation. Not for users: it has no name. */
export const undoing = Symbol("undoing")
export interface Undoing {
  readonly [undoing]?: (id: string, work: () => unknown) => Promise<unknown>
}

/**
 * Does `work`; when it fails for good, undoes what its steps did, the last one first, and fails then. With `onCancel: "compensate"` on
 * the function the same happens when its run is cancelled, in a run of `<id>-compensation`.
 * @example await saga(step, async (saga) => { await saga.run("book", () => book(trip), (booking) => unbook(booking)); … })
 */
export async function saga<T>(step: Pick<StepTools, "run">, work: (saga: Saga) => Promise<T>): Promise<T> {
  const undo: { readonly id: string; readonly work: () => unknown }[] = []
  try {
    return await work({
      async run(id, action, compensate) {
        const result = await step.run(id, action)
        undo.push({ id: `undo ${typeof id === "string" ? id : id.id}`, work: () => compensate(result) })
        return result
      },
    })
  } catch (error) {
    await undoAll(step, undo)
    // What was undone must not be taken up again by another attempt.
    if (error instanceof StepError || (error instanceof FanfareError && error.code === "cancelled")) throw error
    throw new NonRetriableError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

/** One that cannot be undone does not keep the others from it. */
async function undoAll(step: Pick<StepTools, "run">, undo: readonly { id: string; work: () => unknown }[]): Promise<void> {
  const run = (step as Undoing)[undoing] ?? ((id: string, work: () => unknown) => step.run(id, work))
  const failed: unknown[] = []
  for (const { id, work } of undo.toReversed()) await run(id, work).catch((error: unknown) => failed.push(error))
  if (failed.length === 0) return
  throw new NonRetriableError(`${failed.length} of ${undo.length} steps could not be undone`, { cause: failed[0] })
}
