import { ruleWaits } from "../core/admit.ts"
import type { ChangeOf } from "../core/change.ts"
import type { FunctionDefinition } from "../core/definition.ts"
import { addWaits, lockNames } from "./commit-wait.ts"
import type { Db } from "./db.ts"

/** A run that begins anew. `fence`: the one it has until then. */
interface Beginning {
  readonly id: string
  readonly functionId: string
  readonly eventId: string
  readonly fence: number
}

/**
 * What the rules of their functions (`cancelOn`, `timeouts.start`) have runs wait for that begin anew, as if they had just been started.
 * Runs in a transaction, before its first lock of a timer or a limit.
 */
export async function addRuleWaits(
  db: Db,
  functions: ReadonlyMap<string, FunctionDefinition>,
  runs: readonly Beginning[],
  now: number,
): Promise<void> {
  const ruled = runs.flatMap((run) => {
    const definition = functions.get(run.functionId)
    const has = definition !== undefined && (definition.cancelOn.length > 0 || definition.startTimeoutMs !== null)
    return has ? [{ run, definition }] : []
  })
  if (ruled.length === 0) return
  const rows = await db.query<{ id: string; key: string | null; name: string; data: string; ts: number }>(
    `select e.id, e.key, e.name, e.data, e.ts from ${db.dialect.rows("$1", [["id", "text"]])} as j join event as e on e.id = j.id`,
    [JSON.stringify([...new Set(ruled.map(({ run }) => run.eventId))].map((id) => [id]))],
  )
  const events = new Map(rows.map((row) => [row.id, row]))
  const waits = ruled.flatMap(({ run, definition }) => {
    const event = events.get(run.eventId)
    return event === undefined ? [] : ruleWaits(definition, event, { id: run.id, fence: run.fence, dueAt: now })
  })
  const added = waits.filter((change): change is ChangeOf<"wait.add"> => change.kind === "wait.add")
  await lockNames(db, added, [])
  await addWaits(db, added, now)
}
