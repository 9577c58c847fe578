import { limits } from "../../src/core/limits.ts"
import { toOpenTelemetry } from "../../src/otel/meter.ts"
import { histograms, metrics } from "../../src/server/metrics.ts"
import { commandsOf, examplesOf, program } from "./cli.ts"
import { aboutOf, type Exported, exportsOf, type Member, membersOf, sourceOf } from "./source.ts"

const made = "<!-- Made from the source by `npm run docs`: change the comments there. -->"

/** Text in a table; `<` would begin a tag outside of code. */
function cell(text: string): string {
  const parts = text.replaceAll("|", "\\|").split("`")
  return parts.map((part, i) => (i % 2 === 0 ? part.replaceAll("<", "&lt;") : part)).join("`")
}

function code(text: string): string {
  const fence = text.includes("`") ? "``" : "`"
  return text === "" ? "" : `${fence}${text.replaceAll("|", "\\|")}${fence}`
}

/** The pages that are made from the source, by their path below docs. */
export async function madePages(): Promise<ReadonlyMap<string, string>> {
  return new Map([
    ["reference/options.md", optionsPage("Options of functions, sends and schedules", functionSections)],
    ["reference/server-options.md", optionsPage("Options of servers and tools", serverSections)],
    ["reference/api.md", apiPage()],
    ["reference/objects.md", objectsPage()],
    ["reference/limits.md", limitsPage()],
    ["reference/cli.md", await cliPage()],
    ["reference/metrics.md", metricsPage()],
  ])
}

type Section = readonly [title: string, intro: string, ...types: (readonly [path: string, name: string, prefix?: string])[]]

const functionSections: readonly Section[] = [
  ["new Fanfare(…)", "The app. See [functions](../learn/functions.md).", ["sdk/client.ts", "FanfareOptions"]],
  [
    "createFunction(options, handler)",
    "See [functions](../learn/functions.md). `onFailure(context)` stands here too: it is run for each run that has failed for good.",
    ["core/definition.ts", "FunctionOptions"],
    ["core/definition.ts", "CancelRule", "cancelOn[]."],
  ],
  ["Triggers", "See [events](../learn/events.md).", ["core/definition.ts", "EventTrigger"], ["core/definition.ts", "CronTrigger"]],
  [
    "Flow control",
    "Options of `createFunction`. See [flow control](../learn/flow-control.md).",
    ["core/flow.ts", "FlowOptions"],
    ["core/flow.ts", "ConcurrencyOptions", "concurrency."],
    ["core/flow.ts", "ThrottleOptions", "throttle."],
    ["core/flow.ts", "RateLimitOptions", "rateLimit."],
    ["core/flow.ts", "DebounceOptions", "debounce."],
    ["core/flow.ts", "BatchOptions", "batchEvents."],
    ["core/flow.ts", "SingletonOptions", "singleton."],
    ["core/flow.ts", "Keyed", "…."],
  ],
  [
    "send(events, options), fanOut(options)",
    "See [fan-outs](../learn/fan-outs.md).",
    ["core/gate.ts", "FanOutRules"],
    ["sdk/client.ts", "SendOptions"],
    ["sdk/client.ts", "EventSource"],
    ["sdk/step.ts", "ItemOptions"],
  ],
  [
    "Steps",
    "See [steps](../learn/steps.md).",
    ["sdk/step.ts", "WaitForEventOptions", "waitForEvent: "],
    ["sdk/step.ts", "WaitForSignalOptions", "waitForSignal: "],
    ["sdk/step.ts", "InvokeOptions", "invoke: "],
    ["sdk/step.ts", "FetchInit", "fetch: "],
    ["sdk/step.ts", "FanOutOptions", "fanOut: "],
  ],
  [
    "Schedules",
    'Of `fanfare.schedules.upsert`; a rule is one of `cron` (with `timezone`, `dst`), `every: "15m"` and `at: moment`. Policies go with cron triggers too. See [schedules](../learn/schedules.md).',
    ["core/schedules.ts", "ScheduleInput"],
    ["core/schedules.ts", "ScheduleTarget"],
    ["core/schedule.ts", "PolicyInput"],
    ["core/cron.ts", "DstPolicy", "dst."],
  ],
]

const serverSections: readonly Section[] = [
  [
    "createServer(options)",
    "See [one process](../deploy/one-process.md).",
    ["server/create.ts", "ServerOptions"],
    ["server/front.ts", "HttpOptions", "http."],
    ["server/access.ts", "Keys", "http."],
    ["server/webhooks.ts", "Webhook", "http.webhooks[]."],
  ],
  ["postgres(url, options)", "See [PostgreSQL](../deploy/postgres.md).", ["store/open-postgres.ts", "PostgresStoreOptions"]],
  ["serve(options)", "See [serverless](../deploy/serverless.md).", ["sdk/serve.ts", "ServeOptions"]],
  ["createHarness(options)", "See [the test kit](../test/test-kit.md).", ["testing/harness.ts", "HarnessOptions"]],
  [
    "defineConfig(config)",
    "The file `fanfare.config.ts`, which `fanfare dev` reads when it is given no file.",
    ["config.ts", "FanfareConfig"],
  ],
  ["encryption(options)", "See [middleware](../learn/middleware.md).", ["sdk/encryption.ts", "EncryptionOptions"]],
]

