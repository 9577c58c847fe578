import { FanfareError } from "../core/errors.ts"
import type { Fanouts, FailureGroup, Operation, OperationKind } from "../core/fanouts.ts"
import type { IdKind } from "../core/id.ts"
import { hasEnded } from "../core/join.ts"
import { limits } from "../core/limits.ts"
import type { Clock } from "../core/ports.ts"
import type { FanoutSummary, Page } from "../core/views.ts"
import type { Reader, Store } from "../store/store.ts"

export interface FanoutsParts {
  readonly store: Pick<Store, "addOperation">
  readonly reader: Pick<Reader, "fanout" | "fanouts" | "failureGroups" | "operation">
  readonly clock: Clock
  readonly newId: (kind: IdKind) => string
  /** There is an operation to do. */
  readonly begun: () => void
}

const lookMs = 100

/** Fan-outs as one thing: looked at, waited for, repaired. */
export class StoredFanouts implements Fanouts {
  readonly #parts: FanoutsParts

  constructor(parts: FanoutsParts) {
    this.#parts = parts
  }

  async get(id: string): Promise<FanoutSummary> {
    const fanout = await this.#parts.reader.fanout(id)
    if (fanout === null) throw new FanfareError("not_found", `there is no fan-out ${id}`, { field: "id" })
    return fanout
  }

  list({ after, limit }: { readonly after?: string; readonly limit?: number } = {}): Promise<Page<FanoutSummary>> {
    return this.#parts.reader.fanouts(after ?? null, limit ?? limits.pageRows)
  }

  async failures(id: string): Promise<readonly FailureGroup[]> {
    await this.get(id)
    return this.#parts.reader.failureGroups(id)
  }

  async wait(id: string, timeoutMs = Number.POSITIVE_INFINITY): Promise<FanoutSummary> {
    const { clock } = this.#parts
    const end = clock.now() + timeoutMs
    for (;;) {
      const fanout = await this.get(id)
      if (hasEnded(fanout) || clock.now() >= end) return fanout
      await new Promise<void>((resolve) => void clock.after(Math.min(lookMs, end - clock.now()), resolve))
    }
  }

  retry(id: string, { fingerprint }: { readonly fingerprint?: string } = {}): Promise<Operation> {
    return this.#begin("retry", id, fingerprint ?? null)
  }

  cancel(id: string): Promise<Operation> {
    return this.#begin("cancel", id, null)
  }

  async operation(id: string): Promise<Operation> {
    const operation = await this.#parts.reader.operation(id)
    if (operation === null) throw new FanfareError("not_found", `there is no operation ${id}`, { field: "id" })
    return operation
  }

  async #begin(kind: OperationKind, fanoutId: string, fingerprint: string | null): Promise<Operation> {
    await this.get(fanoutId)
    const id = this.#parts.newId("op")
    await this.#parts.store.addOperation({ id, kind, fanoutId, fingerprint })
    this.#parts.begun()
    return this.operation(id)
  }
}
