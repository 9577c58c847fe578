import { setTimeout as delay } from "node:timers/promises"
import { Fanfare } from "#house/index.js"
import { createServer } from "#house/server/create.js"
import { openPlaces } from "./place.ts"

// node bench/steps.ts [sqlite|postgres]: steps a second of a function with five of them, and how fast an event reaches the one of
// 100,000 waiting runs that it is for. Run `npm run build` first.
const kind = process.argv[2] === "postgres" ? "postgres" : "sqlite"
const places = await openPlaces(kind)

async function stepsPerSecond(): Promise<void> {
  const app = new Fanfare({ id: "b" })
  let ended = 0
  app.createFunction({ id: "five", triggers: [{ event: "b/five" }] }, async ({ step }) => {
    for (let i = 0; i < 5; i++) await step.run(`s${i}`, () => i)
    ended++
  })
  const server = await createServer({ client: app, db: await places.next(), logs: "none", concurrency: 1_000 })
  await server.start()
  for (const runs of [2_000, 10_000]) {
    ended = 0
    const began = performance.now()
    await app.send(Array.from({ length: runs }, () => ({ name: "b/five" })))
    while (ended < runs) await delay(2)
    const seconds = (performance.now() - began) / 1_000
    console.log(`${kind}: ${Math.round((runs * 5) / seconds)} steps/s over ${runs} runs of five`)
  }
  await server.stop()
}

async function wakeUps(waits: number): Promise<void> {
  const app = new Fanfare({ id: "w" })
  let begun = 0
  let resolved: (n: number) => void = () => undefined
  app.createFunction({ id: "wait", triggers: [{ event: "w/go" }] }, async ({ event, step }) => {
    begun++
    const found = await step.waitForEvent("it", { event: "w/it", match: "data.n", timeout: "1d" })
    if (found !== null) resolved(Number(event.data["n"]))
  })
  const server = await createServer({ client: app, db: await places.next(), logs: "none", concurrency: 1_000 })
  await server.start()
  for (let from = 0; from < waits; from += 10_000) {
    await app.send(Array.from({ length: Math.min(10_000, waits - from) }, (_, i) => ({ name: "w/go", data: { n: from + i } })))
  }
  while (begun < waits) await delay(20)
  await delay(2_000)
  const times: number[] = []
  for (let i = 0; i < 300; i++) {
    const n = Math.floor((i * waits) / 300)
    const done = new Promise<number>((resolve) => {
      resolved = resolve
    })
    const began = performance.now()
    await app.send({ name: "w/it", data: { n } })
    await done
    times.push(performance.now() - began)
    await delay(5)
  }
  const at = (share: number): string => (times.toSorted((a, b) => a - b)[Math.floor(times.length * share)] ?? 0).toFixed(1)
  console.log(
    `${kind}: ${waits} open waits; from send to the code behind the wait: p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, p99 ${at(0.99)} ms`,
  )
  await server.stop()
}

await stepsPerSecond()
await wakeUps(1_000)
await wakeUps(100_000)
await places.close()
