import type { EventInput } from "../core/event.ts"
import type { FanOutRules } from "../core/gate.ts"
import type { SendResult } from "../core/attempt.ts"

/** What code that is called from a handler, however deep, is part of. */
export interface RunScope {
  readonly runId: string
  /** The step whose code is running, if any. */
  readonly stepKey: string | null
  /** A `client.send` inside the run: a durable step, named by the order of the calls. */
  send(events: readonly EventInput[], rules: FanOutRules): Promise<SendResult>
}

interface Storage {
  run<T>(scope: RunScope, work: () => T): T
  getStore(): RunScope | undefined
}

// AsyncLocalStorage without an import, so that this file also loads where there is no Node.
const hooks = (globalThis as { process?: { getBuiltinModule?: (id: string) => unknown } }).process?.getBuiltinModule?.(
  "node:async_hooks",
) as { AsyncLocalStorage: new () => Storage } | undefined
const storage: Storage | null = hooks === undefined ? null : new hooks.AsyncLocalStorage()

/** Runs `work` as part of `scope`. Where the platform cannot follow asynchronous calls, `currentScope` stays null. */
export function withScope<T>(scope: RunScope, work: () => T): T {
  return storage === null ? work() : storage.run(scope, work)
}

export function currentScope(): RunScope | null {
  return storage?.getStore() ?? null
}
