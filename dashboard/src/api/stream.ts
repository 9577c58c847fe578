import type { StreamChange } from "../../../src/protocol/api.ts"
import { shared } from "../stored.ts"
import { address } from "./client.ts"

/** Whether the server tells what changes; while it does not, pages ask by themselves. */
export const told = shared(false)

type Told = StreamChange | "beat" | "down"

const beatMs = 5_000
const silentMs = 12_000
const againMs = 5_000

/**
 * Hears what changes, while this page can be seen. A browser has one stream, however many pages show the dashboard: the one that has
 * the lock holds it and hands on what it hears. Without locks (a page that came neither by HTTPS nor from this machine) there is none.
 */
export function followStream(changed: (change: StreamChange) => void): () => void {
  if (!("locks" in navigator) || !("BroadcastChannel" in window)) return () => undefined
  const name = `fanfare ${new URL(document.baseURI).pathname}`
  const channel = new BroadcastChannel(name)
  let silent: ReturnType<typeof setTimeout> | undefined
  let release: AbortController | null = null

  const hear = (message: Told): void => {
    clearTimeout(silent)
    silent = setTimeout(() => told.set(false), silentMs)
    told.set(message !== "down")
    if (typeof message === "object") changed(message)
  }
  channel.addEventListener("message", ({ data }: MessageEvent<Told>) => {
    if (!document.hidden) hear(data)
  })
  const tell = (message: Told): void => {
    hear(message)
    channel.postMessage(message)
  }
  const follow = (): void => {
    if (document.hidden) {
      release?.abort()
      release = null
      clearTimeout(silent)
      told.set(false)
    } else if (release === null) {
      const { signal } = (release = new AbortController())
      // Refused when the page is hidden while it waits for its turn.
      navigator.locks.request(name, { signal }, () => hold(signal, tell)).catch(() => undefined)
    }
  }
  document.addEventListener("visibilitychange", follow)
  follow()
  return () => {
    document.removeEventListener("visibilitychange", follow)
    release?.abort()
    clearTimeout(silent)
    channel.close()
    told.set(false)
  }
}

/** Holds the stream until it is released. */
async function hold(signal: AbortSignal, tell: (message: Told) => void): Promise<void> {
  let again: ReturnType<typeof setTimeout> | undefined
  const open = (): EventSource => {
    const opened = new EventSource(address("stream"))
    opened.addEventListener("open", () => tell("beat"))
    opened.addEventListener("change", ({ data }: MessageEvent<string>) => tell(JSON.parse(data) as StreamChange))
    opened.addEventListener("error", () => {
      tell("down")
      // A connection that broke is made again by the browser; one that was refused is not.
      if (opened.readyState === EventSource.CLOSED) again = setTimeout(() => (source = open()), againMs)
    })
    return opened
  }
  let source = open()
  const beat = setInterval(() => {
    if (source.readyState === EventSource.OPEN) tell("beat")
  }, beatMs)
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }))
  clearInterval(beat)
  clearTimeout(again)
  source.close()
}
