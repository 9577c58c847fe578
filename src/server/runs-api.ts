import type { Hono } from "hono"
import type { Intake } from "../core/attempt.ts"
import type { BulkFilter } from "../core/bulk.ts"
import type { BulkKind, ReplayOptions } from "../core/runs.ts"
import { paths } from "../protocol/api.ts"
import { jsonBody, pageSize } from "./request.ts"

/** Routes that put runs right. */
export function runRoutes(api: Hono, intake: Intake): void {
  const { runs } = intake
  api.post(paths.runCancel, async (c) => {
    const body = (await jsonBody(c)) as { reason?: string } | null
    return c.json(await runs.cancel(c.req.param("id"), body?.reason))
  })
  api.post(paths.runReplay, async (c) => c.json(await runs.replay(c.req.param("id"), ((await jsonBody(c)) as ReplayOptions | null) ?? {})))
  api.post(paths.runRetry, async (c) => c.json(await runs.retry(c.req.param("id"))))
  api.post(paths.runsCount, async (c) => c.json({ count: await runs.count((await jsonBody(c)) as BulkFilter) }))
  api.post(paths.runsBulk, async (c) => {
    const { kind, filter } = ((await jsonBody(c)) ?? {}) as { kind: BulkKind; filter: BulkFilter }
    return c.json(await runs.bulk(kind, filter))
  })
  api.get(paths.operations, async (c) => {
    const [after, limit] = [c.req.query("after"), pageSize(c)]
    return c.json(await runs.operations({ ...(after === undefined ? {} : { after }), ...(limit === undefined ? {} : { limit }) }))
  })
  api.post(paths.operationStop, async (c) => c.json(await runs.stop(c.req.param("id"))))
  api.post(paths.signals, async (c) => {
    const { signal, data } = ((await jsonBody(c)) ?? {}) as { signal: string; data?: unknown }
    return c.json(await intake.sendSignal(signal, data))
  })
}
