import { appendFileSync } from "node:fs"
import { setTimeout as delay } from "node:timers/promises"
import { peers } from "./peer.ts"
import { items, perform, type Task } from "./workloads.ts"

// One measurement of one system in a process of its own, so that none is in another's way and a stuck one can be killed.
//   child.ts PEER PLACE measure {"workload": …}
//   child.ts PEER PLACE work LEDGER [JOBS]        sends jobs of 20 ms, or goes on with those of a process that was killed
const [name = "", place = "", mode = "", what = "", jobs] = process.argv.slice(2)
const peer = await peers[name]?.()
if (peer === undefined) throw new Error(`there is no system "${name}"; there are ${Object.keys(peers).join(", ")}`)

if (mode === "measure") {
  process.send?.(await perform(peer, place, JSON.parse(what) as Task), () => process.exit(0))
} else {
  const opened = await peer.open(
    place,
    async ({ i }) => {
      // Synchronous, so that SIGKILL takes none of it.
      appendFileSync(what, `${process.pid} begin ${i}\n`)
      // 20 ms on average, and no two at the same pace: in lockstep all would end in the same instant, before or after the kill.
      await delay(5 + ((i * 7) % 31))
      appendFileSync(what, `${process.pid} end ${i}\n`)
    },
    false,
  )
  if (jobs !== undefined) {
    await opened.send("noop", items(Number(jobs)))
    appendFileSync(what, `${process.pid} sent 0\n`)
  }
}
