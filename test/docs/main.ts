import { mkdirSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { madePages } from "./pages.ts"

// npm run docs: writes the pages that are made from the source.
for (const [path, text] of await madePages()) {
  const file = fileURLToPath(new URL(`../../docs/${path}`, import.meta.url))
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
}
