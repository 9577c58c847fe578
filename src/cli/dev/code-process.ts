import { type ChildProcess, fork } from "node:child_process"
import type { App, ReceivedEvent } from "../../core/app.ts"
import type { Attempt, Intake, Recorder } from "../../core/attempt.ts"
import type { FunctionDefinition } from "../../core/definition.ts"
import { FanfareError } from "../../core/errors.ts"
import type { Outcome } from "../../core/outcome.ts"
import { packError, unpackError } from "../../core/packed-error.ts"
import type { Piece, Pull } from "../../core/source.ts"
import type { Transport } from "../../transport/transport.ts"
import type { Answered, FromCode, ToCode } from "./messages.ts"

const script = new URL(import.meta.url.endsWith(".ts") ? "./code.ts" : "./code.js", import.meta.url)

/** Warnings that say nothing about the user's code: `npm init` makes projects without a module type, and Node then finds it out by itself. */
const execArgv = ["ExperimentalWarning", "MODULE_TYPELESS_PACKAGE_JSON"].map((name) => `--disable-warning=${name}`)

type Asking = Extract<FromCode, { kind: "report" | "send" | "source" | "register" | "signal" }>

interface Call {
  readonly attempt: Attempt
  readonly finish: (outcome: Outcome) => void
}

/** A process with one version of the user's code, as a transport. */
export class CodeProcess implements Transport {
  readonly apps: readonly App[]
  readonly #child: ChildProcess
  readonly #calls = new Map<number, Call>()
  /** Who waits for a piece of a source. */
  readonly #pieces = new Map<number, (message: Extract<FromCode, { kind: "piece" }>) => void>()
  #lastCall = 0
  #intake: Intake | null = null
  #idle: (() => void) | null = null
  #gone: string | null = null

  private constructor(child: ChildProcess, apps: Extract<FromCode, { kind: "ready" }>["apps"], exited: () => void) {
    this.#child = child
    this.apps = apps.map(({ id, functions }) => this.#app(id, functions))
    child.on("message", (message: FromCode) => this.#hear(message))
    child.on("exit", (code, signal) => {
      this.#gone =
        signal === null
          ? `the process with its code ended with exit code ${code ?? "?"}`
          : `the process with its code was killed (${signal})`
      for (const { finish } of this.#calls.values()) finish({ kind: "lost", reason: this.#gone })
      this.#calls.clear()
      exited()
    })
  }

  /**
   * Starts a process and imports the files in it.
   * @throws FanfareError what the import met: the process is gone then
   */
  static async start(files: readonly string[], exited: () => void): Promise<CodeProcess> {
    const child = fork(script, [...files], { serialization: "advanced", execArgv })
    const ready = await new Promise<Extract<FromCode, { kind: "ready" }>>((resolve, reject) => {
      child.once("exit", (code) =>
        reject(
          new FanfareError("invalid_function", `${files.join(", ")} ended its process with exit code ${code ?? "?"} while it was imported`),
        ),
      )
      child.once("message", (message: FromCode) => {
        if (message.kind === "ready") resolve(message)
        else if (message.kind === "unfit") reject(unpackError(message.error))
      })
    }).catch((error: unknown) => {
      child.kill("SIGKILL")
      throw error
    })
    return new CodeProcess(child, ready.apps, exited)
  }

  hosts(): readonly string[] {
    return this.apps.flatMap((app) => [...app.hosted().keys()])
  }

  execute(attempt: Attempt): Promise<Outcome> {
    if (this.#gone !== null) return Promise.resolve({ kind: "returned" })
    const call = ++this.#lastCall
    return new Promise((resolve) => {
      const finish = (outcome: Outcome): void => {
        this.#calls.delete(call)
        resolve(outcome)
        if (this.#calls.size === 0) this.#idle?.()
      }
      this.#calls.set(call, { attempt, finish })
      attempt.signal.addEventListener("abort", () => this.#tell({ kind: "abort", call }))
      this.#tell({ kind: "execute", call, run: attempt.run, steps: [...attempt.steps.values()] })
    })
  }

  /** Ends the process when what runs in it has ended, or after `graceMs`. */
  async close(graceMs: number): Promise<void> {
    if (this.#calls.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, graceMs)
        this.#idle = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    if (this.#gone === null) this.#child.kill("SIGKILL")
  }

  #app(id: string, functions: readonly FunctionDefinition[]): App {
    const hosted = new Map(
      functions.map((definition) => [definition.id, { definition, handler: () => undefined, receive: (event: ReceivedEvent) => event }]),
    )
    return {
      id,
      hosted: () => hosted,
      connect: (intake) => {
        this.#intake = intake
        return () => undefined
      },
    }
  }

  #tell(message: ToCode): void {
    if (this.#child.connected) this.#child.send(message)
  }

  #hear(message: FromCode): void {
    if (message.kind === "outcome") this.#calls.get(message.call)?.finish(message.outcome)
    else if (message.kind === "log") {
      const fields = message.fields === undefined ? undefined : (JSON.parse(message.fields) as Record<string, unknown>)
      this.#calls.get(message.call)?.attempt.recorder.log(message.level, message.message, fields)
    } else if (message.kind === "piece") this.#pieces.get(message.ask)?.(message)
    else if (message.kind !== "ready" && message.kind !== "unfit") void this.#answer(message)
  }

  async #answer(message: Asking): Promise<void> {
    const { ask } = message
    try {
      const recorder = message.call === null ? null : this.#calls.get(message.call)?.attempt.recorder
      // An attempt that is over gets no answer: what its code still does is not kept.
      if (recorder === undefined) return
      const value = recorder === null ? await this.#outside(message) : await this.#inside(message, recorder)
      this.#tell({ kind: "answer", ask, value })
    } catch (error) {
      this.#tell({ kind: "answer", ask, error: packError(error, "internal") })
    }
  }

  async #inside(message: Asking, recorder: Recorder): Promise<Answered> {
    if (message.kind === "report") return recorder.report(message.report)
    if (message.kind === "signal") return recorder.sendSignal(message.signal, message.data)
    if (message.kind === "register") {
      await recorder.register()
      return null
    }
    if (message.kind === "send") return recorder.send(message.key, message.events, message.way)
    return recorder.sendSource(message.send.key, message.send, this.#pull(message.ask))
  }

  async #outside(message: Asking): Promise<Answered> {
    if (this.#intake === null || message.kind === "report" || message.kind === "register")
      throw new FanfareError("not_connected", "the engine has not started yet")
    if (message.kind === "signal") return this.#intake.sendSignal(message.signal, message.data)
    if (message.kind === "send") return this.#intake.send(message.events, message.way)
    return this.#intake.sendSource(message.send, this.#pull(message.ask))
  }

  /** The source is in the other process: each piece is asked for there. */
  #pull(ask: number): Pull {
    return (from) => {
      let begun = false
      const next = (): Promise<IteratorResult<Piece, undefined>> =>
        new Promise((resolve, reject) => {
          this.#pieces.set(ask, ({ piece, error }) => {
            this.#pieces.delete(ask)
            if (error !== undefined) reject(unpackError(error))
            else resolve(piece === null ? { done: true, value: undefined } : { done: false, value: piece })
          })
          this.#tell({ kind: "pull", ask, ...(begun ? {} : { from }) })
          begun = true
        })
      return { next }
    }
  }
}
