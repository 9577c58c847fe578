import type { ReactNode } from "react"
import type { Pages } from "../api/pages.ts"
import { ProblemBox } from "./problem.tsx"

/** A list that is loaded page by page: on its way, failed, empty, or there. */
export function Paged<T>({
  pages,
  empty,
  children,
}: {
  readonly pages: Pages<T>
  readonly empty: ReactNode
  readonly children: (items: readonly T[]) => ReactNode
}): ReactNode {
  const { items, loading, error, more, loadingMore, loadMore, again } = pages
  if (loading) return <div className="loading" aria-busy="true" />
  if (items.length === 0) return error === null ? empty : <ProblemBox error={error} again={again} />
  return (
    <section className="card">
      <div className="scroll-x">{children(items)}</div>
      {more ? (
        <button type="button" className="button" onClick={loadMore} disabled={loadingMore}>
          {loadingMore ? "Loading …" : "Load more"}
        </button>
      ) : null}
    </section>
  )
}
