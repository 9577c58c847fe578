import { useNavigate } from "@tanstack/react-router"
import { type KeyboardEvent, type ReactNode, useState } from "react"
import { seldom, useAsk } from "../api/ask.ts"
import { visible } from "../format.ts"
import { Dialog } from "../parts/dialog.tsx"
import { shared } from "../stored.ts"

export const palette = shared(false)

interface Place {
  readonly kind: string
  readonly name: string
  readonly path: string
}

const shownMost = 12

/** Goes anywhere by a few letters of its name, or by an id. */
export function Palette({ pages }: { readonly pages: readonly { readonly to: string; readonly name: string }[] }): ReactNode {
  if (!palette.use()) return null
  return (
    <Dialog title="Go to" close={() => palette.set(false)}>
      <Search pages={pages} />
    </Dialog>
  )
}

function Search({ pages }: { readonly pages: readonly { readonly to: string; readonly name: string }[] }): ReactNode {
  const navigate = useNavigate()
  const [text, setText] = useState("")
  const [cursor, setCursor] = useState(0)
  const places = usePlaces(pages, text.trim())
  const at = Math.min(cursor, places.length - 1)
  const go = (place: Place | undefined): void => {
    if (place === undefined) return
    palette.set(false)
    void navigate({ to: place.path })
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === "ArrowDown") setCursor(Math.min(places.length - 1, at + 1))
    else if (event.key === "ArrowUp") setCursor(Math.max(0, at - 1))
    else if (event.key === "Enter") go(places[at])
    else return
    event.preventDefault()
  }
  return (
    <>
      <input
        role="combobox"
        aria-label="A page, a function, a schedule or an id"
        aria-expanded="true"
        aria-controls="places"
        aria-activedescendant={at < 0 ? undefined : `place-${at}`}
        className="palette"
        placeholder="A page, a function, a schedule, or an id"
        value={text}
        onKeyDown={onKeyDown}
        onChange={(event) => {
          setText(event.target.value)
          setCursor(0)
        }}
      />
      <ul id="places" role="listbox" aria-label="Places" className="places">
        {places.map((place, i) => (
          <li key={place.path} id={`place-${i}`} role="option" aria-selected={i === at} onClick={() => go(place)}>
            <span className="clip">{visible(place.name)}</span>
            <span className="faint">{place.kind}</span>
          </li>
        ))}
      </ul>
      {places.length === 0 ? <p className="faint">Nothing has such a name.</p> : null}
    </>
  )
}

/** An id says of itself what it names. */
export function pathOfId(id: string): string | null {
  const folder = { run_: "runs", fan_: "fan-outs", evt_: "events" }[id.slice(0, 4)]
  return folder === undefined ? null : `/${folder}/${encodeURIComponent(id)}`
}

function usePlaces(pages: readonly { readonly to: string; readonly name: string }[], text: string): readonly Place[] {
  const functions = useAsk("functions", {}, { every: seldom })
  const schedules = useAsk("schedules", { query: { limit: 500 } }, { every: seldom })
  const named = pathOfId(text)
  const wanted = text.toLowerCase()
  const all: readonly Place[] = [
    ...(named === null ? [] : [{ kind: "id", name: text, path: named }]),
    ...pages.map(({ to, name }) => ({ kind: "page", name, path: to })),
    ...(functions.data?.items ?? []).map(({ id }) => ({ kind: "function", name: id, path: `/functions/${encodeURIComponent(id)}` })),
    ...(schedules.data?.items ?? []).map(({ id }) => ({ kind: "schedule", name: id, path: `/schedules/${encodeURIComponent(id)}` })),
  ]
  return all.filter(({ kind, name }) => kind === "id" || name.toLowerCase().includes(wanted)).slice(0, shownMost)
}
