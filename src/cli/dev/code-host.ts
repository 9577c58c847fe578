import type { App } from "../../core/app.ts"
import type { Attempt } from "../../core/attempt.ts"
import type { FunctionDefinition } from "../../core/definition.ts"
import type { Outcome } from "../../core/outcome.ts"
import type { Transport } from "../../transport/transport.ts"
import { CodeProcess } from "./code-process.ts"

/** Attempts of the version before may still end after a reload. */
const oldVersionGraceMs = 30_000
const respawnMs = 500

/** The newest version of the user's code that works; the transport stays the same while versions come and go. */
export class CodeHost implements Transport {
  readonly #files: readonly string[]
  readonly #say: (line: string) => void
  #current: CodeProcess | null = null
  #closed = false
  #spawning: Promise<void> = Promise.resolve()

  constructor(files: readonly string[], say: (line: string) => void) {
    this.#files = files
    this.#say = say
  }

  get apps(): readonly App[] {
    return this.#current?.apps ?? []
  }

  async start(): Promise<void> {
    await this.#spawn()
  }

  hosts(): readonly string[] {
    return this.#current?.hosts() ?? []
  }

  async execute(attempt: Attempt): Promise<Outcome> {
    return this.#current === null ? { kind: "returned" } : this.#current.execute(attempt)
  }

  /** Brings up the files as they are now; gives what changed, for people. On an error the version before stays. */
  async reload(): Promise<string> {
    const before = definitionsOf(this.apps)
    await this.#spawn()
    return differences(before, definitionsOf(this.apps))
  }

  async close(graceMs: number): Promise<void> {
    this.#closed = true
    await this.#current?.close(graceMs)
  }

  /** One after the other: a reload and a new start after a crash may come together, and the newest files must win. */
  #spawn(): Promise<void> {
    const spawned = this.#spawning.then(() => this.#start())
    this.#spawning = spawned.catch(() => undefined)
    return spawned
  }

  /** Whatever it takes the place of is closed, so that no process is left behind that keeps this one from ending. */
  async #start(): Promise<void> {
    let started: CodeProcess | null = null
    started = await CodeProcess.start(this.#files, () => void this.#exited(started))
    if (this.#closed) {
      await started.close(0)
      return
    }
    const before = this.#current
    this.#current = started
    void before?.close(oldVersionGraceMs)
  }

  /** User code ended its own process: bring it up again, so that the other runs go on. */
  async #exited(process: CodeProcess | null): Promise<void> {
    if (this.#closed || process === null || process !== this.#current) return
    this.#say("✗ the process with your code ended; starting it again")
    await new Promise((resolve) => setTimeout(resolve, respawnMs))
    if (this.#closed || process !== this.#current) return
    try {
      await this.#spawn()
    } catch (error) {
      this.#say(`✗ it does not start: ${String(error)}. Change the file to try again.`)
    }
  }
}

function definitionsOf(apps: readonly App[]): Map<string, FunctionDefinition> {
  return new Map(apps.flatMap((app) => Array.from(app.hosted().values(), ({ definition }) => [definition.localId, definition] as const)))
}

function differences(before: ReadonlyMap<string, FunctionDefinition>, after: ReadonlyMap<string, FunctionDefinition>): string {
  const added = [...after.keys()].filter((id) => !before.has(id)).map((id) => `+ ${id}`)
  const removed = [...before.keys()].filter((id) => !after.has(id)).map((id) => `- ${id}`)
  const changed = [...after]
    .filter(([id, now]) => before.has(id) && JSON.stringify(before.get(id)) !== JSON.stringify(now))
    .map(([id]) => `~ ${id}`)
  return [...added, ...removed, ...changed].join(", ")
}
