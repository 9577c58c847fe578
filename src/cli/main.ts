#!/usr/bin/env node
import { Command, CommanderError, InvalidArgumentError } from "commander"
import { codes, FanfareError } from "../core/errors.ts"
import { limits } from "../core/limits.ts"
import { version } from "../server/version.ts"
import type { Globals } from "./globals.ts"
import type { StartOptions } from "./start.ts"
import { printError, say } from "./output.ts"
import { addSetup } from "./setup.ts"

const exitHelp = `
Exit codes: 0 done · 1 what you asked about failed · 2 wrong usage or input · 3 nothing answers, or the store cannot be used · 5 not found · 130 interrupted
Environment: FANFARE_URL (server to talk to, default http://127.0.0.1:8288) and its FANFARE_SIGNING_KEY, FANFARE_ADMIN_KEY or FANFARE_READ_KEY, FANFARE_DB or DATABASE_URL (store), NO_COLOR`

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
  .argument("[file]", "file that exports your app; default: what fanfare.config.ts says, else apps that are called over HTTP")
  .option("--port <port>", "port of the HTTP API (default 8288)", toPort)
  .option("--db <file>", "store: a file or postgres://… (default .fanfare/dev.db)")
  .option("--fresh", "begin with an empty store")
  .option("-u, --sdk-url <url...>", "apps to call over HTTP, such as http://localhost:3000/api/inngest")
  .option("--no-discovery", "do not look for such apps on this machine")
  .addHelpText("after", "\nExamples: fanfare dev src/jobs.ts\n          fanfare dev -u http://localhost:3000/api/inngest")
  .action(
    async (file: string | undefined, options: { port?: number; db?: string; fresh?: boolean; sdkUrl?: string[]; discovery: boolean }) => {
      const { dev } = await import("./dev/dev.ts")
      await dev({ ...globals(), ...options, ...(file === undefined ? {} : { file }) })
    },
  )

program
  .command("start")
  .description("the server for production: takes events, calls apps over HTTP; keys from FANFARE_SIGNING_KEY and FANFARE_EVENT_KEY")
  .option(
    "--config <file>",
    "config file (default: fanfare.config.ts in this folder, if there is one); flags and environment come before it",
  )
  .option("--port <port>", "port to listen on (default FANFARE_PORT or 8288)", toPort)
  .option("--host <address>", "address to listen on (default: FANFARE_HOST, else all with keys, 127.0.0.1 without)")
  .option("--db <store>", "store: postgres://… or a file (default: FANFARE_DB, DATABASE_URL or .fanfare/fanfare.db)")
  .option("-u, --sdk-url <url...>", "apps to register when it starts (default: FANFARE_SDK_URL)")
  .option("--allow <network...>", "networks to call beside public addresses: 10.0.0.0/8, loopback or private (default: FANFARE_ALLOW)")
  .option("--concurrency <n>", "attempts at the same time (default FANFARE_CONCURRENCY or 200)", Number)
  .option("--retention-days <n>", "days that ended runs are kept (default FANFARE_RETENTION_DAYS or 30)", Number)
  .option("--stop-grace <time>", 'time for running attempts when it stops (default FANFARE_STOP_GRACE or "30s")')
  .option("--events-per-second <n>", "events that each key may send (default FANFARE_EVENTS_PER_SECOND, else no bound)", Number)
  .option("--logs <format>", "pretty, json or none (default FANFARE_LOGS, else pretty on a terminal and json elsewhere)")
  .option("--webhooks <file>", "JSON file of webhooks, by name: scheme, secret (env:NAME), event, id, data (default: FANFARE_WEBHOOKS)")
  .addHelpText("after", "\nExample: FANFARE_SIGNING_KEY=… FANFARE_EVENT_KEY=… fanfare start --db postgres://user:password@host/database")
  .action(async (options: Omit<StartOptions, keyof Globals>) => {
    const { start } = await import("./start.ts")
    await start({ ...globals(), ...options })
  })

program
  .command("apps")
  .description("the apps that are called over HTTP")
  .option("--sync <url>", "ask the app at this URL to register, after a deploy")
  .addHelpText("after", "\nExample: fanfare apps --sync https://app.example.com/api/inngest")
  .action(async (options: { sync?: string }) => (await import("./apps.ts")).listApps({ ...globals(), ...options }))

