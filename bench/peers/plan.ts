/** How much of each workload, and how long at most. */
export interface Plan {
  readonly rounds: number
  readonly fanout: Size
  /** Only for systems that are quick enough to get there within the cap. */
  readonly large: Size | null
  readonly step: Size
  readonly join: Size
  readonly latency: Size
  readonly fairness: Size
  readonly recovery: Size
  /** Runs to finish before their cost is looked at, with the time to do it in, and the fan-out that is then measured. */
  readonly history: Size & { readonly probe: number }
}

interface Size {
  readonly jobs: number
  readonly capMs: number
}

/** About five minutes on two idle cores: shows that everything works and where things stand. */
export const short: Plan = {
  rounds: 1,
  fanout: { jobs: 2_000, capMs: 8_000 },
  large: null,
  step: { jobs: 1_000, capMs: 8_000 },
  join: { jobs: 500, capMs: 8_000 },
  latency: { jobs: 40, capMs: 4_000 },
  fairness: { jobs: 5_000, capMs: 6_000 },
  recovery: { jobs: 300, capMs: 15_000 },
  history: { jobs: 10_000, capMs: 5_000, probe: 1_000 },
}

/** About an hour: for figures that are published. */
export const long: Plan = {
  rounds: 3,
  fanout: { jobs: 10_000, capMs: 60_000 },
  large: { jobs: 100_000, capMs: 120_000 },
  step: { jobs: 10_000, capMs: 60_000 },
  join: { jobs: 10_000, capMs: 90_000 },
  latency: { jobs: 300, capMs: 30_000 },
  fairness: { jobs: 20_000, capMs: 20_000 },
  recovery: { jobs: 2_000, capMs: 90_000 },
  history: { jobs: 1_000_000, capMs: 300_000, probe: 5_000 },
}
