/** One named figure with the bound that it must keep. */
export interface Gate {
  readonly name: string
  /** What was found, with its denominator. */
  readonly measured: string
  readonly bound: string
  readonly holds: boolean
}

/** One command, and what must be true of the JSON that it prints. */
export interface Check {
  readonly name: string
  /** As anyone can run it from the root of the repository. */
  readonly command: string
  /** What the command costs on two idle cores, in minutes: it is stopped after five times as long. */
  readonly minutes: number
  judge(figures: never): readonly Gate[]
}

interface Simulated {
  readonly seeds: number
  readonly failed: number
  readonly deaths: number
  readonly runs: number
  readonly hours: number
  readonly commands: number
  readonly pairs: number
  readonly unmet: readonly string[]
  readonly twice: number
  readonly unequal: number
}

interface Chaos {
  readonly acknowledged: number
  readonly lost: number
  readonly duplicates: number
  readonly unfinished: number
  readonly orphans: number
}

interface Spread {
  readonly p50: number
  readonly p99: number
  readonly max: number
}

const none = (n: number): boolean => n === 0
const zero = "0"

/** @param long for a release: about five hours on two cores; else less than ten minutes. */
export function checks(long: boolean): readonly Check[] {
  const pick = <T>(briefly: T, thoroughly: T): T => (long ? thoroughly : briefly)
  return [
    simulation(pick(600, 40_000), pick(20, 1_000), long),
    {
      name: "mutants",
      command: "node test/simulation/main.ts --mutants --json",
      minutes: 2,
      judge: ({ mutants }: { mutants: readonly { mutant: string; seed: number | null }[] }) => {
        const found = mutants.filter(({ seed }) => seed !== null)
        const most = Math.max(...found.map(({ seed }) => seed ?? 0))
        const measured = `${found.length} of ${mutants.length} bugs put in on purpose were found, the last one by seed ${most}`
        return [{ name: "sim.mutants", measured, bound: "all", holds: found.length === mutants.length }]
      },
    },
    kills(pick(25, 1_000)),
    cluster(...pick<[number, number, number, number, number]>([4, 1, 1, 40, 1_000], [200, 20, 40, 5_000, 10_000])),
    {
      name: "takeover",
      command: `node --expose-gc bench/run.ts --db postgres --only nodes --json${pick(" --quick", "")}`,
      minutes: pick(0.7, 3),
      judge: ({ nodes }: { nodes: { recoveryMs: { p50: number; max: number }; handBackMs: { p50: number; max: number } } }) => [
        {
          name: "recovery.postgres",
          measured: `SIGKILL of a node to the claim of the last of its 30 runs by another: p50 ${nodes.recoveryMs.p50} ms, max ${nodes.recoveryMs.max} ms of ${pick(2, 10)}`,
          bound: "max 7 s",
          holds: nodes.recoveryMs.max <= 7_000,
        },
        {
          name: "failover.handback",
          measured: `stop of a node to the claim of the last run that it handed back: p50 ${nodes.handBackMs.p50} ms, max ${nodes.handBackMs.max} ms of ${pick(2, 10)}`,
          bound: "max 500 ms",
          holds: nodes.handBackMs.max <= 500,
        },
      ],
    },
    {
      name: "zones",
      command: `node test/core/dst-main.ts --json${pick(" --sample 250", "")}`,
      minutes: pick(0.7, 20),
      judge: (found: { zones: number; changes: number; shapes: number; policies: number; differences: number }) => [
        {
          name: "dst.cases",
          measured: `${found.differences} differences from the oracle in ${found.changes} changes of the clocks of ${found.zones} zones × ${found.shapes} cron lines × ${found.policies} policies`,
          bound: zero,
          holds: none(found.differences),
        },
      ],
    },
    {
      name: "ticks",
      command: `node bench/schedules.ts --schedules ${pick(20_000, 1_000_000)} --seconds ${pick(15, 120)} --json`,
      minutes: pick(0.6, 5),
      judge: (found: { schedules: number; seconds: number; moments: number; p50: number; p99: number; max: number }) => [
        {
          name: "tick.lateness",
          measured: `p50 ${found.p50} ms, p99 ${found.p99} ms, max ${found.max} ms of ${count(found.moments)} moments in ${found.seconds} s, ${count(found.schedules)} schedules`,
          bound: "p99 1 s",
          holds: found.p99 <= 1_000 && found.moments > 0,
        },
      ],
    },
    {
      name: "fuzz",
      command: `node test/protocol/fuzz-main.ts ${pick(300_000, 10_000_000)} ${pick("1 ", "")}--json`,
      minutes: pick(0.3, 10),
      judge: ({
        inputs,
        seed,
        readers,
        broken,
      }: {
        inputs: number
        seed: number
        readers: Record<string, number>
        broken: string | null
      }) => [
        {
          name: "fuzz.inputs",
          measured:
            broken ??
            `${count(inputs)} odd inputs to ${Object.keys(readers).length} readers (${Object.keys(readers).join(", ")}), seed ${seed}: each was read, or refused with a reason`,
          bound: "0 others",
          holds: broken === null && Object.keys(readers).length > 0,
        },
      ],
    },
    versions(pick(10, 600)),
    soak(pick(1, 60)),
  ]
}

