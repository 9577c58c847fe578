import { type ReactNode, useEffect, useRef, useState } from "react"
import type { RunDetail } from "../../../src/protocol/views.ts"
import { useShortcuts } from "../frame/keys.ts"
import { count } from "../format.ts"
import { Clock } from "./time.tsx"
import { useSession } from "../api/session.ts"

const levels = ["debug", "info", "warn", "error"] as const
type Log = RunDetail["logs"][number]

/** The lines that a run has logged; each attempt has its own. */
export function Logs({ run }: { readonly run: RunDetail }): ReactNode {
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
        </>
      )}
    </section>
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
      </span>
    </li>
  )
}
