import { useEffect, useState } from "react"
import { useShortcuts } from "../frame/keys.ts"

/**
 * Makes `j` and `k` walk along the rows of a list, and Enter open one. Gives the row that is marked; -1 for none.
 * @param one what a row is, in a word
 */
export function useCursor(rows: number, one: string, open: (row: number) => void): number {
  const [cursor, setCursor] = useState(-1)
  const move = (by: number): void => setCursor(Math.max(0, Math.min(rows - 1, cursor + by)))
  useShortcuts([
    { keys: "j", does: `next ${one}`, act: () => move(1) },
    { keys: "k", does: `previous ${one}`, act: () => move(-1) },
    {
      keys: "Enter",
      does: `open the ${one}`,
      act: () => {
        if (cursor >= 0 && cursor < rows) open(cursor)
      },
    },
  ])
  useEffect(() => {
    if (cursor >= 0) document.querySelector("tr.marked")?.scrollIntoView({ block: "nearest" })
  }, [cursor])
  return cursor
}
