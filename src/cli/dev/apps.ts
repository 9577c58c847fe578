import { styleText } from "node:util"
import { systemClock } from "../../engine/system.ts"
import type { FanfareServer, Internals } from "../../server/create.ts"
import type { AppLook } from "../../server/apps.ts"
import { printJson, say } from "../output.ts"

/** Where apps usually are while they are developed. */
const ports = [
  80, 3000, 3001, 3002, 3003, 3004, 3005, 3006, 3007, 3008, 3009, 3010, 4321, 5000, 5173, 8000, 8080, 8081, 8787, 8888, 8910, 8911, 8912,
  8913, 8914, 8915,
]
const paths = ["/api/inngest", "/x/inngest", "/.netlify/functions/inngest", "/.redwood/functions/inngest", "/api/fanfare"]
const everyMs = 5_000
const answerMs = 1_000

interface Wanted {
  readonly sdkUrl?: readonly string[]
  readonly discovery?: boolean
  readonly json: boolean
}

/** Looks at the apps that were given, and for others on this machine until one is found; gives the way to stop. */
export function followApps(server: FanfareServer & Internals, { sdkUrl = [], discovery = true, json }: Wanted, alone: boolean): () => void {
  const { apps, engine } = server
  if (apps === null || engine === null) return () => undefined
  const tell = ({ url, error }: AppLook): void => {
    if (json) printJson({ event: "app", url, error })
    else say(error === null ? `${styleText("green", "✓")} ${url} is an app: ${functionsAt(url)}` : `${styleText("yellow", "!")} ${error}`)
  }
  apps.follow(sdkUrl, tell)
  const functionsAt = (url: string): string => {
    const app = engine.registry.apps.find((each) => each.url === url)
    const n = Object.keys(app?.calls ?? {}).length
    return app === undefined ? "registered" : `${app.id}, ${n} function${n === 1 ? "" : "s"}`
  }
  let stopped = !alone || !discovery || sdkUrl.length > 0
  const look = async (): Promise<void> => {
    if (stopped || engine.registry.apps.length > 0) return
    for (const url of await findApps()) {
      const error = await apps.sync(url).then(
        () => null,
        (thrown: unknown) => String(thrown),
      )
      if (error === null) tell({ url, error })
    }
    systemClock.after(everyMs, () => void look())
  }
  void look()
  return () => {
    stopped = true
  }
}

/** URLs on this machine that answer as an app does. */
async function findApps(): Promise<string[]> {
  const found = await Promise.all(
    [...new Set([...ports, Number(process.env["PORT"] ?? 3000)])].map(async (port) => {
      const origin = `http://localhost:${port}`
      if ((await ask(origin)) === null) return []
      const answers = await Promise.all(
        paths.map(async (path) => ((await ask(origin + path))?.has("x-inngest-sdk") === true ? [origin + path] : [])),
      )
      return answers.flat()
    }),
  )
  return found.flat()
}

async function ask(url: string): Promise<Headers | null> {
  try {
    const { headers, body } = await fetch(url, { redirect: "manual", signal: AbortSignal.timeout(answerMs) })
    await body?.cancel()
    return headers
  } catch {
    return null
  }
}
