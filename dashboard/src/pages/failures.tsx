import { Link } from "@tanstack/react-router"
import type { ReactNode } from "react"
import { often, useAsk } from "../api/ask.ts"
import { count } from "../format.ts"
import { Page } from "../frame/page.tsx"
import { Empty } from "../parts/copy.tsx"
import { FailureRows } from "../parts/failure-rows.tsx"
import { Answered } from "../parts/problem.tsx"
import { RetryAll, RetryCause } from "../parts/retry-cause.tsx"
import { Act } from "../parts/act.tsx"

/** What fails, across all functions, by its cause; and its repair. */
export function FailuresPage(): ReactNode {
  const failures = useAsk("failures", {}, { every: often })
  const some = (failures.data?.items.length ?? 0) > 0
  return (
    <Page
      title="Failures"
      actions={
        <>
          {some ? (
            <Act>
              <RetryAll />
            </Act>
          ) : null}
          <Link to="/operations" className="button">
            Operations
          </Link>
        </>
      }
    >
      <Answered answer={failures}>
        {({ items, looked, more }) =>
          items.length === 0 ? (
            <Empty title="No failures.">
              <p>Runs whose last attempt failed show up here, grouped by what they have in common.</p>
            </Empty>
          ) : (
            <section className="card">
              <FailureRows
                items={items}
                action={(cause) => (
                  <Act>
                    <RetryCause cause={cause} alike={items.filter(({ fingerprint }) => fingerprint === cause.fingerprint).length} />
                  </Act>
                )}
              />
              {more ? <p className="faint">The newest {count(looked)} failed runs were looked at; there are older ones.</p> : null}
            </section>
          )
        }
      </Answered>
    </Page>
  )
}
