import type { Gate } from "./gates.ts"

/** What `npm run proof` found. */
export interface Figures {
  readonly machine: string
  readonly checks: readonly {
    readonly name: string
    readonly command: string
    readonly measuredAt: string
    readonly seconds: number
    /** Of the machine, before and after. */
    readonly loads: string
    readonly gates: readonly Gate[]
    readonly figures: unknown
  }[]
}

/** docs/figures.md. */
export function page({ machine, checks }: Figures): string {
  return [
    "# Figures of reliability",
    "",
    "What `npm run proof` found (ten minutes; `-- --long`: hours), generated from `test/proof/figures.json`; do not edit. Each gate has a name and a",
    "bound, and the command fails when one does not hold. Figures stand with their denominators: a zero says no more than what it was counted over.",
    "Commands are for the root of the repository, after `npm ci` and `npm run build`.",
    "",
    `Measured on ${machine}. Times are those of a machine with the load that is given: above the number of its cores they say more about the neighbours.`,
    "",
    ...checks.flatMap(({ name, command, measuredAt, seconds, loads, gates }) => [
      `## ${name[0]?.toUpperCase()}${name.slice(1)}`,
      "",
      `\`${command}\` · ${measuredAt.slice(0, 10)}, ${seconds} s, load ${loads}`,
      "",
      "| gate | found | bound | |",
      "| --- | --- | --- | --- |",
      ...gates.map(
        ({ name: gate, measured, bound, holds }) => `| \`${gate}\` | ${measured} | ${bound} | ${holds ? "holds" : "**does not hold**"} |`,
      ),
      "",
    ]),
    "## What was not tested",
    "",
    "- Power loss, and disks that say they have synced and have not: SIGKILL leaves what the operating system has already been given.",
    "- Several machines: all nodes ran on one, with one clock. Skew between nodes, up to 30 s, was simulated only.",
    "- PostgreSQL before 18, managed and distributed ones, failover to a replica; other file systems than the one of this machine.",
    "- More than three real nodes under chaos (four in `npm run bench`), and long freezes of the server itself.",
    "- Two versions of Fanfare's own schema side by side: there has been one so far. What a newer one is met with was tested.",
    "- A day or more of steady load.",
    "",
    "A seed that once broke a promise stays in `test/simulation/simulation.test.ts`. Simulated hours are cheap when nothing happens in them: read seeds, node",
    "deaths and pairs of command and fault beside them.",
    "",
  ].join("\n")
}
