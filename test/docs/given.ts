/**
 * What the shorter blocks of the documentation take for granted, so that each can be about one thing. As text: in a file of its own these names
 * would be known to every other test.
 */
export const given = `import type { DatabaseSync } from "node:sqlite"
import type { Express } from "express"
import type { Fanfare, HandlerContext, Handler, EventSchemas, EventTrigger } from "fanfare"
import type { Harness } from "fanfare/testing"
import type { Client } from "pg"

type Context = HandlerContext<EventSchemas, readonly [EventTrigger]>

declare global {
  const fanfare: Fanfare
  const step: Context["step"]
  const event: Context["event"]
  const logger: Context["logger"]
  const handler: Handler<EventSchemas, readonly EventTrigger[]>
  const harness: Harness
  const client: Client
  const database: DatabaseSync
  const app: Express
  const id: string
  const user: { readonly id: string; readonly email: string; readonly timezone: string }
  const users: readonly { readonly id: string; readonly email: string; readonly timezone: string }[]
}
`
