import type { App } from "../core/app.ts"
import type { HttpApp } from "../core/http-app.ts"
import type { Unit } from "../core/change.ts"
import type { CronDefinition, FunctionDefinition } from "../core/definition.ts"
import { FanfareError } from "../core/errors.ts"
import { createMatcher, type Matcher, patternsOf } from "../core/match.ts"
import { isSame, planned, type Schedule } from "../core/schedule.ts"
import type { KnownFunctions } from "../core/views.ts"

/** The functions that are known now: those of this process, and those that the store remembers of other apps. */
export class Registry {
  #definitions = new Map<string, FunctionDefinition>()
  #own: ReadonlyMap<string, FunctionDefinition> = new Map()
  #active: readonly FunctionDefinition[] = []
  #match: Matcher = createMatcher([])
  #apps: readonly HttpApp[] = []
  #version = 0
  #watched = new Map<string, string[]>()

  /** The store's count of changes up to which this is what it knows. */
  get version(): number {
    return this.#version
  }

  get match(): Matcher {
    return this.#match
  }

  /** The fields by which runs look at events of a name; none when no run waits for it. */
  readonly waitedFor = (name: string): readonly string[] => this.#watched.get(name) ?? nothing

  get definitions(): ReadonlyMap<string, FunctionDefinition> {
    return this.#definitions
  }

  /** Apps that are called over HTTP. */
  get apps(): readonly HttpApp[] {
    return this.#apps
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

  replace({ version, functions, apps, watched }: KnownFunctions): void {
    this.#apps = apps
    this.#watched = new Map()
    for (const { name, path } of watched) this.#watched.set(name, [...this.waitedFor(name), path])
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

const nothing: readonly string[] = []

/** An app that is to be registered: one that runs here, or one that is called over HTTP. */
export interface RegisteredApp {
  readonly id: string
  readonly definitions: readonly FunctionDefinition[]
  readonly http?: HttpApp
}

export function inProcess(app: App): RegisteredApp {
  return { id: app.id, definitions: Array.from(app.hosted().values(), ({ definition }) => definition) }
}

/** The ids of the schedules that the cron triggers of these apps have. */
export function scheduleIds(apps: readonly RegisteredApp[]): string[] {
  return apps.flatMap(({ definitions }) => definitions.flatMap((definition) => schedulesOf(definition).map(({ id }) => id)))
}

/**
 * What has to be written so that the store knows the functions and schedules of these apps, and forgets what they dropped.
 * @throws FanfareError `invalid_function` when a schedule made at run time has the id of a cron trigger
 */
export function registration(apps: readonly RegisteredApp[], stored: readonly Schedule[], now: number): Unit {
  const changes: Unit["changes"][number][] = []
  const known = new Map(stored.map((schedule) => [schedule.id, schedule]))
  const wanted = new Set<string>()
  for (const app of apps) {
    const { definitions, http } = app
    changes.push({
      kind: "app.put",
      appId: app.id,
      functionIds: definitions.map(({ id }) => id),
      ...(http === undefined ? {} : { http }),
      at: now,
    })
    for (const definition of definitions) {
      changes.push({ kind: "function.put", definition, at: now })
      for (const { id, trigger } of schedulesOf(definition)) {
        wanted.add(id)
        const schedule = cronSchedule(id, definition, trigger, known.get(id) ?? null, now)
        if (schedule !== null) changes.push({ kind: "schedule.put", schedule })
      }
    }
  }
  for (const { id, appId, nextAt } of stored) {
    if (apps.some((app) => app.id === appId) && nextAt !== null && !wanted.has(id)) changes.push({ kind: "schedule.drop", id })
  }
  return { changes, guard: null, registry: null }
}

/** The schedule of a cron trigger; null when it is stored just so. */
function cronSchedule(
  id: string,
  definition: FunctionDefinition,
  trigger: CronDefinition,
  old: Schedule | null,
  now: number,
): Schedule | null {
  if (old !== null && old.appId === null) {
    throw new FanfareError("invalid_function", `function "${definition.localId}": a schedule made at run time has the id "${id}"`, {
      field: "id",
      hint: "Give the function another id, or delete that schedule: fanfare.schedules.delete.",
    })
  }
  const { cron, timezone, dst, policies } = trigger
  const rule = { kind: "cron", cron, timezone, dst } as const
  if (old !== null && isSame(old.rule, rule) && isSame(old.policies, policies) && old.nextAt !== null) return null
  return {
    id,
    appId: definition.appId,
    functionId: definition.id,
    event: null,
    rule,
    policies,
    data: null,
    tag: null,
    createdAt: old?.createdAt ?? now,
    updatedAt: now,
    lastTickAt: old?.lastTickAt ?? null,
    ...planned(id, rule, policies, old, now),
    waitingAt: old?.waitingAt ?? null,
    lastEventId: old?.lastEventId ?? null,
    pausedAt: old?.pausedAt ?? null,
    note: old?.note ?? null,
  }
}

/** A function's schedules: named after it, the second and later ones with a number. */
function schedulesOf(definition: FunctionDefinition): { id: string; trigger: CronDefinition }[] {
  const crons = definition.triggers.filter((trigger) => "cron" in trigger)
  return crons.map((trigger, i) => ({ id: i === 0 ? definition.id : `${definition.id}#${i + 1}`, trigger }))
}

/** @param id a full id, or the own one of a function where only one app has it. @throws FanfareError `not_found` */
export function findFunction({ definitions }: Registry, id: string): FunctionDefinition {
  const exact = definitions.get(id)
  if (exact !== undefined) return exact
  const named = [...definitions.values()].filter(({ localId }) => localId === id)
  if (named.length === 1 && named[0] !== undefined) return named[0]
  const known = [...definitions.values()].map(({ localId }) => localId).join(", ")
  throw new FanfareError(
    "not_found",
    named.length > 1 ? `several apps have a function "${id}"; give its full id` : `there is no function "${id}"`,
    {
      field: "function",
      hint: `Known are: ${named.length > 1 ? named.map((definition) => definition.id).join(", ") : known || "none"}.`,
    },
  )
}

/** The JSON Schema of the events of a name, as the first function says that hears them; null when none does. */
export function schemaFor(registry: Registry, event: string): string | null {
  const triggers = registry.startedBy(event).flatMap((definition) => definition.triggers)
  const [found] = triggers.flatMap((trigger) => ("event" in trigger && trigger.event === event ? (trigger.schema ?? []) : []))
  return found ?? null
}
