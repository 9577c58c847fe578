export { createHarness } from "./testing/harness.ts"
export type { Harness, HarnessOptions } from "./testing/harness.ts"
export { VirtualClock } from "./testing/clock.ts"
export { seededRandom } from "./testing/random.ts"
