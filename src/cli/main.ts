#!/usr/bin/env node
import { Command, CommanderError, InvalidArgumentError } from "commander"
import { codes, FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import { version } from "../server/version.ts"
import type { Globals } from "./globals.ts"
import { printError, say } from "./output.ts"

const exitHelp = `
Exit codes: 0 done · 1 what you asked about failed · 2 wrong usage or input · 3 nothing answers, or the store cannot be used · 5 not found · 130 interrupted
Environment: FANFARE_URL (server to talk to, default http://127.0.0.1:8288), FANFARE_DB or DATABASE_URL (store), NO_COLOR`

const program = new Command("fanfare")
  .description("Reliable scheduling and fan-out for TypeScript")
  .version(version)
  .option("--url <url>", "server to talk to (default: FANFARE_URL or http://127.0.0.1:8288)")
  .option("--json", "print JSON: one document, or one per line for streams")
  .addHelpText("after", exitHelp)
  .showSuggestionAfterError()
  .exitOverride()

program
  .command("dev")
  .description("run the functions of a file here: reloads on change, HTTP API on 127.0.0.1")
  .argument("[file]", "file that exports your app; default: what fanfare.config.ts says")
  .option("--port <port>", "port of the HTTP API (default 8288)", toPort)
  .option("--db <file>", "store: a file or postgres://… (default .fanfare/dev.db)")
  .option("--fresh", "begin with an empty store")
  .addHelpText("after", "\nExample: fanfare dev src/jobs.ts")
  .action(async (file: string | undefined, options: { port?: number; db?: string; fresh?: boolean }) => {
    const { dev } = await import("./dev/dev.ts")
    await dev({ ...globals(), ...options, ...(file === undefined ? {} : { file }) })
  })

program
  .command("send")
  .description("send an event, or one per line of a file")
  .argument("<name>", "name of the event")
  .option("--data <json>", "its data, a JSON object")
  .option("--file <path>", "JSON lines: one object of data per line, or whole events ({ name, data, id })")
  .option("--id <id>", "makes the send idempotent for 24 h")
  .option("--watch", "wait until the runs have ended")
  .addHelpText(
    "after",
    `\nExamples: fanfare send app/user.created --data '{"id":1}'\n          fanfare send app/user.created --file users.jsonl --watch`,
  )
  .action(async (name: string, options: { data?: string; file?: string; id?: string; watch?: boolean }) => {
    const { send } = await import("./send.ts")
    await send(name, { ...globals(), ...options })
  })

program
  .command("trigger")
  .description("start one run of a function now, such as a cron function")
  .argument("<function>", "id of the function")
  .option("--data <json>", "data of the event it gets")
  .option("--watch", "wait until the run, and the fan-outs it sends, have ended")
  .addHelpText("after", "\nExample: fanfare trigger nightly-import --watch")
  .action(async (id: string, options: { data?: string; watch?: boolean }) => {
    const { trigger } = await import("./send.ts")
    await trigger(id, { ...globals(), ...options })
  })

const runs = program.command("runs").description("look at runs")
runs
  .command("list", { isDefault: true })
  .description("the newest runs")
  .option("--state <state>", "scheduled, ready, running, waiting, completed, failed, cancelled or skipped")
  .option("--function <id>", "of this function")
  .option("--fanout <id>", "of this fan-out")
  .option("--after <cursor>", "the page after this one")
  .option("--limit <n>", `rows: 1 to ${limits.pageRowsMax}`, String(20))
  .addHelpText("after", "\nExample: fanfare runs list --state failed")
  .action(async (options: Record<string, string>) => (await import("./runs.ts")).listRuns({ ...globals(), ...options }))
runs
  .command("show")
  .description("one run: its attempts, steps, logs, output")
  .argument("<id>")
  .addHelpText("after", "\nExample: fanfare runs show run_06fk3…")
  .action(async (id: string) => (await import("./runs.ts")).showRun(id, globals()))
runs
  .command("watch")
  .description("follow a run, or a fan-out, until it has ended; exit code 1 if it failed")
  .argument("<id>", "of a run or a fan-out")
  .addHelpText("after", "\nExample: fanfare runs watch fan_06fk3…")
  .action(async (id: string) => (await import("./runs.ts")).watch(id, globals()))

const fanouts = program.command("fanouts").description("look at fan-outs and repair them")
fanouts
  .command("list", { isDefault: true })
  .description("the newest fan-outs")
  .option("--after <cursor>", "the page after this one")
  .option("--limit <n>", `rows: 1 to ${limits.pageRowsMax}`, String(20))
  .addHelpText("after", "\nExample: fanfare fanouts list")
  .action(async (options: { after?: string; limit?: string }) => (await import("./fanouts.ts")).listFanouts({ ...globals(), ...options }))
fanouts
  .command("show")
  .description("one fan-out: its counts, and its failures by their cause")
  .argument("<id>")
  .addHelpText("after", "\nExample: fanfare fanouts show fan_06fk3…")
  .action(async (id: string) => (await import("./fanouts.ts")).showFanout(id, globals()))
fanouts
  .command("watch")
  .description("follow a fan-out until it has ended; exit code 1 if a run failed")
  .argument("<id>")
  .addHelpText("after", "\nExample: fanfare fanouts watch fan_06fk3…")
  .action(async (id: string) => (await import("./runs.ts")).watch(id, globals()))
fanouts
  .command("retry")
  .description("run what has failed again: all of it, or the failures of one cause; finished steps are kept")
  .argument("<id>")
  .option("--group <fingerprint>", "only failures of this cause, as `fanouts show` names it")
  .addHelpText("after", "\nExample: fanfare fanouts retry fan_06fk3…")
  .action(async (id: string, options: { group?: string }) => (await import("./fanouts.ts")).retryFanout(id, { ...globals(), ...options }))
fanouts
  .command("cancel")
  .description("cancel what has not begun or waits; what is running may end")
  .argument("<id>")
  .addHelpText("after", "\nExample: fanfare fanouts cancel fan_06fk3…")
  .action(async (id: string) => (await import("./fanouts.ts")).cancelFanout(id, globals()))

const functions = program
  .command("functions")
  .description("look at functions, pause them, let them go on")
  .addHelpText("after", "\nExamples: fanfare functions\n          fanfare functions pause send-digest")
functions
  .command("list", { isDefault: true })
  .description("the functions, their triggers and next moments")
  .addHelpText("after", "\nExample: fanfare functions --json")
  .action(async () => (await import("./runs.ts")).listFunctions(globals()))
functions
  .command("pause")
  .description("start no more runs of a function, on any node; what executes goes on")
  .argument("<id>")
  .option("--new-runs <policy>", "what becomes of new ones: keep them in line, or skip them (default keep)")
  .addHelpText("after", "\nExample: fanfare functions pause send-digest --new-runs skip")
  .action(async (id: string, options: { newRuns?: string }) =>
    (await import("./limits.ts")).pauseFunction(id, { ...globals(), ...options }),
  )
functions
  .command("resume")
  .description("let a paused function go on")
  .argument("<id>")
  .addHelpText("after", "\nExample: fanfare functions resume send-digest")
  .action(async (id: string) => (await import("./limits.ts")).resumeFunction(id, globals()))

const limitsCommand = program
  .command("limits")
  .description("look at limits, and change them while everything runs")
  .addHelpText("after", "\nExamples: fanfare limits\n          fanfare limits set fn:shop-send-digest 20")
limitsCommand
  .command("list", { isDefault: true })
  .description("limits that runs count against or wait for, and those set by hand")
  .option("--after <limit>", "the page after this one")
  .option("--limit <n>", `rows: 1 to ${limits.pageRowsMax}`, String(50))
  .addHelpText("after", "\nExample: fanfare limits list")
  .action(async (options: { after?: string; limit?: string }) => (await import("./limits.ts")).listLimits({ ...globals(), ...options }))
limitsCommand
  .command("set")
  .description("the most of a limit from now on, in place of what its functions say; 0 starts nothing more")
  .argument("<limit>", "as `limits list` names it")
  .argument("<max>")
  .addHelpText("after", "\nExample: fanfare limits set fn:shop-send-digest 20")
  .action(async (id: string, max: string) => (await import("./limits.ts")).setLimit(id, max, globals()))
limitsCommand
  .command("reset")
  .description("let hold again what the functions say")
  .argument("<limit>")
  .addHelpText("after", "\nExample: fanfare limits reset fn:shop-send-digest")
  .action(async (id: string) => (await import("./limits.ts")).resetLimit(id, globals()))

program
  .command("nodes")
  .description("the engines that share the store, and what they host")
  .addHelpText("after", "\nExample: fanfare nodes --json")
  .action(async () => (await import("./runs.ts")).listNodes(globals()))

const storeHelp = "store: postgres://… or the path of an SQLite file (default: FANFARE_DB, DATABASE_URL or .fanfare/fanfare.db)"
program
  .command("migrate")
  .description("bring a store to this version's schema; engines do it themselves when they start")
  .option("--db <store>", storeHelp)
  .option("--schema <name>", "PostgreSQL schema (default fanfare)")
  .option("--dry-run", "print the statements instead")
  .option("--status", "say what is in place; exit code 1 when something is to come")
  .addHelpText("after", "\nExample: fanfare migrate --db postgres://user:password@host/database --dry-run")
  .action(async (options: { db?: string; schema?: string; dryRun?: boolean; status?: boolean }) => {
    const { migrate } = await import("./maintenance.ts")
    await migrate({ ...globals(), ...options })
  })

program
  .command("doctor")
  .description("look a store over, and say what to do about what is wrong; exit code 1 when something is")
  .option("--db <store>", storeHelp)
  .option("--schema <name>", "PostgreSQL schema (default fanfare)")
  .option("--fix", "put right what nothing leads to any more")
  .addHelpText("after", "\nExample: fanfare doctor --db .fanfare/dev.db")
  .action(async (options: { db?: string; schema?: string; fix?: boolean }) => {
    const { doctor } = await import("./maintenance.ts")
    await doctor({ ...globals(), ...options })
  })

program
  .command("move")
  .description("move everything into another store; may be broken off and run again")
  .requiredOption("--from <store>", "the store to leave; stop its engines first")
  .requiredOption("--to <store>", "an empty one")
  .option("--schema <name>", "PostgreSQL schema (default fanfare)")
  .addHelpText("after", "\nExample: fanfare move --from sqlite:.fanfare/fanfare.db --to postgres://user:password@host/database")
  .action(async (options: { from: string; to: string; schema?: string }) => {
    const { move } = await import("./maintenance.ts")
    await move({ ...globals(), ...options })
  })

for (const command of [...program.commands.filter((each) => each !== runs && each !== fanouts), ...runs.commands, ...fanouts.commands]) {
  command.exitOverride().option("--json", "print JSON").option("--url <url>", "server to talk to")
}

function globals(): Globals {
  const given: { url?: string; json?: boolean } = Object.assign(
    {},
    ...[program, ...program.commands, ...runs.commands, ...fanouts.commands].map((each) => each.opts()),
  )
  return { url: given.url ?? process.env["FANFARE_URL"] ?? "http://127.0.0.1:8288", json: given.json === true }
}

function toPort(text: string): number {
  const port = Number(text)
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port
  throw new InvalidArgumentError("It must be a whole number from 0 to 65535.")
}

// Whoever reads our output may have had enough of it: `fanfare runs list | head`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1))

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else if (error instanceof FanfareError) {
    printError(error)
    process.exitCode = codes[error.code].exit
  } else {
    say(`fanfare: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
    process.exitCode = 1
  }
}