function simulation(seeds: number, twice: number, long: boolean): Check {
  return {
    name: "simulation",
    command: `node test/simulation/main.ts --seeds ${seeds} --twice ${twice} --json`,
    minutes: seeds / 900,
    judge: (found: Simulated) => {
      const met = found.pairs - found.unmet.length
      const rest =
        found.unmet.length === 0 ? "" : `; not met: ${found.unmet.slice(0, 12).join(", ")}${found.unmet.length > 12 ? ", …" : ""}`
      return [
        {
          name: "sim.seeds",
          measured: `${found.failed} of ${count(found.seeds)} seeds broke a promise; ${count(found.deaths)} node deaths, ${count(found.runs)} runs, ${count(found.hours)} simulated hours`,
          bound: "0 failed",
          holds: none(found.failed),
        },
        {
          name: "sim.crash_points",
          measured: `${met} of ${found.pairs} pairs of command and fault (${found.commands} commands)${rest}`,
          bound: long ? "all" : "80 %",
          holds: met >= found.pairs * (long ? 1 : 0.8),
        },
        {
          name: "sim.replay",
          measured: `${found.twice - found.unequal} of ${found.twice} seeds did the same again, command by command`,
          bound: "all",
          holds: none(found.unequal),
        },
      ]
    },
  }
}

function kills(cycles: number): Check {
  return {
    name: "kills on SQLite",
    command: `node test/chaos/main.ts --kills ${cycles} --json`,
    minutes: 0.3 + cycles / 120,
    judge: (found: Chaos & { kills: number; damaged: number; restart: Spread; load: Spread; open: Spread }) => [
      ...promises("sqlite", found, `${found.kills} SIGKILLs during a fan-out of 10,000, ${count(found.acknowledged)} sends acknowledged`),
      {
        name: "store.damaged.sqlite",
        measured: `${found.damaged} of 1 integrity checks after these kills`,
        bound: zero,
        holds: none(found.damaged),
      },
      {
        name: "recovery.sqlite",
        measured: `an engine on the file of the killed one, once its process has loaded: p50 ${found.open.p50} ms, p99 ${found.open.p99} ms of ${found.kills}; loading it, from source, took p50 ${found.load.p50} ms; both: max ${found.restart.max} ms`,
        bound: "p99 1 s; on a busy machine no longer than it takes to load",
        holds: found.open.p99 <= 1_000 || found.open.p50 <= found.load.p50,
      },
    ],
  }
}

function cluster(kill: number, freezes: number, restarts: number, cuts: number, children: number): Check {
  return {
    name: "chaos on PostgreSQL",
    command: `node test/chaos/main.ts --db postgres --kills ${kill} --freezes ${freezes} --restarts ${restarts} --cuts ${cuts} --children ${children} --json`,
    minutes: 0.8 + kill / 15,
    judge: (found: Chaos & { done: Record<string, number>; cuts: Record<string, number>; runs: number; stale: number }) => {
      const cut = Object.values(found.cuts).reduce((sum, n) => sum + n, 0)
      const unknown = (found.cuts["after"] ?? 0) + (found.cuts["half-open"] ?? 0)
      const what = `3 nodes, ${found.done["kills"]} SIGKILLs, ${found.done["freezes"]} freezes, ${found.done["restarts"]} restarts of the server, ${cut} connections cut; ${count(found.acknowledged)} sends acknowledged, ${count(found.runs)} runs`
      return [
        ...promises("postgres", found, what),
        {
          name: "writes.stale.postgres",
          measured: `${found.stale} writes of attempts that had lost their run were accepted`,
          bound: zero,
          holds: none(found.stale),
        },
        {
          name: "commit.unknown",
          measured: `${unknown} commits whose answer was cut off, all of them settled: none lost, none done twice`,
          bound: "more than 0, 0 wrong",
          holds: unknown > 0 && none(found.lost + found.duplicates),
        },
      ]
    },
  }
}

