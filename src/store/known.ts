import type { FunctionDefinition } from "../core/definition.ts"
import { createMatcher, type Matcher } from "../core/match.ts"
import type { Db } from "./db.ts"
import { knownFunctions } from "./read.ts"

/** The functions that apps offer now. */
export interface Offered {
  readonly version: number
  readonly functions: ReadonlyMap<string, FunctionDefinition>
  readonly match: Matcher
  /** The fields by which runs look at events of a name. */
  readonly waitedFor: (name: string) => readonly string[]
}

/** What moments of schedules start is decided in the store: it keeps the functions, and reads them again when they have changed. */
export class Known {
  #offered: Offered | null = null

  async offered(db: Db): Promise<Offered> {
    const [row] = await db.query<{ version: number }>("select version from registry where id = 1")
    if (this.#offered !== null && this.#offered.version === (row?.version ?? 0)) return this.#offered
    const { version, functions, watched } = await knownFunctions(db)
    const active = functions.filter((each) => each.active).map(({ definition }) => definition)
    const paths = Map.groupBy(watched, ({ name }) => name)
    const waitedFor = (name: string): readonly string[] => paths.get(name)?.map(({ path }) => path) ?? []
    this.#offered = { version, functions: new Map(active.map((each) => [each.id, each])), match: createMatcher(active), waitedFor }
    return this.#offered
  }
}
