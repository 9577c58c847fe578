import { registerHooks } from "node:module"
import { format } from "node:util"

// node run-blocks.ts FILE…: imports each file, with this project's source as the package `fanfare`, and prints what each said as JSON.
const source = new URL("../../src/", import.meta.url)
const adapters = new Set(["fastify", "hono", "koa", "lambda", "next", "node", "workers"])
registerHooks({
  resolve(specifier, context, next) {
    const name = /^fanfare(?:\/([a-z]+))?$/.exec(specifier)
    if (name === null) return next(specifier, context)
    const entry = name[1] ?? "index"
    const path = adapters.has(entry)
      ? `sdk/adapters/${entry}`
      : entry === "express"
        ? "sdk/adapters/node"
        : entry === "serve"
          ? "sdk/serve"
          : entry
    return { url: new URL(`${path}.ts`, source).href, shortCircuit: true }
  },
})

const results: { file: string; output: string; error: string | null }[] = []
for (const file of process.argv.slice(2)) {
  const said: string[] = []
  console.log = (...parts: unknown[]) => void said.push(`${format(...parts)}\n`)
  let error: string | null = null
  try {
    await import(file)
  } catch (thrown) {
    error = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
  }
  results.push({ file, output: said.join(""), error })
}
process.stdout.write(`\n${JSON.stringify(results)}\n`, () => process.exit(0))
