import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"
import manifest from "./package.json" with { type: "json" }

/** What examples import by the package's name is its source: in a fresh clone nothing is built. */
const ownNames = Object.entries(manifest.exports).flatMap(([name, entry]) => {
  if (typeof entry === "string") return []
  const source = entry.default.replace("./dist/", "./src/").replace(/js$/, "ts")
  return [{ find: new RegExp(`^fanfare${name.slice(1)}$`), replacement: fileURLToPath(new URL(source, import.meta.url)) }]
})

export default defineConfig({
  resolve: { alias: ownNames },
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    // Pages are waited for as long as what else a page is asked for: one second is short where many tests share two cores.
    expect: { poll: { timeout: 15_000 } },
    // In V8 13.6 threads that load WebAssembly at the same time, as Node's type stripping does, may race for the wrappers of its imports
    // once these are hot, and the process then dies (WasmImportWrapperCache::Free, "Check failed: jit_page.has_value()"). Never hot, never freed.
    execArgv: ["--wasm-wrapper-tiering-budget=1000000000"],
  },
})
