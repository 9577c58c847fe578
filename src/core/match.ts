import type { FunctionDefinition } from "./definition.ts"
import { compileCondition, type Condition, type ExpressionEvent } from "./expression.ts"

/** Which functions an event starts: each at most once, in the order in which they were given. */
export interface Matcher {
  (name: string, event: () => ExpressionEvent): readonly FunctionDefinition[]
}

interface Listener {
  readonly definition: FunctionDefinition
  readonly condition: Condition | null
}

/** Builds the look-up once for a set of functions, so that a name costs a few map reads whatever the number of functions. */
export function createMatcher(definitions: Iterable<FunctionDefinition>): Matcher {
  const listeners = new Map<string, Listener[]>()
  for (const definition of definitions) {
    for (const trigger of definition.triggers) {
      if (!("event" in trigger)) continue
      const condition = trigger.if === null ? null : compileCondition(trigger.if, `${definition.id}: if`)
      const list = listeners.get(trigger.event) ?? []
      list.push({ definition, condition })
      listeners.set(trigger.event, list)
    }
  }
  const candidates = new Map<string, readonly Listener[]>()

  return (name, event) => {
    let found = candidates.get(name)
    if (found === undefined) {
      found = patternsOf(name).flatMap((pattern) => listeners.get(pattern) ?? [])
      if (candidates.size < 10_000) candidates.set(name, found)
    }
    const matched: FunctionDefinition[] = []
    for (const { definition, condition } of found) {
      if (matched.includes(definition)) continue
      if (condition === null || condition(event())) matched.push(definition)
    }
    return matched
  }
}

/** `a/b.c` is heard by `a/b.c`, `a/*` and `a/b.*`. */
export function patternsOf(name: string): string[] {
  const patterns = [name]
  for (let i = 0; i < name.length; i++) {
    if (name[i] === "/" || name[i] === ".") patterns.push(`${name.slice(0, i + 1)}*`)
  }
  return patterns
}
