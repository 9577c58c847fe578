import { fanoutCompletedEvent } from "../core/event.ts"
import { limits } from "../core/limits.ts"
import type { Store } from "../store/store.ts"
import type { EventIntake } from "./intake.ts"
import type { Agent } from "./loop.ts"

/** Tells functions that hear `fanfare/fanout.completed` of each fan-out that has ended: once, whichever node comes first. */
export function createAnnouncer(store: Pick<Store, "finished">, intake: Pick<EventIntake, "announce">, pollMs: number): Agent {
  return {
    name: "announcer",
    async tick() {
      const finished = await store.finished(limits.sweepBatch)
      await Promise.all(
        finished.map(({ id, name, runId, total, completed, failed, cancelled, createdAt, lastEndAt }) =>
          intake.announce(id, {
            name: fanoutCompletedEvent,
            data: { fanoutId: id, name, runId, total, completed, failed, cancelled, createdAt, lastEndAt },
          }),
        ),
      )
      return finished.length === limits.sweepBatch ? 0 : pollMs
    },
  }
}
