import { useLayoutEffect } from "react"
import { letters } from "../settings.ts"

/** A key, or two in a row such as `g r`, and what it does on this page. */
export interface Shortcut {
  readonly keys: string
  readonly does: string
  readonly act: () => void
}

const known = new Map<symbol, readonly Shortcut[]>()
const pauseMs = 1_200
let first = ""
let firstAt = 0

/** What works on the page as it is now, the newest part first. */
export function shortcuts(): readonly Shortcut[] {
  return [...known.values()].toReversed().flat()
}

/** Makes shortcuts work while a part of the page is shown. */
export function useShortcuts(list: readonly Shortcut[]): void {
  // Before what it stands for is seen: whoever sees a button may press its key.
  useLayoutEffect(() => {
    const mine = Symbol("shortcuts")
    known.set(mine, list)
    return () => void known.delete(mine)
  })
}

/** Hears every key; nothing happens while somebody types, or a dialog is open. */
export function listenToKeys(): () => void {
  const hear = (event: KeyboardEvent): void => {
    const { target, key } = event
    const chord = (event.ctrlKey || event.metaKey) && key.toLowerCase() === "k"
    if (chord && document.querySelector("dialog[open]") === null) {
      event.preventDefault()
      shortcuts()
        .find(({ keys }) => keys === "Ctrl K")
        ?.act()
      return
    }
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") !== null) return
    if (target instanceof HTMLElement && (/^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName) || target.isContentEditable)) return
    if (!letters.get() && key.length === 1) return
    // A link or button that has the focus is what Enter is for.
    if (key === "Enter" && target instanceof HTMLElement && /^(A|BUTTON)$/.test(target.tagName)) return
    const pair = event.timeStamp - firstAt < pauseMs && first !== "" ? `${first} ${key}` : ""
    const found = shortcuts().find(({ keys }) => keys === pair) ?? shortcuts().find(({ keys }) => keys === key)
    first = found === undefined ? key : ""
    firstAt = event.timeStamp
    if (found === undefined) return
    event.preventDefault()
    found.act()
  }
  addEventListener("keydown", hear)
  return () => removeEventListener("keydown", hear)
}
