import { styleText } from "node:util"
import { cronMoments } from "../../core/cron.ts"
import type { FunctionDefinition } from "../../core/definition.ts"
import type { Engine } from "../../engine/engine.ts"
import type { Fact } from "../../engine/telemetry.ts"
import { call } from "../api.ts"
import type { Globals } from "../globals.ts"
import { clock, count, fanoutLine, printJson, say, span } from "../output.ts"

const pollMs = 250
/** Single runs get a line each up to this many in a second; more are only counted. */
const linesPerSecond = 5

/** What happens, for the person who watches: runs, fan-outs with a bar each, and counts while there is work. */
export class Screen {
  readonly #engine: Engine
  readonly #globals: Globals
  readonly #unlisten: () => void
  readonly #timer: NodeJS.Timeout
  /** Fan-outs that have not ended, and the tenth of theirs that was shown last. */
  readonly #open = new Map<string, number>()
  #line = ""
  #second = 0
  #shown = 0
  #busy = false

  constructor(engine: Engine, globals: Globals) {
    this.#engine = engine
    this.#globals = globals
    this.#unlisten = engine.telemetry.listen((fact) => this.#hear(fact))
    this.#timer = setInterval(() => void this.#refresh(), pollMs)
  }

  close(): void {
    this.#unlisten()
    clearInterval(this.#timer)
  }

  /** Shows the functions and their next moments. */
  functions(): void {
    if (this.#globals.json) return
    for (const definition of this.#engine.registry.definitions.values()) {
      for (const trigger of definition.triggers) say(`     ${definition.localId.padEnd(28)} ${describeTrigger(definition.id, trigger)}`)
    }
    say("\n  start a cron function now: fanfare trigger <function>      stop: Ctrl-C\n")
  }

  #hear(fact: Fact): void {
    if (fact.name === "events.accepted" && fact.fanoutId !== null) this.#open.set(fact.fanoutId, -1)
    const line = describe(fact)
    if (line === null) return
    const second = Math.floor(Date.now() / 1_000)
    if (second !== this.#second) [this.#second, this.#shown] = [second, 0]
    if (this.#globals.json) printJson({ event: fact.name, ...fact })
    else if (this.#shown++ < linesPerSecond) this.#write(line)
  }

  async #refresh(): Promise<void> {
    if (this.#busy) return
    this.#busy = true
    const lines: string[] = []
    for (const id of this.#open.keys()) {
      const line = await this.#follow(id)
      if (line !== null) lines.push(line)
    }
    if (process.stderr.isTTY && !this.#globals.json) this.#replaceLine(lines.at(-1) ?? (await this.#counts()))
    this.#busy = false
  }

  /** Shows how far a fan-out is; gives its line while it is on the way. */
  async #follow(id: string): Promise<string | null> {
    const fanout = await call(this.#globals, "fanout", { params: { id } }).catch(() => null)
    if (fanout === null) return null
    const ended = fanout.completed + fanout.failed + fanout.cancelled
    const done = fanout.sealed && ended === fanout.total
    const tenth = done ? 10 : Math.floor((ended / Math.max(1, fanout.total)) * 10)
    const news = tenth !== this.#open.get(id)
    if (done) this.#open.delete(id)
    else this.#open.set(id, tenth)
    const line = `${styleText("magenta", "⇉")} ${fanout.name}  ${fanoutLine(fanout)}`
    if (this.#globals.json && news) printJson({ event: "fanout", ...fanout })
    if (this.#globals.json) return null
    if (done || (news && !process.stderr.isTTY)) this.#write(line)
    return done ? null : line
  }

  async #counts(): Promise<string> {
    const status = await call(this.#globals, "status").catch(() => null)
    if (status === null) return ""
    const { ready, running, scheduled, waiting, completed, failed } = status
    if (ready + running + scheduled + waiting === 0) return ""
    const parts = [`${count(ready)} ready`, `${count(running)} running`, `${count(scheduled)} scheduled`, `${count(waiting)} waiting`]
    return styleText("gray", `${parts.join("  ")}  ·  ${count(completed)} ok  ${count(failed)} failed`)
  }

  #write(line: string): void {
    const live = this.#line
    this.#replaceLine("")
    say(`  ${styleText("gray", clock(Date.now()))}  ${line}`)
    this.#replaceLine(live)
  }

  /** The line at the bottom that is written over. */
  #replaceLine(line: string): void {
    if (this.#line !== "" || line !== "") process.stderr.write(`\r\u001b[2K${line === "" ? "" : `  ${line}`}`)
    this.#line = line
  }
}

function describeTrigger(id: string, trigger: FunctionDefinition["triggers"][number]): string {
  if ("event" in trigger) return `event ${trigger.event}${trigger.if === null ? "" : `  if ${trigger.if}`}`
  const next = cronMoments(trigger, id).next(Date.now())
  const when = next === null ? "never" : `${new Date(next).toISOString().slice(0, 16)}Z  (in ${span(next - Date.now())})`
  return `cron ${trigger.cron}  ${trigger.timezone}   next ${when}`
}

function describe(fact: Fact): string | null {
  if (fact.name === "tick.decided") return `${styleText("cyan", "◷")} ${fact.scheduleId}  ${fact.outcome}  ${fact.runId ?? ""}`
  if (fact.name === "events.accepted" && fact.fanoutId !== null) {
    return `${styleText("magenta", "⇉")} ${count(fact.events)} events, ${count(fact.runs)} runs  ${fact.fanoutId}`
  }
  if (fact.name !== "run.ended" || fact.fanoutId !== null || fact.state !== "completed") return null
  return `${styleText("green", "✓")} ${fact.functionId}  ${fact.runId}  ${span(fact.ms)}`
}
