// Functions behind Hono, on whatever it runs: Node, Bun, Deno, Workers.
import { serve as listen } from "@hono/node-server"
import { serve } from "fanfare/hono"
import { Hono } from "hono"
import { fanfare } from "./functions.ts"

const app = new Hono()
app.on(["GET", "POST", "PUT"], "/api/fanfare", serve({ client: fanfare }))
listen({ fetch: app.fetch, port: 3000 })
