import type { App } from "../core/app.ts"
import type { Unit } from "../core/change.ts"
import { parseCron } from "../core/cron.ts"
import type { FunctionDefinition } from "../core/definition.ts"
import { createMatcher, type Matcher } from "../core/match.ts"
import type { Schedule } from "../core/schedule.ts"

/** The functions that are known now: those of this process, and those that the store remembers of other apps. */
export class Registry {
  #definitions = new Map<string, FunctionDefinition>()
  #match: Matcher = createMatcher([])

  get match(): Matcher {
    return this.#match
  }

  get definitions(): ReadonlyMap<string, FunctionDefinition> {
    return this.#definitions
  }

  replace(definitions: Iterable<FunctionDefinition>): void {
    this.#definitions = new Map(Array.from(definitions, (definition) => [definition.id, definition]))
    this.#match = createMatcher(this.#definitions.values())
  }
}

/** What has to be written so that the store knows the functions and schedules of these apps, and forgets what they dropped. */
export function registration(apps: readonly App[], stored: readonly Schedule[], now: number): Unit {
  const changes: Unit["changes"][number][] = []
  const known = new Map(stored.map((schedule) => [schedule.id, schedule]))
  const wanted = new Set<string>()
  const appIds = new Set(apps.map(({ id }) => id))
  for (const app of apps) {
    const definitions = Array.from(app.hosted().values(), ({ definition }) => definition)
    changes.push({ kind: "app.put", appId: app.id, functionIds: definitions.map(({ id }) => id), at: now })
    for (const definition of definitions) {
      changes.push({ kind: "function.put", definition, at: now })
      for (const { id, cron, timezone } of schedulesOf(definition)) {
        wanted.add(id)
        const old = known.get(id)
        if (old !== undefined && old.cron === cron && old.timezone === timezone && old.nextAt !== null) continue
        // A new or changed rule begins now: the moments it would have had before are not missed ones.
        const nextAt = parseCron(cron, timezone, id).next(now)
        changes.push({
          kind: "schedule.put",
          schedule: { id, functionId: definition.id, cron, timezone, lastTickAt: old?.lastTickAt ?? null, nextAt },
        })
      }
    }
  }
  for (const { id, functionId, nextAt } of stored) {
    const ours = [...appIds].some((appId) => functionId.startsWith(`${appId}-`))
    if (ours && nextAt !== null && !wanted.has(id)) changes.push({ kind: "schedule.drop", id })
  }
  return { changes, guard: null }
}

/** A function's schedules: named after it, the second and later ones with a number. */
function schedulesOf(definition: FunctionDefinition): { id: string; cron: string; timezone: string }[] {
  const crons = definition.triggers.filter((trigger) => "cron" in trigger)
  return crons.map(({ cron, timezone }, i) => ({ id: i === 0 ? definition.id : `${definition.id}#${i + 1}`, cron, timezone }))
}
