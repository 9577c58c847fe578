import { FanfareError } from "../core/errors.ts"
import type { Functions, Limits } from "../core/flow-control.ts"
import { limits } from "../core/limits.ts"
import type { Reader, Store } from "../store/store.ts"
import { findFunction, type Registry } from "./registry.ts"

export interface FlowControlParts {
  readonly store: Pick<Store, "pause" | "setLimit">
  readonly reader: Pick<Reader, "functionList" | "limits">
  readonly registry: Registry
  /** Learns what functions there are now. */
  readonly reload: () => Promise<void>
  /** Runs may go on. */
  readonly look: () => void
}

const idChars = limits.idChars + limits.keyChars + limits.nameChars

export function storedFunctions({ store, reader, registry, reload, look }: FlowControlParts): Functions {
  const pause = async (...[id, policy]: Parameters<Store["pause"]>): Promise<void> => {
    await store.pause(id, policy)
    await reload()
    look()
  }
  return {
    list: async () => ({ items: await reader.functionList(), next: null }),
    async pause(id, { newRuns = "keep" } = {}) {
      if (newRuns !== "keep" && newRuns !== "skip") {
        throw new FanfareError("invalid_option", `newRuns must be "keep" or "skip", not ${JSON.stringify(newRuns)}`, { field: "newRuns" })
      }
      await pause(findFunction(registry, id).id, newRuns)
    },
    resume: (id) => pause(findFunction(registry, id).id, null),
  }
}

export function storedLimits({ store, reader, registry, look }: FlowControlParts): Limits {
  const set = async (id: string, max: number | null): Promise<void> => {
    if (typeof id !== "string" || id === "" || id.length > idChars) {
      throw new FanfareError("invalid_option", `a limit has a name of 1 to ${idChars} characters`, { field: "limit", bound: idChars })
    }
    if (max !== null && !(Number.isInteger(max) && max >= 0 && max <= limits.concurrencyMax)) {
      throw new FanfareError("invalid_option", `max must be a whole number from 0 to ${limits.concurrencyMax}`, {
        field: "max",
        bound: limits.concurrencyMax,
      })
    }
    await store.setLimit(id, max)
    look()
  }
  return {
    list: async ({ functionId, after, limit = limits.pageRows } = {}) =>
      reader.limits(after ?? null, limit, functionId === undefined ? undefined : findFunction(registry, functionId).id),
    set,
    reset: (id) => set(id, null),
  }
}
