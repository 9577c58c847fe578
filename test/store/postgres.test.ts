import { afterAll, beforeAll } from "vitest"
import { systemClock } from "../../src/engine/system.ts"
import { postgres } from "../../src/store/open-postgres.ts"
import { storeConformance } from "./conformance.ts"
import { startPostgres, type TestServer } from "./postgres.ts"

let server: TestServer
let url: string
let schemas = 0
beforeAll(async () => {
  server = await startPostgres()
  url = await server.database()
})
afterAll(() => server.stop())

storeConformance("PostgreSQL 18, in its threads", async () => {
  const opened = await postgres(url, { schema: `s${schemas++}` }).open(systemClock)
  const close = async (): Promise<void> => {
    await opened.reader.close()
    await opened.store.close()
  }
  return { opened, clock: null, close }
})