program
  .command("send")
  .description("send an event, or one per line of a file")
  .argument("<name>", "name of the event")
  .option("--data <json>", "its data, a JSON object")
  .option("--file <path>", "JSON lines: one object of data per line, or whole events ({ name, data, id })")
  .option("--id <id>", "makes the send idempotent for 24 h")
  .option("--watch", "wait until the runs have ended, or the fan-out is paused")
  .option("--canary <n>", 'the first n runs (or "1%") go alone; the others follow when they have completed')
  .option("--breaker <failures>", 'pause this fan-out when more than a share ("5%"), or so many, have failed')
  .option("--breaker-min <n>", "ended runs before the breaker decides (default 100)")
  .option("--spread <time>", 'spread the starts over this time, such as "15m"')
  .option("--rate <rate>", 'runs that start per second, or "100/m"')
  .option("--dry-run", "say what would be sent and what it would start, and send nothing")
  .addHelpText(
    "after",
    `\nExamples: fanfare send app/user.created --data '{"id":1}'\n          fanfare send app/user.created --file users.jsonl --canary 50 --watch`,
  )
  .action(async (name: string, options: Record<string, string>) => {
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

addSetup(program, globals)

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

runs
  .command("why")
  .description("why a run is not running")
  .argument("<id>")
  .addHelpText("after", "\nExample: fanfare runs why run_06fk3…")
  .action(async (id: string) => (await import("./mend.ts")).why(id, globals()))
const mending = {
  cancel: "end a run that has not ended, or all that the filter means",
  replay: "run again for the same event, as a new run: one, or all that the filter means",
  retry: "set failed and cancelled runs going again where they stopped: one, or all that the filter means",
} as const
for (const kind of ["cancel", "replay", "retry"] as const) {
  const command = runs
    .command(kind)
    .description(`${mending[kind]}; counts first, and does it with --yes`)
    .argument("[id]", "one run")
    .option("--state <state>", "runs in this state")
    .option("--function <id>", "of this function")
    .option("--since <duration>", "created within this time, such as 2h")
    .option("--yes", "do it")
    .addHelpText("after", `\nExample: fanfare runs ${kind} --function send-digest --since 2h --yes`)
    .action(async (id: string | undefined, options: object) => (await import("./mend.ts")).mend(kind, id, { ...globals(), ...options }))
  if (kind === "cancel") command.option("--reason <text>", "kept with the run")
  if (kind === "replay")
    command.option("--from-step <id>", "keep the results of all steps before this one").option("--data <json>", "other data for the event")
}

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
  .description("follow a fan-out until it has ended or is stopped; exit code 1 if a run failed or it is stopped")
  .argument("<id>")
  .addHelpText("after", "\nExample: fanfare fanouts watch fan_06fk3…")
  .action(async (id: string) => (await import("./runs.ts")).watch(id, globals()))
fanouts
  .command("retry")
  .description("run what has failed again: all, one cause or one run; finished steps are kept, and a stopped fan-out goes on")
  .argument("<id>")
  .option("--group <fingerprint>", "only failures of this cause, as `fanouts show` names it")
  .option("--run <id>", "only this failed run")
  .option("--data <json>", "with --run: other data for it; it begins anew")
  .addHelpText("after", "\nExample: fanfare fanouts retry fan_06fk3…")
  .action(async (id: string, options: { group?: string; run?: string; data?: string }) =>
    (await import("./fanouts.ts")).retryFanout(id, { ...globals(), ...options }),
  )
fanouts
  .command("pause")
  .description("stop a fan-out, and nothing else; what has begun goes on")
  .argument("<id>")
  .addHelpText("after", "\nExample: fanfare fanouts pause fan_06fk3…")
  .action(async (id: string) => (await import("./fanouts.ts")).pauseFanout(id, globals()))
fanouts
  .command("resume")
  .description("let a fan-out go on that a canary, its breaker or somebody has stopped; what has failed stays failed")
  .argument("<id>")
  .addHelpText("after", "\nExample: fanfare fanouts resume fan_06fk3…")
  .action(async (id: string) => (await import("./fanouts.ts")).resumeFanout(id, globals()))
fanouts
  .command("cancel")
  .description("cancel what has not begun or waits; what is running may end")
  .argument("<id>")
  .addHelpText("after", "\nExample: fanfare fanouts cancel fan_06fk3…")
  .action(async (id: string) => (await import("./fanouts.ts")).cancelFanout(id, globals()))

const schedules = program.command("schedules").description("look at schedules, pause them, catch up on them")
schedules
  .command("list", { isDefault: true })
  .description("schedules of cron triggers and those made at run time, by their ids")
  .option("--tag <tag>", "those with this tag")
  .option("--app <id>", "those of this app")
  .option("--after <cursor>", "the page after this one")
  .option("--limit <n>", `rows: 1 to ${limits.pageRowsMax}`, String(20))
  .addHelpText("after", "\nExample: fanfare schedules list --tag customers")
  .action(async (options: Record<string, string>) => (await import("./schedules.ts")).listSchedules({ ...globals(), ...options }))
schedules
  .command("show")
  .description("one schedule: its rule, its policies and its newest moments with what became of them")
  .argument("<id>")
  .option("--ticks <n>", "moments to show", String(10))
  .addHelpText("after", "\nExample: fanfare schedules show nightly-digest")
  .action(async (id: string, options: { ticks: string }) => (await import("./schedules.ts")).showSchedule(id, { ...globals(), ...options }))
schedules
  .command("next")
  .description("the next moments of a schedule, or of a cron line, with what changes of the clocks do to them")
  .argument("<id>", "of a schedule; or a cron line in quotes, which needs no server")
  .option("-n, --count <n>", `moments: 1 to ${limits.previewMoments}`, String(5))
  .option("--tz <zone>", "zone of a cron line (default UTC)")
  .addHelpText("after", '\nExample: fanfare schedules next "30 2 * * *" --tz Europe/Paris -n 4')
  .action(async (id: string, options: { count: string; tz?: string }) =>
    (await import("./schedules.ts")).nextMoments(id, { ...globals(), ...options }),
  )
schedules
  .command("pause")
  .description("let its moments pass from now on, recorded as paused")
  .argument("<id>")
  .option("--note <text>", "why, for people")
  .addHelpText("after", '\nExample: fanfare schedules pause nightly-digest --note "mail server moves"')
  .action(async (id: string, options: { note?: string }) =>
    (await import("./schedules.ts")).pauseSchedule(id, { ...globals(), ...options }),
  )
schedules
  .command("resume")
  .description("go on with the next moment")
  .argument("<id>")
  .addHelpText("after", "\nExample: fanfare schedules resume nightly-digest")
  .action(async (id: string) => (await import("./schedules.ts")).resumeSchedule(id, globals()))
schedules
  .command("run")
  .description("start what a moment would start, now")
  .argument("<id>")
  .addHelpText("after", "\nExample: fanfare schedules run nightly-digest")
  .action(async (id: string) => (await import("./schedules.ts")).runSchedule(id, globals()))
schedules
  .command("backfill")
  .description(`start past moments that are not in the ledger, at most ${limits.backfillTicks}`)
  .argument("<id>")
  .requiredOption("--from <time>", "first moment: ISO 8601")
  .requiredOption("--to <time>", "last moment: ISO 8601")
  .option("--overlap <policy>", "allow: all at once (default); queue: one at a time, in order")
  .addHelpText("after", "\nExample: fanfare schedules backfill nightly-digest --from 2026-11-01 --to 2026-11-08T00:00:00Z")
  .action(async (id: string, options: { from: string; to: string; overlap?: "allow" | "queue" }) =>
    (await import("./schedules.ts")).backfillSchedule(id, { ...globals(), ...options }),
  )

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
  .action(async (id: string, options: { newRuns?: "keep" | "skip" }) =>
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

const groups = [runs, fanouts, schedules]
const commands = [...program.commands.filter((each) => !groups.includes(each)), ...groups.flatMap((group) => group.commands)]
for (const command of commands) {
  command.exitOverride().option("--json", "print JSON").option("--url <url>", "server to talk to")
}

function globals(): Globals {
  const given: { url?: string; json?: boolean } = Object.assign(
    {},
    ...[program, ...program.commands, ...groups.flatMap((group) => group.commands)].map((each) => each.opts()),
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
