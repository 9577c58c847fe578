import { postgres } from "../../src/postgres.ts"
import { systemClock } from "../../src/engine/system.ts"

// A node that takes what is in line and does nothing with it, until it is killed.
const [url = "", schema = "", nodeId = ""] = process.argv.slice(2)
const { store } = await postgres(url, { schema }).open(systemClock)
await store.pulse({ id: nodeId, host: "h", pid: process.pid, functionIds: ["app-f"] }, false)
const { claim } = await store.turn({ units: [], claim: { nodeId, functionIds: ["app-f"], limit: 10, after: "" } })
process.send?.(claim?.runs.length)
