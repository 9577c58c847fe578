import type { Context, Hono } from "hono"
import { FanfareError } from "../core/errors.ts"
import type { Operation } from "../core/fanouts.ts"
import { limits } from "../core/limits.ts"
import type { Engine } from "../engine/engine.ts"
import { systemClock } from "../engine/system.ts"
import { objectBody } from "./request.ts"
import { enveloped, momentIn, momentOf } from "./sdk-answers.ts"

/**
 * Cancelling many runs, as users of the official SDKs ask for it: of one function, begun within a time. What begins later is not touched.
 * A cancellation is an operation; one that was stopped is no cancellation any more.
 */
export function cancellationRoutes(door: Hono, engine: Engine): void {
  const { runs } = engine.intake
  door.get("/v1/cancellations", async (c) => {
    const { items } = await runs.operations({ limit: limits.pageRowsMax })
    return c.json(enveloped(items.filter(isCancellation).map((operation) => viewOf(operation, engine))))
  })
  door.post("/v1/cancellations", async (c) => c.json(enveloped(viewOf(await cancelMany(c, engine), engine)), 201))
  door.delete("/v1/cancellations/:id", async (c) => {
    const id = c.req.param("id")
    if (!isCancellation(await engine.intake.fanouts.operation(id))) {
      throw new FanfareError("not_found", `there is no cancellation ${id}`, { field: "id" })
    }
    await runs.stop(id)
    return c.body(null, 204)
  })
}

function isCancellation({ kind, state, filter }: Operation): boolean {
  return kind === "cancel" && state !== "stopped" && filter?.functionId !== undefined
}

function viewOf({ id, createdAt, filter = {} }: Operation, engine: Engine): Record<string, unknown> {
  const { functionId = "", from, to } = filter
  return {
    id,
    name: "",
    created_at: momentOf(createdAt),
    app_id: engine.registry.definitions.get(functionId)?.appId ?? null,
    function_id: functionId,
    started_after: from === undefined ? null : momentOf(from),
    started_before: momentOf(to ?? createdAt),
    if: null,
    kind: "api",
  }
}

async function cancelMany(c: Context, engine: Engine): Promise<Operation> {
  const { app_id: appId, function_id: slug, started_after: after, started_before: before, if: condition } = await objectBody(c)
  if (typeof slug !== "string") throw new FanfareError("invalid_option", "function_id must name a function", { field: "function_id" })
  if (typeof condition === "string" && condition !== "") {
    throw new FanfareError("invalid_option", "if is not supported here: cancel by an event with cancelOn, or by time", { field: "if" })
  }
  const { definitions } = engine.registry
  const functionId = [slug, `${typeof appId === "string" ? appId : ""}-${slug}`].find((name) => definitions.has(name))
  if (functionId === undefined) throw new FanfareError("not_found", `there is no function ${slug}`, { field: "function_id" })
  const from = momentIn(after, "started_after")
  const to = momentIn(before, "started_before") ?? systemClock.now()
  return engine.intake.runs.bulk("cancel", { functionId, ...(from === null ? {} : { from }), to })
}