function optionsPage(title: string, parts: readonly Section[]): string {
  const sections = parts.map(([name, intro, ...types]) => {
    const rows = types.flatMap(([path, type, prefix = ""]) =>
      membersOf(path, type)
        .filter((each) => each.type !== "never" && (each.type !== "" || each.about !== ""))
        .map((member) => `| ${code(`${prefix}${member.name}`)} | ${code(member.type)} | ${cell(aboutOfMember(member))} |`),
    )
    return `## ${name}\n\n${intro}\n\n| option | type | |\n| --- | --- | --- |\n${[...new Set(rows)].join("\n")}`
  })
  return `# ${title}\n\n${made}\n\nA \`?\` says that it may be left out. Durations are milliseconds or text such as \`"30s"\`, \`"2h30m"\`, \`"7d"\`.\n\n${sections.join("\n\n")}\n`
}

/** What is said of a field, or else of the type that it has. */
function aboutOfMember({ type, about }: Member): string {
  if (about !== "" || !/^[A-Z]\w+Options$/.test(type)) return about
  return aboutOf("core/flow.ts", type)
}

const entries: readonly (readonly [title: string, entry: string])[] = [
  ["fanfare", "index.ts"],
  ["fanfare/server", "server.ts"],
  ["fanfare/postgres", "postgres.ts"],
  ["fanfare/sqlite", "sqlite.ts"],
  ["fanfare/testing", "testing.ts"],
  ["fanfare/config", "config.ts"],
  ["fanfare/serve", "sdk/serve.ts"],
]

const objects: readonly (readonly [title: string, path: string, name: string])[] = [
  ["fanfare", "sdk/client.ts", "Fanfare"],
  ["step", "sdk/step.ts", "StepTools"],
  ["The handler's context", "sdk/function.ts", "HandlerContext"],
  ["fanfare.fanouts", "core/fanouts.ts", "Fanouts"],
  ["fanfare.runs", "core/runs.ts", "Runs"],
  ["fanfare.schedules", "sdk/schedules.ts", "AppSchedules"],
  ["fanfare.functions", "core/flow-control.ts", "Functions"],
  ["fanfare.limits", "core/flow-control.ts", "Limits"],
  ["A server", "server/create.ts", "FanfareServer"],
  ["A harness", "testing/harness.ts", "Harness"],
  ["A middleware", "core/middleware.ts", "Middleware"],
]

function apiPage(): string {
  const exported = entries.map(([title, entry]) => {
    const names = exportsOf(entry)
    const values = names.filter(({ isType }) => !isType)
    const types = names.filter(({ isType }) => isType)
    const rows = values.map((each) => `| ${code(each.name)} | ${cell(firstSentence(aboutOfExport(each)))} |`)
    const list = types.map(({ name }) => code(name)).join(", ")
    return `## ${title}\n\n| | |\n| --- | --- |\n${rows.join("\n")}\n${list === "" ? "" : `\nTypes: ${list}.\n`}`
  })
  const adapters =
    "`fanfare/node`, `fanfare/express`, `fanfare/fastify`, `fanfare/koa`, `fanfare/hono`, `fanfare/next`, `fanfare/lambda`, `fanfare/workers`"
  return `# The API\n\n${made}\n\nWhat the packages of the name export. [Options](options.md), [options of servers and tools](server-options.md), [what the objects do](objects.md).\n\n${exported.join("\n")}\n## Adapters\n\n${adapters} each export \`serve(options)\` for that platform, and the type \`ServeOptions\`.\n`
}

function objectsPage(): string {
  const methods = objects.map(([title, path, name]) => {
    const rows = membersOf(path, name)
      .filter(({ about }) => !about.startsWith("For the engine"))
      .map((member) => `| ${code(nameOf(member))} | ${cell(member.about)} |`)
    return `## ${title}\n\n| | |\n| --- | --- |\n${[...new Set(rows)].join("\n")}`
  })
  return `# What the objects do\n\n${made}\n\nWhere they come from: [the API](api.md).\n\n${methods.join("\n\n")}\n`
}

function nameOf({ name, type }: Member): string {
  return type.startsWith("(") ? `${name}()` : name
}

function aboutOfExport({ path, name }: Exported): string {
  return aboutOf(path, name)
}

