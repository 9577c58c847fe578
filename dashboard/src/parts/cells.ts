import type { Cell } from "../../../src/protocol/api.ts"

/** How the cells of a fan-out lie: as large as fit, at least one dot of the screen each. */
export interface Layout {
  readonly columns: number
  readonly rows: number
  /** Of one cell, its gap included, in dots. */
  readonly size: number
  readonly gap: number
}

const largest = 14

/** @param width,height what may be used, in dots of the screen */
export function layoutOf(cells: number, width: number, height: number, ratio: number): Layout {
  let size = Math.max(1, Math.min(Math.floor(largest * ratio), Math.floor(Math.sqrt((width * height) / Math.max(1, cells)))))
  // The last row and column are not full: a little smaller may be needed.
  while (size > 1 && Math.ceil(cells / Math.floor(width / size)) * size > height) size--
  const columns = Math.max(1, Math.floor(width / size))
  return { columns, rows: Math.ceil(cells / columns), size, gap: size >= 6 * ratio ? Math.max(1, Math.round(ratio)) : 0 }
}

/** The cell at a place, or null where there is none. */
export function cellAt({ columns, size }: Layout, cells: number, x: number, y: number): number | null {
  const column = Math.floor(x / size)
  if (column < 0 || column >= columns || y < 0) return null
  const cell = Math.floor(y / size) * columns + column
  return cell < cells ? cell : null
}

/** Where an arrow key leads from a cell. */
export function moved(cell: number, key: string, columns: number, cells: number): number {
  const to =
    key === "ArrowRight"
      ? cell + 1
      : key === "ArrowLeft"
        ? cell - 1
        : key === "ArrowDown"
          ? cell + columns
          : key === "ArrowUp"
            ? cell - columns
            : key === "Home"
              ? 0
              : key === "End"
                ? cells - 1
                : cell
  return to < 0 || to >= cells ? cell : to
}

const names: Readonly<Record<Cell, string>> = {
  q: "queued",
  r: "running",
  a: "failed, tried again later",
  w: "waiting",
  c: "completed",
  f: "failed",
  x: "cancelled",
}

export function cellName(letter: string): string {
  return names[letter as Cell] ?? "queued"
}
