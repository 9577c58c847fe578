import { useSyncExternalStore } from "react"

/** Time for the pages: the one place that asks what time it is. */
export function now(): number {
  return Date.now()
}

const everyMs = 1_000
const listeners = new Set<() => void>()
let shown = now()
let timer: ReturnType<typeof setInterval> | undefined

/** One timer for all times on the page, and none while it is hidden. */
function follow(listener: () => void): () => void {
  listeners.add(listener)
  if (timer === undefined) shown = now()
  timer ??= setInterval(() => {
    if (document.hidden) return
    shown = now()
    for (const each of listeners) each()
  }, everyMs)
  return () => {
    listeners.delete(listener)
    if (listeners.size > 0) return
    clearInterval(timer)
    timer = undefined
  }
}

const still = (): (() => void) => () => undefined

/** The time, anew each second; where nothing moves any more, as it was when that was first shown. */
export function useNow(moves = true): number {
  return useSyncExternalStore(moves ? follow : still, () => shown)
}

/** What is made of the time: shown anew when it has become something else. */
export function useText(of: (now: number) => string): string {
  return useSyncExternalStore(follow, () => of(shown))
}
