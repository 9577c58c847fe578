import { watch } from "node:fs"

const debounceMs = 80
const ignored = /(^|[/\\])(node_modules|\.fanfare|\.git|dist)([/\\]|$)|(-wal|-shm|-lock|-journal|\.db|~)$/
const code = /\.([cm]?[jt]sx?|json)$/

/** Calls `changed` when code under the folders has changed, once for changes that come together, never twice at a time. */
export function watchFiles(folders: readonly string[], changed: () => Promise<void>): () => void {
  let timer: NodeJS.Timeout | null = null
  let busy = Promise.resolve()
  const watchers = folders.map((folder) =>
    watch(folder, { recursive: true }, (_, name) => {
      if (name === null || ignored.test(name) || !code.test(name)) return
      if (timer !== null) clearTimeout(timer)
      timer = setTimeout(() => {
        busy = busy.then(changed)
      }, debounceMs)
    }),
  )
  return () => {
    if (timer !== null) clearTimeout(timer)
    for (const watcher of watchers) watcher.close()
  }
}
