import type { ReactNode } from "react"
import { Lost, Refused } from "../api/client.ts"
import { useSessionKnown } from "../api/session.ts"

/** A question that failed: never mistaken for an empty answer. */
export function ProblemBox({ error, again }: { readonly error: Error; readonly again?: () => void }): ReactNode {
  const hint = error instanceof Refused ? error.problem.hint : undefined
  const title = error instanceof Lost ? "The server does not answer" : error instanceof Refused ? titleOf(error) : "Something went wrong"
  return (
    <div className="problem" role="alert">
      <strong>{title}</strong>
      <p>{error instanceof Lost ? "This page asks again by itself." : error.message}</p>
      {hint === undefined ? null : <p>{hint}</p>}
      {error instanceof Refused && error.problem.code !== undefined ? (
        <p className="faint">
          <code>{error.problem.code}</code> · HTTP {error.status}
        </p>
      ) : null}
      {again === undefined ? null : (
        <button type="button" className="button" onClick={again}>
          Try again
        </button>
      )}
    </div>
  )
}

function titleOf({ status, problem }: Refused): string {
  return status === 404 ? "Not found" : status >= 500 ? "The server could not answer" : (problem.title ?? "Refused")
}

interface Answer<T> {
  readonly data: T | undefined
  readonly error: Error | null
  readonly refetch: () => unknown
}

/**
 * What is known of an answer: it is on its way, it failed, or it is shown. An old answer stays while a new question fails.
 * It is shown together with what can be done about it, so not before it is known who asks.
 */
export function Answered<T>({ answer, children }: { readonly answer: Answer<T>; readonly children: (data: T) => ReactNode }): ReactNode {
  const known = useSessionKnown()
  if (answer.data !== undefined && known) return children(answer.data)
  if (answer.error !== null) return <ProblemBox error={answer.error} again={() => void answer.refetch()} />
  return <div className="loading" aria-busy="true" />
}
