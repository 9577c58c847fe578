import { afterEach, beforeEach } from "vitest"
import type { Unit, UnitResult } from "../../src/core/change.ts"
import type { ClaimedRun } from "../../src/core/run.ts"
import type { OpenStore } from "../../src/store/open.ts"
import type { Store } from "../../src/store/store.ts"
import type { VirtualClock } from "../../src/testing/clock.ts"

export interface StoreUnderTest {
  readonly opened: OpenStore
  /** The store's time, when the test may move it. */
  readonly clock: VirtualClock | null
  close(): Promise<void>
}

/** The store of the test that runs. */
export let under: StoreUnderTest
export let store: Store

/** Opens a store for each test of the suite around this call. */
export function openEach(open: () => Promise<StoreUnderTest>): void {
  beforeEach(async () => {
    under = await open()
    store = under.opened.store
  })
  afterEach(() => under.close())
}

export async function commit(...units: Unit[]): Promise<readonly UnitResult[]> {
  return (await store.turn({ units, claim: null })).results
}

export async function claim(limit = 100, functionIds: readonly string[] = ["app-f"], after = ""): Promise<readonly ClaimedRun[]> {
  return (await store.turn({ units: [], claim: { nodeId: "node_a", functionIds, limit, after } })).claim?.runs ?? []
}
