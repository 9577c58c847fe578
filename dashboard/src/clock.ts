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

/** The time, anew each second. */
export function useNow(): number {
  return useSyncExternalStore(follow, () => shown)
}