function promises(store: string, found: Chaos, denominator: string): Gate[] {
  const gate = (name: string, n: number, what: string): Gate => ({
    name: `${name}.${store}`,
    measured: `${n} ${what}`,
    bound: zero,
    holds: none(n),
  })
  return [
    { ...gate("events.lost", found.lost, `acknowledged events lost: ${denominator}`) },
    gate("runs.duplicate", found.duplicates, "runs too many for an event"),
    gate("runs.unfinished", found.unfinished, "runs that did not complete"),
    gate("orphans", found.orphans, "rows that nothing leads to, of 7 kinds"),
  ]
}

function versions(seconds: number): Check {
  return {
    name: "mixed versions",
    command: `node test/proof/versions.ts --seconds ${seconds} --json`,
    minutes: 0.3 + seconds / 60,
    judge: ({
      schema,
      deploy,
    }: {
      schema: Record<string, string>
      deploy: Record<"deploys" | "acknowledged" | "lost" | "doubled" | "unfinished", number>
    }) => [
      {
        name: "mixed.schema",
        measured: Object.entries(schema)
          .map(([store, what]) => `${store}: ${what}`)
          .join("; "),
        bound: "an empty store gets the schema, a newer one is refused and left alone",
        holds: Object.values(schema).every((what) => what === "ok"),
      },
      {
        name: "mixed.program",
        measured: `${deploy.lost} lost, ${deploy.doubled} doubled, ${deploy.unfinished} unfinished of ${count(deploy.acknowledged)} events during ${deploy.deploys} deploys between two versions of a program`,
        bound: "0, 0, 0",
        holds: none(deploy.lost + deploy.doubled + deploy.unfinished) && deploy.acknowledged > 0,
      },
    ],
  }
}

function soak(minutes: number): Check {
  const long = minutes >= 30
  return {
    name: "soak",
    command: `node --expose-gc test/proof/soak.ts --minutes ${minutes} --json`,
    minutes: minutes + 0.2,
    judge: (
      found: Record<
        | "minutes"
        | "runs"
        | "runsPerSecond"
        | "left"
        | "heapMbPerHour"
        | "heapGrownMb"
        | "rssMbPerHour"
        | "rssGrownMb"
        | "rssMb"
        | "storeBytesPerRun",
        number
      >,
    ) => [
      {
        name: "soak.heap",
        measured: `${found.heapGrownMb} MB (${found.heapMbPerHour} MB/h) after a collection, by the slope over ${found.minutes} min at ${found.runsPerSecond} runs/s, ${count(found.runs)} runs`,
        bound: long ? "1 MB/h" : "8 MB in all",
        holds: long ? found.heapMbPerHour < 1 : found.heapGrownMb < 8,
      },
      {
        name: "soak.rss",
        measured: `${found.rssGrownMb} MB to ${found.rssMb} MB, all threads`,
        bound: long ? "16 MB/h" : "64 MB in all",
        holds: long ? found.rssMbPerHour < 16 : found.rssGrownMb < 64,
      },
      {
        name: "soak.store",
        measured: `${found.storeBytesPerRun} bytes in the file for each run, with its event, step and result`,
        bound: "4,000",
        holds: found.storeBytesPerRun < 4_000,
      },
      {
        name: "soak.left",
        measured: `${found.left} runs not ended 3 s after the last send`,
        bound: "1 % of a minute",
        holds: found.left < found.runsPerSecond * 0.6,
      },
    ],
  }
}

function count(n: number): string {
  return n.toLocaleString("en-US")
}
