import { afterAll, beforeAll, expect, it } from "vitest"
import { startPostgres, type TestServer } from "../store/postgres.ts"
import { clusterChaos } from "./cluster.ts"

let server: TestServer
beforeAll(async () => {
  server = await startPostgres()
})
afterAll(() => server.stop())

it("three nodes on one PostgreSQL lose nothing, double nothing and accept nothing stale, whatever happens to them", {
  timeout: 240_000,
}, async () => {
  const plan = { kills: 6, freezes: 2, restarts: 2, cuts: 60, children: 1_500, seed: 1 }
  const report = await clusterChaos(server, plan)
  expect(report).toMatchObject({ lost: [], duplicates: [], unfinished: [], stale: [] })
  expect(report.cuts.before).toBeGreaterThan(5)
  expect(report.cuts.after).toBeGreaterThan(5)
  expect(report.acknowledged).toBeGreaterThan(20)
})
