import { type KeyboardEvent, type MouseEvent, type ReactNode, useEffect, useRef, useState } from "react"
import type { Cell } from "../../../src/protocol/api.ts"
import { theme } from "../settings.ts"
import { count } from "../format.ts"
import { cellAt, cellName, layoutOf, type Layout, moved } from "./cells.ts"

/** Large maps are taller, so that a cell is still seen. */
const tallOf = (cells: number): number => (cells > 40_000 ? 720 : 360)

const colours: Readonly<Record<Cell, string>> = {
  q: "--queued",
  r: "--running",
  a: "--waiting",
  w: "--waiting",
  c: "--cell-completed",
  f: "--failed",
  x: "--ended",
}

/** Every run of a fan-out as one cell, in the order in which they were sent. */
export function CellMap({ cells, open }: { readonly cells: string; readonly open: (index: number) => void }): ReactNode {
  const canvas = useRef<HTMLCanvasElement>(null)
  const width = useWidth(canvas)
  const shown = theme.use()
  const system = useSystemTheme()
  const [cursor, setCursor] = useState<number | null>(null)
  const ratio = window.devicePixelRatio || 1
  const layout = layoutOf(cells.length, Math.max(1, Math.floor(width * ratio)), tallOf(cells.length) * ratio, ratio)
  const high = Math.max(1, layout.rows * layout.size)

  // The colours are the page's own, so a change of theme draws anew.
  // oxlint-disable-next-line react/exhaustive-deps -- `shown` and `system` are why it is drawn again
  useEffect(() => {
    if (canvas.current !== null && width > 0) draw(canvas.current, cells, layout, cursor)
  }, [cells, width, cursor, shown, system])

  const at = (event: MouseEvent<HTMLCanvasElement>): number | null =>
    cellAt(layout, cells.length, event.nativeEvent.offsetX * ratio, event.nativeEvent.offsetY * ratio)
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === "Enter" && cursor !== null) open(cursor)
    else if (/^(Arrow|Home|End)/.test(event.key)) setCursor(moved(cursor ?? 0, event.key, layout.columns, cells.length))
    else return
    event.preventDefault()
    event.stopPropagation()
  }
  return (
    <>
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- its cells are reached with the arrow keys */}
      <div className="cell-map" tabIndex={0} role="application" aria-label={labelOf(cells)} onKeyDown={onKeyDown}>
        <canvas
          ref={canvas}
          style={{ height: `${high / ratio}px` }}
          onMouseMove={(event) => setCursor(at(event))}
          onMouseLeave={() => setCursor(null)}
          onClick={(event) => {
            const cell = at(event)
            if (cell !== null) open(cell)
          }}
        />
      </div>
      <p className="faint" aria-live="polite">
        {cursor === null
          ? "Click a cell to open its run; arrow keys move from cell to cell."
          : `Run ${count(cursor + 1)} of ${count(cells.length)}: ${cellName(cells[cursor] ?? "")}`}
      </p>
    </>
  )
}

function labelOf(cells: string): string {
  let failed = 0
  for (const cell of cells) if (cell === "f") failed++
  return `Map of ${count(cells.length)} runs, ${count(failed)} of them failed. Arrow keys move from run to run, Enter opens one.`
}

function draw(canvas: HTMLCanvasElement, cells: string, { columns, rows, size, gap }: Layout, cursor: number | null): void {
  const width = columns * size
  canvas.width = canvas.clientWidth * (window.devicePixelRatio || 1)
  canvas.height = Math.max(1, rows * size)
  const context = canvas.getContext("2d")
  if (context === null) return
  const style = getComputedStyle(canvas)
  const colour = (letter: string): string => resolve(style.getPropertyValue(colours[letter as Cell] ?? "--queued"), canvas)
  const fills = new Map(Object.keys(colours).map((letter) => [letter, colour(letter)]))
  // Neighbours of the same state are one rectangle: most maps are long stretches of one colour.
  for (let from = 0; from < cells.length; ) {
    const letter = cells[from] ?? "q"
    const rowEnd = Math.min(cells.length, (Math.floor(from / columns) + 1) * columns)
    let to = from + 1
    while (gap === 0 && to < rowEnd && cells[to] === letter) to++
    context.fillStyle = fills.get(letter) ?? ""
    context.fillRect((from % columns) * size, Math.floor(from / columns) * size, (to - from) * size - gap, size - gap)
    from = to
  }
  if (cursor === null || cursor >= cells.length) return
  context.strokeStyle = resolve(style.getPropertyValue("--text"), canvas)
  context.lineWidth = Math.max(1, Math.round(size / 6))
  const edge = Math.max(size, 5)
  context.strokeRect(Math.min((cursor % columns) * size, width - edge), Math.floor(cursor / columns) * size, edge - gap, edge - gap)
}

/** A token may be `light-dark(…)`, which only a real property turns into a colour. */
function resolve(value: string, canvas: HTMLCanvasElement): string {
  canvas.style.color = value
  const colour = getComputedStyle(canvas).color
  canvas.style.color = ""
  return colour
}

function useWidth(canvas: { readonly current: HTMLCanvasElement | null }): number {
  const [width, setWidth] = useState(0)
  useEffect(() => {
    const element = canvas.current
    if (element === null) return undefined
    const observer = new ResizeObserver(() => setWidth(element.clientWidth))
    observer.observe(element)
    setWidth(element.clientWidth)
    return () => observer.disconnect()
  }, [canvas])
  return width
}

function useSystemTheme(): boolean {
  const [dark, setDark] = useState(() => matchMedia("(prefers-color-scheme: dark)").matches)
  useEffect(() => {
    const query = matchMedia("(prefers-color-scheme: dark)")
    const follow = (): void => setDark(query.matches)
    query.addEventListener("change", follow)
    return () => query.removeEventListener("change", follow)
  }, [])
  return dark
}