function firstSentence(text: string): string {
  return /^.*?[.:](?= [A-Z`\d]|$)/.exec(text)?.[0].replace(/:$/, ".") ?? text
}

function limitsPage(): string {
  const lines = sourceOf("core/limits.ts").split("\n")
  const groups: { about: string; names: string[] }[] = []
  let comment = ""
  for (const line of lines) {
    const about = /^ {2}\/\*\* (.*) \*\/$/.exec(line)?.[1]
    const name = /^ {2}(\w+): /.exec(line)?.[1]
    if (about !== undefined) {
      comment = about
      groups.push({ about, names: [] })
    } else if (name !== undefined && name in limits) {
      if (comment === "" || groups.length === 0) groups.push({ about: "", names: [] })
      groups.at(-1)?.names.push(name)
    } else if (line.trim() === "") comment = ""
  }
  const rows = groups.flatMap(({ about, names }) =>
    names.map((name, i) => `| ${code(name)} | ${shown(name, limits[name as keyof typeof limits])} | ${i === 0 ? cell(about) : "″"} |`),
  )
  return `# Limits\n\n${made}\n\nWhat is over a limit is refused with an error that names the field and the bound, before anything is written.\n\n| name | value | |\n| --- | --- | --- |\n${rows.join("\n")}\n`
}

const units: readonly (readonly [number, string])[] = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
  [1_000, "s"],
  [1, "ms"],
]

function shown(name: string, value: number | readonly number[]): string {
  if (typeof value !== "number") return value.map((each) => shown(name, each)).join(", ")
  if (/Ts(Min|Max)$/.test(name)) return new Date(value).toISOString().slice(0, 10)
  if (name.endsWith("Ms")) {
    const [unit, label] = units.find(([each]) => value % each === 0 && value >= each) ?? [1, "ms"]
    return `${(value / unit).toLocaleString("en-US")} ${label}`
  }
  const text = value % 1024 === 0 && /(Bytes|Chars)$/.test(name) ? `${kib(value)}${name.endsWith("Chars") ? " characters" : "B"}` : null
  return text ?? value.toLocaleString("en-US")
}

function kib(value: number): string {
  return value % 1024 ** 2 === 0 ? `${value / 1024 ** 2} Mi` : `${value / 1024} Ki`
}

async function cliPage(): Promise<string> {
  const root = await program()
  const own = (flags: string): boolean => !["--url <url>", "--json", "-h, --help"].includes(flags)
  const groups = new Map<string, string[]>()
  for (const { path, command } of commandsOf(root)) {
    const group = path.includes(" ") ? (path.split(" ")[0] ?? "") : ""
    const args = command.registeredArguments.map((each) => (each.required ? `<${each.name()}>` : `[${each.name()}]`)).join(" ")
    const example = examplesOf(command).map((each) => ` Example: ${code(each)}.`)
    const rows = [
      `| ${code(`fanfare ${path}${args === "" ? "" : ` ${args}`}`)} | ${cell(sentence(command.description()))}${example.join("")} |`,
      ...command.registeredArguments
        .filter(({ description }) => description !== "")
        .map((each) => `| · ${code(each.name())} | ${cell(each.description)} |`),
      ...command.options
        .filter(({ flags }) => own(flags))
        .map(
          ({ flags, description, defaultValue }) =>
            `| · ${code(flags)} | ${cell(description)}${typeof defaultValue === "string" ? ` (default ${defaultValue})` : ""} |`,
        ),
    ]
    groups.set(group, [...(groups.get(group) ?? []), ...rows])
  }
  const global = root.options.map(({ flags, description }) => `| ${code(flags)} | ${cell(sentence(description))} |`)
  const table = (rows: readonly string[]): string => `| | |\n| --- | --- |\n${rows.join("\n")}`
  const sections = [...groups].map(([group, rows]) => `## ${group === "" ? "Commands" : `fanfare ${group}`}\n\n${table(rows)}`)
  return `# The command line\n\n${made}\n\n\`fanfare COMMAND --help\` says the same. The first command of a group is meant when none is named: \`fanfare runs\` is \`fanfare runs list\`.\n[Exit codes](errors.md#exit-codes), [environment](environment.md).\n\n## For every command\n\n${table(global)}\n\n${sections.join("\n\n")}\n`
}

function sentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1)
  return /[.!?]$/.test(begun) ? begun : `${begun}.`
}

/** What `/metrics` gives: name, kind and meaning. */
export function metricsOf(): { readonly name: string; readonly type: string; readonly help: string }[] {
  const plain = metrics.map(({ name, kind, help }) => ({ name, type: kind, help }))
  return [...plain, ...histograms.map(({ name, help }) => ({ name, type: "histogram", help }))]
}

function metricsPage(): string {
  const rows = metricsOf().map(({ name, type, help }) => {
    const other = name.startsWith("fanfare_") ? code(toOpenTelemetry(name).name) : ""
    return `| ${code(name)} | ${type} | ${cell(help)} | ${other} |`
  })
  return `# Metrics\n\n${made}\n\nWhat \`GET /metrics\` gives, in the text format of Prometheus. How to use them: [metrics](../operate/metrics.md). Counters and histograms are of this node since it started; gauges that say so are of all nodes. An SDK of [OpenTelemetry](../operate/opentelemetry.md#metrics) gets the same by other names, with the unit \`s\` where ours end in seconds.\n\n| name | kind | | OpenTelemetry |\n| --- | --- | --- | --- |\n${rows.join("\n")}\n`
}
