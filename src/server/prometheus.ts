import type { Hono } from "hono"
import { FanfareError } from "../core/errors.ts"
import type { Identity } from "./identity.ts"
import { type SecondsHistogram, secondsBounds } from "./meters.ts"
import { histograms, type Look, type Measuring, metrics } from "./metrics.ts"

/** What is measured, in the text format of Prometheus, for who may look. */
export function metricsRoute(api: Hono, measuring: Measuring, identity: Identity): void {
  api.get("/metrics", async (c) => {
    if ((await identity.of(c)) === null)
      throw new FanfareError("not_allowed", "metrics are shown to who has a key", { field: "authorization" })
    return c.body(render(await measuring.look()), 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" })
  })
}

function render(look: Look): string {
  const plain = metrics.map(({ name, kind, help, read }) => {
    const samples = Array.from(read(look), ([labels, value]) => `${name}${labelled(labels)} ${value}\n`)
    return `${head(name, kind, help)}${samples.join("")}`
  })
  const shaped = histograms.map(({ name, help, of }) => `${head(name, "histogram", help)}${buckets(name, of(look.meters))}`)
  return [...plain, ...shaped].join("")
}

function head(name: string, kind: string, help: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n`
}

function buckets(name: string, { counts, sum }: SecondsHistogram): string {
  let below = 0
  const lines = counts.map((n, i) => `${name}_bucket${labelled({ le: String(secondsBounds[i] ?? "+Inf") })} ${(below += n)}\n`)
  return `${lines.join("")}${name}_sum ${sum}\n${name}_count ${below}\n`
}

function labelled(labels: Readonly<Record<string, string>>): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${value.replaceAll(/[\\"]/g, "\\$&").replaceAll("\n", "\\n")}"`)
  return parts.length === 0 ? "" : `{${parts.join(",")}}`
}
