import type { App } from "../core/app.ts"
import type { Unit } from "../core/change.ts"
import { parseCron } from "../core/cron.ts"
import type { FunctionDefinition } from "../core/definition.ts"
import { createMatcher, type Matcher, patternsOf } from "../core/match.ts"
import type { Schedule } from "../core/schedule.ts"
import type { KnownFunctions } from "../core/views.ts"

/** The functions that are known now: those of this process, and those that the store remembers of other apps. */
export class Registry {
  #definitions = new Map<string, FunctionDefinition>()
  #own: ReadonlyMap<string, FunctionDefinition> = new Map()
  #active: readonly FunctionDefinition[] = []
  #match: Matcher = createMatcher([])
  #version = 0

  /** The store's count of changes up to which this is what it knows. */
  get version(): number {
    return this.#version
  }

  get match(): Matcher {
    return this.#match
  }

  get definitions(): ReadonlyMap<string, FunctionDefinition> {
    return this.#definitions
  }

  /** The functions that an event of this name may start. */
  startedBy(name: string): FunctionDefinition[] {
    const patterns = patternsOf(name)
    return this.#active.filter(({ triggers }) => triggers.some((trigger) => "event" in trigger && patterns.includes(trigger.event)))
  }

  /** The rules of code that runs here are those it was written with, whatever version of it another node registered since. */
  host(apps: readonly App[]): void {
    this.#own = new Map(apps.flatMap((app) => Array.from(app.hosted().values(), ({ definition }) => [definition.id, definition])))
  }

  replace({ version, functions }: KnownFunctions): void {
    const active = functions.filter((known) => known.active).map(({ definition }) => definition)
    this.#version = version
    this.#active = active
    this.#match = createMatcher(active)
    this.#definitions = new Map(
      active.map((definition) => [definition.id, pausedLike(this.#own.get(definition.id) ?? definition, definition)]),
    )
    // What an old version still hosts goes on to the end, though nothing starts it any more.
    for (const [id, definition] of this.#own) this.#definitions.set(id, definition)
  }
}

/** Whether it is paused is the store's to say, whoever's rules it has. */
function pausedLike(definition: FunctionDefinition, { paused }: FunctionDefinition): FunctionDefinition {
  return paused === undefined ? definition : { ...definition, paused }
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
  return { changes, guard: null, registry: null }
}

/** A function's schedules: named after it, the second and later ones with a number. */
function schedulesOf(definition: FunctionDefinition): { id: string; cron: string; timezone: string }[] {
  const crons = definition.triggers.filter((trigger) => "cron" in trigger)
  return crons.map(({ cron, timezone }, i) => ({ id: i === 0 ? definition.id : `${definition.id}#${i + 1}`, cron, timezone }))
}
