import type { Recorder } from "../core/attempt.ts"
import { FanfareError } from "../core/errors.ts"
import { encodeJson } from "../core/json.ts"
import { limits } from "../core/limits.ts"
import type { ClaimedRun } from "../core/run.ts"
import type { StepRecord } from "../core/step.ts"
import { deferKey } from "../protocol/call.ts"
import { uuidOf } from "../protocol/op-id.ts"
import { isObject, type Op } from "../protocol/ops.ts"

interface Defer {
  readonly functionId: string
  readonly data: Readonly<Record<string, unknown>>
  aborted: boolean
}

/** Functions that a run wants to have started when it ends. Each is kept when it is told of, and started once. */
export class Defers {
  readonly #recorder: Recorder
  readonly #all = new Map<string, Defer>()

  /** @param steps what earlier attempts kept */
  constructor(steps: Iterable<StepRecord>, recorder: Recorder) {
    this.#recorder = recorder
    for (const { key, kind, output } of steps) {
      if (!key.startsWith(deferKey) || kind !== "run" || output === null) continue
      const kept = JSON.parse(output) as Omit<Defer, "aborted"> | { aborts: string }
      if ("aborts" in kept) this.#abort(kept.aborts)
      else this.#all.set(key.slice(deferKey.length), { ...kept, aborted: false })
    }
  }

  /** What the app is told, so that it does not tell of them again. */
  get known(): readonly (readonly [id: string, abortable: boolean])[] {
    return [...this.#all].map(([id, { aborted }]) => [id, !aborted] as const)
  }

  static is(kind: string): boolean {
    return kind === "DeferAdd" || kind === "DeferAbort"
  }

  /** @throws FanfareError `too_many`, `too_large` */
  async keep({ id, kind, opts }: Op): Promise<void> {
    const startedAt = this.#recorder.now()
    const target = opts["target_hashed_id"]
    const slug = opts["fn_slug"]
    if (kind === "DeferAbort") {
      if (typeof target !== "string" || this.#all.get(target)?.aborted !== false) return
      this.#abort(target)
      await this.#recorder.report({ kind: "run", key: `${deferKey}${id}`, startedAt, output: JSON.stringify({ aborts: target }) })
      return
    }
    if (typeof slug !== "string" || this.#all.has(id)) return
    if (this.#all.size >= limits.defersPerRun) {
      throw new FanfareError("too_many", `the run defers more than ${limits.defersPerRun} functions`, {
        field: "defer",
        bound: limits.defersPerRun,
      })
    }
    const data = isObject(opts["input"]) ? opts["input"] : {}
    const output = encodeJson({ functionId: slug, data }, { field: "defer data", bytes: limits.eventBytes })
    this.#all.set(id, { functionId: slug, data, aborted: false })
    await this.#recorder.report({ kind: "run", key: `${deferKey}${id}`, startedAt, output })
  }

  /** Starts those that were not given up: the run has ended. One whose function nobody has is told of in the run's log. */
  async start({ id: runId, functionId: parent }: Pick<ClaimedRun, "id" | "functionId">): Promise<void> {
    for (const [id, { functionId, data, aborted }] of this.#all) {
      if (aborted) continue
      const _inngest = { fn_slug: functionId, parent_fn_id: uuidOf(parent), parent_fn_slug: parent, parent_run_id: runId }
      try {
        await this.#recorder.send(`${deferKey}start/${id}`, [{ name: "deferred", data: { ...data, _inngest } }], { functionId })
      } catch (error) {
        if (!(error instanceof FanfareError)) throw error
        this.#recorder.log("warn", `the deferred function ${functionId} was not started: ${error.message}`)
      }
    }
  }

  #abort(id: string): void {
    const defer = this.#all.get(id)
    if (defer !== undefined) defer.aborted = true
  }
}
