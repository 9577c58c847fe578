import { Link } from "@tanstack/react-router"
import type { ReactNode } from "react"
import { visible } from "../format.ts"

/** An id as people read it: its kind, the end that tells it from its neighbours, the whole on hover. */
export function shortId(id: string): string {
  return id.length <= 16 ? id : `${id.slice(0, 4)}…${id.slice(-8)}`
}

export function RunLink({ id, short = false }: { readonly id: string; readonly short?: boolean }): ReactNode {
  return (
    <Link to="/runs/$id" params={{ id }} className="mono link-id" title={id}>
      {short ? shortId(id) : id}
    </Link>
  )
}

export function FanoutLink({ id, name }: { readonly id: string; readonly name?: string }): ReactNode {
  return (
    <Link to="/fan-outs/$id" params={{ id }} className={name === undefined ? "mono link-id" : "link-id"} title={id}>
      {name ?? shortId(id)}
    </Link>
  )
}

export function FunctionLink({ id }: { readonly id: string }): ReactNode {
  return (
    <Link to="/functions/$id" params={{ id }} className="link-id">
      {id}
    </Link>
  )
}

/** The id of a schedule may be any text. */
export function ScheduleLink({ id }: { readonly id: string }): ReactNode {
  return (
    <Link to="/schedules/$id" params={{ id }} className="link-id">
      {visible(id)}
    </Link>
  )
}

export function EventLink({ id, name }: { readonly id: string; readonly name?: string }): ReactNode {
  return (
    <Link to="/events/$id" params={{ id }} className={name === undefined ? "mono link-id" : "link-id"} title={id}>
      {name ?? shortId(id)}
    </Link>
  )
}
