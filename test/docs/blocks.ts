import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"

export const root = fileURLToPath(new URL("../..", import.meta.url))

export interface Page {
  /** Below the project. */
  readonly path: string
  readonly text: string
}

/** A fenced block: its language, the words after it, and what it should print when it is run. */
export interface Block {
  readonly page: string
  readonly line: number
  readonly language: string
  readonly flags: readonly string[]
  readonly text: string
  readonly output: string | null
}

/** All pages for users: the README, and what is below docs. */
export function pages(): Page[] {
  const below = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".md"))
  const paths = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", ...below.map((path) => `docs/${path.replaceAll("\\", "/")}`)]
  return paths.map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }))
}

/** A block `output` right after one that is run says what that prints. */
export function blocksOf({ path, text }: Page): Block[] {
  const found = [...text.matchAll(/^(```+)([^\n]*)\n([\s\S]*?)^\1$/gm)].map((match) => {
    const [language = "", ...flags] = (match[2] ?? "").trim().split(/\s+/)
    return { page: path, line: text.slice(0, match.index).split("\n").length, language, flags, text: match[3] ?? "" }
  })
  return found.map((block, i) => {
    const next = found[i + 1]
    return { ...block, output: block.flags.includes("run") && next?.language === "output" ? next.text : null }
  })
}

/**
 * Writes the TypeScript blocks of all pages below a folder, those of a page beside each other, and gives their files. A block whose first line
 * is a comment with a file name has that name, so that others of its page may import it.
 */
export function writeBlocks(blocks: readonly Block[], folder: string): Map<string, Block> {
  const files = new Map<string, Block>()
  for (const block of blocks) {
    const named = /^\/\/ (?:\S+\/)?([\w.-]+\.ts)\b/.exec(block.text)?.[1] ?? `line-${block.line}.ts`
    const file = join(folder, block.page.replace(/\.md$/, "").replaceAll("/", "-"), named)
    if (files.has(file)) throw new Error(`${block.page}:${block.line}: another block of this page is called ${named}`)
    mkdirSync(dirname(file), { recursive: true })
    // Each is a module of its own, also without an import.
    writeFileSync(file, /^(import|export) /m.test(block.text) ? block.text : `${block.text}export {}\n`)
    files.set(file, block)
  }
  return files
}

/** A program of its own, or a part of one that takes for granted what `given.ts` declares. */
export function isPart({ flags, text }: Block): boolean {
  return flags.includes("part") || !/^import /m.test(text)
}

export function nameOf(file: string, folder: string, files: ReadonlyMap<string, Block>): string {
  const block = files.get(file)
  return block === undefined ? relative(folder, file) : `${block.page}:${block.line}`
}

/** Relative links and pictures that lead nowhere: no such file, or no such heading in it. */
export function deadLinks(all: readonly Page[], exists: (path: string) => boolean): string[] {
  const anchors = new Map(all.map(({ path, text }) => [path, anchorsOf(text)]))
  return all.flatMap(({ path, text }) => {
    const prose = text.replaceAll(/^```[\s\S]*?^```/gm, "").replaceAll(/`[^`\n]*`/g, "")
    return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, link = ""]) => link)
      .filter((link) => !/^[a-z]+:/.test(link))
      .filter((link) => {
        const [to = "", anchor] = link.split("#")
        const target = to === "" ? path : join(dirname(path), to).replaceAll("\\", "/").replace(/\/$/, "")
        return !exists(target) || (anchor !== undefined && anchors.get(target)?.has(anchor) !== true)
      })
      .map((link) => `${path}: ${link}`)
  })
}

/** The names under which a browser finds the headings of a page. */
function anchorsOf(text: string): Set<string> {
  const headings = text.replaceAll(/^```[\s\S]*?^```/gm, "").matchAll(/^#{1,6} (.+)$/gm)
  return new Set([...headings].map(([, heading = ""]) => slug(heading)))
}

function slug(heading: string): string {
  return heading
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .replaceAll(" ", "-")
}
