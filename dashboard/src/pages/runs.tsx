import { getRouteApi } from "@tanstack/react-router"
import { type ReactNode, useRef } from "react"
import type { RunState } from "../../../src/protocol/views.ts"
import { seldom, useAsk } from "../api/ask.ts"
import { useShortcuts } from "../frame/keys.ts"
import { Page } from "../frame/page.tsx"
import { pathOfId } from "../frame/palette.tsx"
import { Empty, Sample } from "../parts/copy.tsx"
import { ProblemBox } from "../parts/problem.tsx"
import { Bulk } from "../parts/bulk.tsx"
import { RunList } from "../parts/run-list.tsx"
import { shapes } from "../parts/state.tsx"
import { useRuns } from "../api/runs.ts"
import { type RunSearch, runStates } from "../search.ts"
import { shortId } from "../parts/links.tsx"
import { plural, visible } from "../format.ts"
import { Act } from "../parts/act.tsx"

const route = getRouteApi("/runs")

/** The newest runs that a filter lets through; the filter is in the address. */
export function RunsPage(): ReactNode {
  const search = route.useSearch()
  const runs = useRuns(search)
  return (
    <Page
      title="Runs"
      actions={
        runs.items.length === 0 ? null : (
          <Act>
            <Bulk search={search} />
          </Act>
        )
      }
    >
      <Filters search={search} />
      {runs.fresh > 0 ? (
        <div className="fresh" role="status">
          <span>{runs.fresh >= runs.pageRows ? `${runs.pageRows}+ new runs` : plural(runs.fresh, "new run")}</span>
          <button type="button" className="button" onClick={runs.show}>
            Show
          </button>
        </div>
      ) : null}
      {runs.error !== null && runs.items.length === 0 ? (
        <ProblemBox error={runs.error} again={runs.show} />
      ) : runs.loading ? (
        <div className="loading" aria-busy="true" />
      ) : runs.items.length === 0 ? (
        <NoRuns search={search} />
      ) : (
        <RunList
          items={runs.items}
          since={runs.since}
          more={runs.more}
          loadMore={runs.loadMore}
          showFunction={search.function === undefined}
        />
      )}
    </Page>
  )
}

function Filters({ search }: { readonly search: RunSearch }): ReactNode {
  const navigate = route.useNavigate()
  const functions = useAsk("functions", {}, { every: seldom })
  const input = useRef<HTMLInputElement>(null)
  useShortcuts([{ keys: "/", does: "find by id", act: () => input.current?.focus() }])
  const go = (next: RunSearch): void => void navigate({ search: next })
  const known = functions.data?.items.map(({ id }) => id) ?? []
  const chosen = search.function
  return (
    <form className="filters" role="search" onSubmit={(event) => event.preventDefault()}>
      <select aria-label="State" value={search.state ?? ""} onChange={(event) => go(changed(search, "state", event.target.value))}>
        <option value="">Any state</option>
        {runStates.map((state) => (
          <option key={state} value={state}>
            {`${shapes[state]} ${state}`}
          </option>
        ))}
      </select>
      <select aria-label="Function" value={chosen ?? ""} onChange={(event) => go(changed(search, "function", event.target.value))}>
        <option value="">Any function</option>
        {(chosen === undefined || known.includes(chosen) ? known : [chosen, ...known]).map((id) => (
          <option key={id} value={id}>
            {visible(id)}
          </option>
        ))}
      </select>
      {(["fanout", "event"] as const).map((name) => {
        const id = search[name]
        return id === undefined ? null : (
          <span key={name} className="token">
            <span className="token-name">{name === "fanout" ? "fan-out" : name}</span>
            <span className="mono" title={id}>
              {shortId(id)}
            </span>
            <button type="button" className="link" aria-label={`Without this ${name}`} onClick={() => go(changed(search, name, ""))}>
              ✕
            </button>
          </span>
        )
      })}
      <FindById input={input} />
    </form>
  )
}

function changed(search: RunSearch, name: keyof RunSearch, value: string): RunSearch {
  const { [name]: _, ...rest } = search
  return value === "" ? rest : { ...rest, [name]: value }
}

function FindById({ input }: { readonly input: { readonly current: HTMLInputElement | null } }): ReactNode {
  const navigate = route.useNavigate()
  const find = (text: string): void => {
    const path = pathOfId(text.trim())
    if (path !== null) void navigate({ to: path })
    else {
      input.current?.setCustomValidity("An id begins with run_, fan_ or evt_.")
      input.current?.reportValidity()
    }
  }
  return (
    <input
      ref={input}
      type="search"
      className="find"
      aria-label="Find by id"
      placeholder="run_…, fan_… or evt_…  ( / )"
      onInput={(event) => event.currentTarget.setCustomValidity("")}
      onKeyDown={(event) => {
        if (event.key === "Enter") find(event.currentTarget.value)
        else if (event.key === "Escape") event.currentTarget.blur()
      }}
    />
  )
}

const stands: Readonly<Record<RunState, string>> = {
  scheduled: "is scheduled",
  ready: "is ready",
  running: "is running",
  waiting: "is waiting",
  completed: "has completed",
  failed: "has failed",
  cancelled: "was cancelled",
  skipped: "was skipped",
}

function NoRuns({ search }: { readonly search: RunSearch }): ReactNode {
  const navigate = route.useNavigate()
  if (Object.keys(search).length === 0) {
    return (
      <Empty title="No runs yet.">
        <p>An event that a function hears starts one; so does a tick of a schedule.</p>
        <Sample code={"npx fanfare send app/hello --data '{}'"} label="A command that sends an event" />
      </Empty>
    )
  }
  const of = search.function === undefined ? "" : ` of ${visible(search.function)}`
  return (
    <Empty title={`No run${of} ${search.state === undefined ? "matches" : stands[search.state]}.`}>
      <p>
        <button type="button" className="link" onClick={() => void navigate({ search: {} })}>
          Show all runs
        </button>
      </p>
    </Empty>
  )
}
