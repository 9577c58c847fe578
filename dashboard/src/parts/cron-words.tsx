import { type ReactNode, useEffect, useState } from "react"

type Tell = (cron: string) => string

const most = 240
let known: Tell | null = null
let loading: Promise<Tell> | null = null

/** What tells a line in words is loaded when the first one is shown. */
async function load(): Promise<Tell> {
  const { default: cronstrue } = await import("cronstrue")
  const words: Tell = (cron) => {
    try {
      return cronstrue.toString(cron, { use24HourTimeFormat: true }).slice(0, most)
    } catch {
      // It knows a little less than the server does: then the line speaks for itself.
      return ""
    }
  }
  known = words
  return words
}

/** A cron line in words, such as `At 09:00, Monday through Friday`. */
export function CronWords({ cron }: { readonly cron: string }): ReactNode {
  const [tell, setTell] = useState<Tell | null>(() => known)
  useEffect(() => {
    if (tell !== null) return
    loading ??= load()
    loading.then(
      (loaded) => setTell(() => loaded),
      () => (loading = null),
    )
  }, [tell])
  const words = tell === null ? "" : tell(cron)
  return words === "" ? null : <span className="cron-words">{words}</span>
}
