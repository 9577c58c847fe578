import { rmSync } from "node:fs"
import { createServer } from "node:net"
import { dirname } from "node:path"
import { styleText } from "node:util"
import { FanfareError } from "../../core/errors.ts"
import { assemble } from "../../server/create.ts"
import { version } from "../../server/version.ts"
import { lockFile } from "../../store/lock.ts"
import { nameOfPlace, parsePlace } from "../../store/place.ts"
import type { Place } from "../../store/thread-protocol.ts"
import type { Globals } from "../globals.ts"
import { interrupted } from "../interrupted.ts"
import { printError, printJson, say } from "../output.ts"
import { followApps } from "./apps.ts"
import { CodeHost } from "./code-host.ts"
import { findFiles } from "./files.ts"
import { Screen } from "./screen.ts"
import { watchFiles } from "./watch.ts"

export interface DevOptions extends Globals {
  readonly file?: string
  readonly port?: number
  readonly db?: string
  readonly fresh?: boolean
  /** Apps that are called over HTTP. */
  readonly sdkUrl?: readonly string[]
  /** Whether to look for such apps on this machine. */
  readonly discovery?: boolean
}

/** Runs the functions of a file until it is interrupted: the engine stays up while their code is reloaded. */
export async function dev(options: DevOptions): Promise<void> {
  const began = performance.now()
  const { files, config } = await findFiles(options.file, (options.sdkUrl ?? []).length > 0)
  const place = parsePlace(options.db ?? config?.db ?? ".fanfare/dev.db")
  const wanted = options.port ?? config?.port ?? 8288
  const port = wanted === 0 ? await freePort() : wanted
  if (options.fresh === true) empty(place)

  // What user code asks about fan-outs and schedules, it asks this server: its address must be known before that code runs.
  process.env["FANFARE_URL"] ??= `http://127.0.0.1:${port}`
  const host = new CodeHost(files, say)
  if (files.length > 0) await host.start()
  const db = place.kind === "postgres" ? place.url : place.file
  const server = await assemble({ db, http: { port }, logs: options.json ? "json" : "pretty" }, host.apps, host)
  try {
    await server.start()
  } catch (error) {
    await host.close(0)
    throw error
  }
  const { engine, apps } = server
  if (engine === null || apps === null) throw new FanfareError("internal", "the engine did not start")
  const url = server.url ?? ""
  if (options.json) printJson({ event: "ready", url, db: nameOfPlace(place), functions: host.hosts() })
  else banner(url, place, files, performance.now() - began)
  const screen = new Screen(engine, { url, json: options.json })
  screen.functions()
  const stopLooking = followApps(server, options, files.length === 0)

  const stopWatching = watchFiles([...new Set(files.map(dirname))], async () => {
    const since = performance.now()
    try {
      const changes = await host.reload()
      await engine.register(host.apps)
      say(`${styleText("cyan", "~")} reloaded in ${Math.round(performance.now() - since)} ms${changes === "" ? "" : `: ${changes}`}`)
    } catch (error) {
      say(`${styleText("red", "✗")} not reloaded: the version before keeps running`)
      printError(error instanceof FanfareError ? error : new FanfareError("internal", String(error)))
    }
  })
  await interrupted()
  say("stopping: what is running may end (interrupt again to stop at once)")
  stopWatching()
  stopLooking()
  screen.close()
  await server.stop()
  await host.close(0)
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolveListening) => server.listen(0, "127.0.0.1", resolveListening))
  const address = server.address()
  await new Promise((resolveClosed) => server.close(resolveClosed))
  return typeof address === "object" && address !== null ? address.port : 0
}

/** Removes a store file, unless an engine has it. */
function empty(place: Place): void {
  if (place.kind === "postgres") {
    throw new FanfareError("invalid_option", "--fresh empties a file, not a PostgreSQL", {
      field: "--fresh",
      hint: `drop schema ${place.schema} cascade does, for all its nodes.`,
    })
  }
  const lock = lockFile(place.file)
  for (const suffix of ["", "-wal", "-shm"]) rmSync(lock.file + suffix, { force: true })
  lock.release()
}

function banner(url: string, place: Place, files: readonly string[], ms: number): void {
  say(`\n  ${styleText("bold", "fanfare")} ${version}  ready in ${Math.round(ms)} ms\n`)
  say(`  ➜  Dashboard  ${url}`)
  say(`  ➜  API        ${url}/api/v1/status`)
  say(`  ➜  Store      ${nameOfPlace(place)}${place.kind === "sqlite" ? "  (kept between restarts; --fresh to empty it)" : ""}`)
  say(
    files.length > 0
      ? `  ➜  Code       ${files.join(", ")}\n`
      : `  ➜  Apps       those that are called over HTTP: start one with INNGEST_DEV=${url}, or give its URL with -u\n     To run functions here, give the file that exports your app: fanfare dev app.ts\n`,
  )
}
