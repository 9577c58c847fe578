import { fixedLimits } from "../core/admission.ts"
import type { Joined, SendWay } from "../core/attempt.ts"
import type { Unit, UnitResult } from "../core/change.ts"
import { FanfareError } from "../core/errors.ts"
import { checkEventName, systemEventPrefix } from "../core/event.ts"
import type { IdKind } from "../core/id.ts"
import { patternsOf } from "../core/match.ts"
import type { Clock } from "../core/ports.ts"
import type { LimitClaim } from "../core/run.ts"
import type { SqlFanout, SqlFanoutResult } from "../core/transaction.ts"
import type { Outbox } from "../store/within.ts"
import type { Committer } from "./committer.ts"
import type { Registry } from "./registry.ts"

export interface JoinedParts {
  /** Null where the store cannot share a transaction: in memory. */
  readonly outbox: Outbox | null
  readonly committer: Pick<Committer, "ring">
  readonly registry: Registry
  readonly reload: () => Promise<void>
  readonly clock: Clock
  readonly newId: (kind: IdKind) => string
}

/** Nobody says when a transaction of user code on SQLite commits: we look again after these milliseconds. PostgreSQL rings. */
const lookAfterMs = [0, 10, 100, 400]

/** Sends that are part of a transaction of user code. */
export class JoinedSends {
  readonly #parts: JoinedParts

  constructor(parts: JoinedParts) {
    this.#parts = parts
  }

  async commit({ transaction }: Joined, unit: Unit): Promise<UnitResult> {
    const result = await this.#outbox().commit(transaction, unit)
    this.#lookSoon()
    return result
  }

  /** @throws FanfareError `invalid_event`, `invalid_option`: nothing was sent */
  async fromSql(fanout: SqlFanout, { transaction, runId, trace = null }: Joined & Pick<SendWay, "trace">): Promise<SqlFanoutResult> {
    const outbox = this.#outbox()
    const { reload, newId } = this.#parts
    checkEventName(fanout.name, "name")
    if (fanout.name.startsWith(systemEventPrefix)) {
      throw new FanfareError("invalid_event", `name starts with "${systemEventPrefix}", which is kept for Fanfare's own events`, {
        field: "name",
      })
    }
    if (typeof fanout.query !== "string" || fanout.query.trim() === "") {
      throw new FanfareError("invalid_event", "query must be a select with a column data", { field: "query" })
    }
    const fanoutId = newId("fan")
    for (;;) {
      const functions = this.#targets(fanout.name)
      const eventPrefix = prefix(newId("evt"))
      const { version: registry } = this.#parts.registry
      const runs = { ...fanout, fanoutId, eventPrefix, sourceRunId: runId, trace, registry, functions }
      const events = await outbox.startFromSql(transaction, runs)
      if (events !== "stale") {
        this.#lookSoon()
        return { fanoutId, events, runs: events * functions.length }
      }
      await reload()
    }
  }

  #targets(name: string): { id: string; runPrefix: string; limits: readonly LimitClaim[] }[] {
    const { registry, newId } = this.#parts
    const functions = registry.startedBy(name)
    const patterns = patternsOf(name)
    const choosy = functions.find(({ triggers }) =>
      triggers.some((trigger) => "event" in trigger && patterns.includes(trigger.event) && trigger.if !== null),
    )
    if (choosy !== undefined) {
      throw new FanfareError("invalid_event", `the function "${choosy.localId}" has an "if" on its trigger "${name}"`, {
        field: "name",
        hint: "The rows are never seen here: put the condition into the query, and give the function a trigger without one.",
      })
    }
    const ruled = functions.find(({ cancelOn, startTimeoutMs }) => cancelOn.length > 0 || startTimeoutMs !== null)
    if (ruled !== undefined) {
      throw new FanfareError("invalid_event", `the function "${ruled.localId}" has cancelOn or timeouts.start`, {
        field: "name",
        hint: "The rows are never seen here, so nothing could be waited for on behalf of their runs: send these events with send(events, { tx }).",
      })
    }
    if (registry.waitedFor(name).length > 0) {
      throw new FanfareError("invalid_event", `runs wait for events of the name "${name}"`, {
        field: "name",
        hint: "The rows are never seen here, so they could not be compared with what runs wait for: send these events with send(events, { tx }).",
      })
    }
    return functions.map((definition) => {
      const limits = fixedLimits(definition)
      if (limits === null || definition.paused === "skip") {
        throw new FanfareError(
          "invalid_event",
          `the function "${definition.localId}" decides by each event's data when its run may start`,
          {
            field: "name",
            hint: "The rows are never seen here. Use send for functions with keys, rateLimit, debounce, batchEvents, priority, singleton or idempotency.",
          },
        )
      }
      return { id: definition.id, runPrefix: prefix(newId("run")), limits }
    })
  }

  #outbox(): Outbox {
    if (this.#parts.outbox !== null) return this.#parts.outbox
    throw new FanfareError("invalid_option", "a store in memory cannot join a transaction", {
      field: "tx",
      hint: "Use a file or PostgreSQL.",
    })
  }

  #lookSoon(): void {
    for (const ms of lookAfterMs) this.#parts.clock.after(ms, () => this.#parts.committer.ring())
  }
}

/** Time and chance of an id; eight more characters number what follows from it. */
function prefix(id: string): string {
  return id.slice(0, -8)
}
