import { expect, it } from "vitest"
import { fuzz } from "./fuzz.ts"

it("whatever comes from outside is read, or refused with a reason", { timeout: 30_000 }, () => {
  expect(() => fuzz(4_000, 11)).not.toThrow()
})
