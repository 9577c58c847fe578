import { setImmediate as turn } from "node:timers/promises"
import type { App } from "../../core/app.ts"
import type { Intake, Recorder, SourceSend } from "../../core/attempt.ts"
import { packError, unpackError } from "../../core/packed-error.ts"
import type { Pull, SourceResult } from "../../core/source.ts"
import { systemClock } from "../../engine/system.ts"
import { within } from "../../otel/spans.ts"
import { needsEngine, remoteIntake } from "../../sdk/remote.ts"
import { runAttempt } from "../../sdk/runner.ts"
import { loadApps } from "../config.ts"
import type { Answered, FromCode, ToCode } from "./messages.ts"

// The process that has the user's code under `fanfare dev`: a new one for each version of the files, so that a reload is complete and
// nothing that user code does can stop the engine.
const files = process.argv.slice(2)
const asks = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>()
const controllers = new Map<number, AbortController>()
const sources = new Map<number, { readonly pull: Pull; pieces: ReturnType<Pull> | null }>()
let lastAsk = 0
let apps: App[] = []

function tell(message: FromCode): void {
  if (process.connected) process.send?.(message)
}

function ask<T extends Answered>(message: (ask: number) => FromCode): Promise<T> {
  const id = ++lastAsk
  return new Promise<T>((resolve, reject) => {
    asks.set(id, { resolve, reject })
    tell(message(id))
  })
}

/** The engine asks for the pieces of a source as it comes to them. */
async function askSource<T extends SourceResult | string>(call: number | null, send: SourceSend, pull: Pull): Promise<T> {
  let source = 0
  try {
    return await ask<T>((id) => {
      source = id
      sources.set(id, { pull, pieces: null })
      return { kind: "source", ask: id, call, send }
    })
  } finally {
    sources.delete(source)
  }
}

async function givePiece({ ask: id, from }: Extract<ToCode, { kind: "pull" }>): Promise<void> {
  const source = sources.get(id)
  if (source === undefined) return
  try {
    if (from !== undefined) source.pieces = source.pull(from)
    const next = await source.pieces?.next()
    tell({ kind: "piece", ask: id, piece: next === undefined || next.done === true ? null : next.value })
  } catch (error) {
    tell({ kind: "piece", ask: id, piece: null, error: packError(error, "internal") })
  }
}

async function load(): Promise<void> {
  apps = await loadApps(files)
  // The engine's process serves HTTP: asked there, like anybody else would.
  const engine = remoteIntake(process.env["FANFARE_URL"])
  const intake: Intake = {
    ...engine,
    sendSignal: (signal, data) => ask((id) => ({ kind: "signal", ask: id, call: null, signal, data })),
    async send(events, { joined, ...way } = {}) {
      if (joined !== undefined) throw needsEngine()
      return ask((id) => ({ kind: "send", ask: id, call: null, key: "", events, way }))
    },
    sendSource: (send, pull) => askSource(null, send, pull),
    sendFromSql: async () => {
      throw needsEngine()
    },
  }
  for (const app of apps) app.connect(intake)
  tell({
    kind: "ready",
    apps: apps.map((app) => ({ id: app.id, functions: Array.from(app.hosted().values(), ({ definition }) => definition) })),
  })
}

async function execute({ call, run, steps }: Extract<ToCode, { kind: "execute" }>): Promise<void> {
  const hosted = apps.map((app) => app.hosted().get(run.functionId)).find((each) => each !== undefined)
  if (hosted === undefined) {
    tell({ kind: "outcome", call, outcome: { kind: "returned" } })
    return
  }
  const controller = new AbortController()
  controllers.set(call, controller)
  const recorder: Recorder = {
    now: () => systemClock.now(),
    turn: () => turn(),
    get closed() {
      return controller.signal.aborted
    },
    after(ms) {
      let cancel: () => void = () => undefined
      const rung = new Promise<void>((resolve) => {
        cancel = systemClock.after(ms, resolve)
      })
      return [rung, () => cancel()]
    },
    register: async () => void (await ask<null>((id) => ({ kind: "register", ask: id, call }))),
    sendSignal: (signal, data) => ask((id) => ({ kind: "signal", ask: id, call, signal, data })),
    sent: () => undefined,
    report: (report) => ask((id) => ({ kind: "report", ask: id, call, report })),
    send: (key, events, way = {}) => ask((id) => ({ kind: "send", ask: id, call, key, events, way })),
    sendSource: (key, way, pull) => askSource(call, { ...way, key, runId: null }, pull),
    log: (level, message, fields) =>
      tell({ kind: "log", call, level, message: String(message), ...(fields === undefined ? {} : { fields: encode(fields) }) }),
  }
  const attempt = { run, steps: new Map(steps.map((step) => [step.key, step])), signal: controller.signal, recorder }
  const outcome = await within(run.trace ?? null, () => runAttempt(hosted, attempt))
  controllers.delete(call)
  tell({ kind: "outcome", call, outcome })
}

function encode(fields: Readonly<Record<string, unknown>>): string {
  try {
    return JSON.stringify(fields, (_key, value: unknown) => (typeof value === "bigint" ? value.toString() : value))
  } catch {
    return JSON.stringify({ fields: "(cannot be shown)" })
  }
}

process.on("message", (message: ToCode) => {
  if (message.kind === "execute") void execute(message)
  else if (message.kind === "abort") controllers.get(message.call)?.abort()
  else if (message.kind === "pull") void givePiece(message)
  else {
    const waiter = asks.get(message.ask)
    asks.delete(message.ask)
    if (message.error === undefined) waiter?.resolve(message.value as never)
    else waiter?.reject(unpackError(message.error))
  }
})
process.on("disconnect", () => process.exit(0))
// The terminal's Ctrl-C reaches this process too: the engine decides when it ends.
process.on("SIGINT", () => undefined)

load().catch((error: unknown) => {
  tell({ kind: "unfit", error: packError(error, "invalid_function") })
})
