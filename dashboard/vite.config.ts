import { fileURLToPath } from "node:url"
import { defineConfig } from "vite"

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

// Addresses are relative, so that the dashboard may live below any path: the server says where in <base>.
export default defineConfig({
  root: here("."),
  base: "./",
  build: {
    outDir: here("../dist/dashboard"),
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    rolldownOptions: {
      onwarn: (warning, warn) => {
        // Says how a server should render, which nobody does here.
        if (warning.code !== "MODULE_LEVEL_DIRECTIVE") warn(warning)
      },
    },
  },
  // For work on the dashboard: `npx vite dashboard` beside a `fanfare dev`.
  server: { proxy: { "/api": process.env["FANFARE_URL"] ?? "http://127.0.0.1:8288" } },
})
