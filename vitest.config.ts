import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    // In V8 13.6 threads that load WebAssembly at the same time, as Node's type stripping does, may race for the wrappers of its imports
    // once these are hot, and the process then dies (WasmImportWrapperCache::Free, "Check failed: jit_page.has_value()"). Never hot, never freed.
    execArgv: ["--wasm-wrapper-tiering-budget=1000000000"],
  },
})
