import { styleText } from "node:util"
import { FanfareError } from "../core/errors.ts"
import type { FanoutSummary } from "../core/views.ts"
import { printable } from "../server/console.ts"

/** Talk goes to standard error, results to standard output. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

export function printError(error: FanfareError): void {
  say(`${styleText("red", "✗")} ${error.message}`)
  if (error.hint !== undefined) say(`  ${error.hint}`)
}

export function firstLine(text: string): string {
  return printable(text.split("\n")[0] ?? "")
}

/** Rows in columns that line up; two spaces between them. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => (row[i] ?? "").length)))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => printable(cell).padEnd(widths[i] ?? 0))
      .join("  ")
      .trimEnd()
  return [styleText("gray", line(head)), ...rows.map(line)].join("\n")
}

export function clock(at: number | null): string {
  return at === null ? "" : new Date(at).toTimeString().slice(0, 8)
}

/** A length of time for people. */
export function span(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1_000)} s`
  if (ms < 86_400_000) return `${Math.floor(ms / 3_600_000)} h ${Math.round((ms % 3_600_000) / 60_000)} min`
  return `${Math.floor(ms / 86_400_000)} d ${Math.round((ms % 86_400_000) / 3_600_000)} h`
}

export function count(n: number): string {
  return n.toLocaleString("en-US")
}

const barCells = 30

/** A fan-out on one line: bar, share, counts, rate and what is left. Shapes tell the states apart, not colour alone. */
export function fanoutLine(f: FanoutSummary): string {
  const ended = f.completed + f.failed + f.cancelled
  const share = f.total === 0 ? 1 : ended / f.total
  const cells = (n: number): number => (f.total === 0 ? 0 : Math.floor((n / f.total) * barCells))
  const bar = "█".repeat(cells(f.completed)) + "x".repeat(cells(f.failed)) + "–".repeat(cells(f.cancelled)) + "▓".repeat(cells(f.running))
  const parts = [
    `${count(f.completed)} ok`,
    f.failed > 0 ? `${count(f.failed)} failed` : "",
    f.cancelled > 0 ? `${count(f.cancelled)} cancelled` : "",
    f.running > 0 ? `${count(f.running)} running` : "",
    `${count(Math.round(f.ratePerSecond))}/s`,
    f.state !== "ended" && f.etaMs !== null ? `${span(f.etaMs)} left` : "",
    f.state === "running" || f.state === "ended" ? "" : f.state,
    f.sealed ? "" : "more to come",
  ]
  return `${bar.slice(0, barCells).padEnd(barCells, "░")} ${(share * 100).toFixed(1).padStart(5)}%  ${count(ended)}/${count(f.total)}  ${parts
    .filter((part) => part !== "")
    .join("  ")}`
}

/** @param where which option or line it is */
export function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new FanfareError("not_json", `${where} is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`, {
      field: where,
      cause,
    })
  }
}
