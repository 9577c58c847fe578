import { type ReactNode, useEffect, useRef, useState } from "react"
import type { RunDetail } from "../../../src/protocol/views.ts"
import { useShortcuts } from "../frame/keys.ts"
import { count } from "../format.ts"
import { Clock } from "./time.tsx"
import { useSession } from "../api/session.ts"
import { download } from "./json-view.tsx"

const levels = ["debug", "info", "warn", "error"] as const
type Log = RunDetail["logs"][number]

interface LogsProps {
  readonly run: RunDetail
  /** Gives all lines as they are, of which the run may have the beginnings. */
  readonly whole: () => Promise<readonly Log[]>
}

/** The lines that a run has logged; each attempt has its own. */
export function Logs({ run, whole }: LogsProps): ReactNode {
  const { payloads } = useSession()
  const [choice, setChoice] = useState<LogChoice>({ level: "debug", text: "", fence: null })
  const [follow, setFollow] = useState(false)
  const list = useRef<HTMLOListElement>(null)
  const wanted = choice.text.toLowerCase()
  const shown = run.logs.filter(
    (log) =>
      levels.indexOf(log.level) >= levels.indexOf(choice.level) &&
      (choice.fence === null || log.fence === choice.fence) &&
      (wanted === "" || `${log.message} ${log.fields ?? ""}`.toLowerCase().includes(wanted)),
  )
  const last = run.logs.length
  useEffect(() => {
    if (follow && last > 0) list.current?.scrollTo(0, list.current.scrollHeight)
  }, [follow, last])
  useShortcuts([
    { keys: "f", does: "follow the logs", act: () => setFollow(!follow) },
    { keys: "/", does: "search the logs", act: () => document.querySelector<HTMLInputElement>("#log-search")?.focus() },
  ])
  return (
    <section className="card logs-card" aria-label="Logs">
      <div className="card-head">
        <h2>Logs</h2>
        {run.logs.length === 0 ? null : (
          <div className="card-tools">
            <Choice run={run} choice={choice} choose={setChoice} />
            <label className="follow">
              <input type="checkbox" checked={follow} onChange={(event) => setFollow(event.target.checked)} /> Follow
            </label>
          </div>
        )}
      </div>
      {run.logs.length === 0 ? (
        <p className="faint">
          {payloads ? "This run has logged nothing." : "Logs are not for those who may only look."} What a function gives to{" "}
          <code>logger.info()</code> is kept here.
        </p>
      ) : (
        <>
          {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard */}
          <ol className="logs" ref={list} tabIndex={0} aria-label="Log lines">
            {shown.map((log, i) => (
              // oxlint-disable-next-line react/no-array-index-key -- a line is its number
              <Line key={i} log={log} />
            ))}
          </ol>
          {shown.length < run.logs.length ? (
            <p className="faint">
              {count(shown.length)} of {count(run.logs.length)} lines.
            </p>
          ) : null}
          <Cut logs={run.logs} whole={whole} />
        </>
      )}
    </section>
  )
}

function isCut({ message, messageChars, fields, fieldsChars }: Log): boolean {
  return message.length < messageChars || (fields ?? "").length < (fieldsChars ?? 0)
}

/** That only the beginnings of long lines are here, and where the rest is. */
function Cut({ logs, whole }: { readonly logs: readonly Log[]; readonly whole: LogsProps["whole"] }): ReactNode {
  if (!logs.some(isCut)) return null
  const lines = async (): Promise<void> => download("logs.json", `${(await whole()).map((log) => JSON.stringify(log)).join("\n")}\n`)
  return (
    <p className="faint">
      Of long lines the beginnings.{" "}
      <button type="button" className="link" onClick={() => void lines()}>
        Download them whole
      </button>
    </p>
  )
}

interface LogChoice {
  readonly level: (typeof levels)[number]
  readonly text: string
  /** Of one attempt only. */
  readonly fence: number | null
}

interface ChoiceProps {
  readonly run: RunDetail
  readonly choice: LogChoice
  readonly choose: (choice: LogChoice) => void
}

function Choice({ run, choice, choose }: ChoiceProps): ReactNode {
  const { level, text, fence } = choice
  const fences = [...new Set(run.logs.map((log) => log.fence))]
  return (
    <>
      {fences.length > 1 ? (
        <select
          aria-label="Attempt"
          value={fence ?? ""}
          onChange={(e) => choose({ ...choice, fence: e.target.value === "" ? null : Number(e.target.value) })}
        >
          <option value="">All attempts</option>
          {fences.map((each, i) => (
            <option key={each} value={each}>
              {attemptName(run, each, i)}
            </option>
          ))}
        </select>
      ) : null}
      <select aria-label="Level" value={level} onChange={(e) => choose({ ...choice, level: e.target.value as LogChoice["level"] })}>
        {levels.map((each) => (
          <option key={each} value={each}>
            {each === "debug" ? "All levels" : each === "error" ? "Errors" : `${each} and up`}
          </option>
        ))}
      </select>
      <input
        id="log-search"
        type="search"
        aria-label="Search the logs"
        placeholder="Search"
        value={text}
        onChange={(e) => choose({ ...choice, text: e.target.value })}
      />
    </>
  )
}

function attemptName(run: RunDetail, fence: number, index: number): string {
  const attempt = run.attempts.find((each) => each.fence === fence)?.attempt
  return attempt === undefined ? `Part ${index + 1}` : `Attempt ${attempt}`
}

function Line({ log }: { readonly log: Log }): ReactNode {
  return (
    <li>
      <span className="faint">
        <Clock at={log.at} />
      </span>
      <span className={`level-${log.level}`}>{log.level}</span>
      <span className="log-text">
        {log.message}
        {log.fields === null || log.fields === "{}" ? null : <span className="log-fields"> {log.fields}</span>}
        {isCut(log) ? " …" : ""}
      </span>
    </li>
  )
}
