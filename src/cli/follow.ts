import { setTimeout as delay } from "node:timers/promises"
import { type FinalState, finalStates } from "../core/run.ts"
import type { FanoutSummary, RunDetail } from "../core/views.ts"
import { call } from "./api.ts"
import type { Globals } from "./globals.ts"
import { fanoutLine, printJson, say } from "./output.ts"

const pollMs = 200

/** What to do with a fan-out that was stopped. */
export function wayOut(id: string): string {
  return `run what failed again, then the rest: fanfare fanouts retry ${id}\ngo on as it is: fanfare fanouts resume ${id}\ngive it up: fanfare fanouts cancel ${id}`
}

/** Follows a fan-out until all its runs have ended, or it is stopped and nothing of it is under way any more: with a bar on a terminal and a line per tenth elsewhere. */
export async function followFanout(id: string, globals: Globals): Promise<FanoutSummary> {
  let tenth = -1
  for (;;) {
    const fanout = await call(globals, "fanout", { params: { id } })
    const ended = fanout.completed + fanout.failed + fanout.cancelled
    const stopped = fanout.state === "paused" && fanout.running === 0
    const done = fanout.state === "ended" || stopped
    const nowTenth = done ? 10 : Math.floor((ended / Math.max(1, fanout.total)) * 10)
    if (globals.json) {
      if (nowTenth !== tenth) printJson(fanout)
    } else if (process.stderr.isTTY) process.stderr.write(`\r\u001b[2K${fanoutLine(fanout)}${done ? "\n" : ""}`)
    else if (nowTenth !== tenth) say(`${id} ${fanoutLine(fanout)}`)
    tenth = nowTenth
    if (stopped && !globals.json) say(`paused: ${fanout.reason ?? ""}\n${wayOut(id)}`)
    if (done) return fanout
    await delay(pollMs)
  }
}

/** Waits for a run to end, then for the fan-outs that it sent. */
export async function followRun(id: string, globals: Globals): Promise<RunDetail> {
  let run = await call(globals, "run", { params: { id } })
  while (!isFinal(run.state)) {
    await delay(pollMs)
    run = await call(globals, "run", { params: { id } })
  }
  return run
}

/** The fan-outs that a run sent, of the newest ones. */
export async function fanoutsOf(runId: string, globals: Globals): Promise<FanoutSummary[]> {
  const page = await call(globals, "fanouts")
  return page.items.filter((fanout) => fanout.runId === runId)
}

export function isFinal(state: string): state is FinalState {
  return finalStates.some((final) => final === state)
}
