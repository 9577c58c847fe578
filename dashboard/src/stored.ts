import { useSyncExternalStore } from "react"

/** A value that parts of the page share, and hear of when it changes. */
export interface Shared<T> {
  get(): T
  set(value: T): void
  use(): T
}

export function shared<T>(first: T, changed?: (value: T) => void): Shared<T> {
  let current = first
  const listeners = new Set<() => void>()
  const subscribe = (listener: () => void): (() => void) => {
    listeners.add(listener)
    return () => listeners.delete(listener)
  }
  const get = (): T => current
  return {
    get,
    set(value) {
      if (Object.is(value, current)) return
      current = value
      changed?.(value)
      for (const listener of listeners) listener()
    },
    use: () => useSyncExternalStore(subscribe, get),
  }
}

/** What this browser keeps, where it may keep anything. */
export function recall(key: string): string | null {
  try {
    return localStorage.getItem(`fanfare.${key}`)
  } catch {
    return null
  }
}

export function keep(key: string, value: string): void {
  try {
    localStorage.setItem(`fanfare.${key}`, value)
  } catch {
    // A browser that keeps nothing forgets at the next visit.
  }
}
