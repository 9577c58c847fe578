import type { Hono } from "hono"
import type { Intake } from "../core/attempt.ts"
import type { BulkFilter } from "../core/bulk.ts"
import type { BulkKind, ReplayOptions } from "../core/runs.ts"
import { paths } from "../protocol/api.ts"
import { objectBody, pageSize } from "./request.ts"

/** Routes that put runs right. */
export function runRoutes(api: Hono, intake: Intake): void {
  const { runs } = intake
  api.post(paths.runCancel, async (c) => {
    const { reason } = await objectBody(c)
    return c.json(await runs.cancel(c.req.param("id"), reason as string | undefined))
  })
  api.post(paths.runReplay, async (c) => c.json(await runs.replay(c.req.param("id"), (await objectBody(c)) as ReplayOptions)))
  api.post(paths.runRetry, async (c) => c.json(await runs.retry(c.req.param("id"))))
  api.post(paths.runsCount, async (c) => c.json({ count: await runs.count((await objectBody(c)) as BulkFilter) }))
  api.post(paths.runsBulk, async (c) => {
    const { kind, filter } = await objectBody(c)
    return c.json(await runs.bulk(kind as BulkKind, filter as BulkFilter))
  })
  api.get(paths.operations, async (c) => {
    const [after, limit] = [c.req.query("after"), pageSize(c)]
    return c.json(await runs.operations({ ...(after === undefined ? {} : { after }), ...(limit === undefined ? {} : { limit }) }))
  })
  api.post(paths.operationStop, async (c) => c.json(await runs.stop(c.req.param("id"))))
  api.post(paths.signals, async (c) => {
    const { signal, data } = await objectBody(c)
    return c.json(await intake.sendSignal(signal as string, data))
  })
}
