import type { ReactNode } from "react"
import type { NodeSummary } from "../../../src/protocol/views.ts"
import { often, seldom, useAsk } from "../api/ask.ts"
import { count, plural } from "../format.ts"
import { Page } from "../frame/page.tsx"
import { Copy, Empty, Sample } from "../parts/copy.tsx"
import { named } from "../parts/limit-names.tsx"
import { LimitRows } from "../parts/limit-rows.tsx"
import { Answered } from "../parts/problem.tsx"
import { Ago } from "../parts/time.tsx"
import { type Column, Table } from "../parts/table.tsx"

/** The engines that share the store. */
export function NodesPage(): ReactNode {
  const nodes = useAsk("nodes", {}, { every: often })
  return (
    <Page title="Nodes">
      <Answered answer={nodes}>{({ items }) => (items.length === 0 ? <None /> : <NodeRows items={items} />)}</Answered>
      <Limits />
    </Page>
  )
}

function None(): ReactNode {
  return (
    <Empty title="No node lives.">
      <p>Nothing runs until one does.</p>
      <Sample code="npx fanfare dev app.ts" label="The command that starts one" />
    </Empty>
  )
}

const columns: readonly Column[] = [
  ["Standing"],
  ["Node"],
  ["Process", "wide-only"],
  ["Runs in hand", "right"],
  ["Functions", "right wide-only"],
  ["Started", "right wide-only"],
  ["Seen", "right wide-only"],
]

function NodeRows({ items }: { readonly items: readonly NodeSummary[] }): ReactNode {
  return (
    <section className="card">
      <div className="scroll-x">
        <Table columns={columns}>
          {items.map((node) => (
            <Row key={node.id} node={node} />
          ))}
        </Table>
      </div>
      <p className="faint">A node that was not seen for 5 s is taken for dead: others take over its runs.</p>
    </section>
  )
}

const limitsShown = 100

/** All limits that bear on runs now: of functions, and those that functions share. */
function Limits(): ReactNode {
  const limits = useAsk("limits", { query: { limit: limitsShown } }, { every: often })
  const functions = useAsk("functions", {}, { every: seldom })
  const byId = new Map(functions.data?.items.map((each) => [each.id, each]))
  return (
    <section className="card" aria-label="Limits">
      <h2>Limits</h2>
      <Answered answer={limits}>
        {({ items, next }) =>
          items.length === 0 ? (
            <p className="faint">No run counts against a limit now, and none was set by hand.</p>
          ) : (
            <>
              <div className="scroll-x">
                <LimitRows items={items.map((limit) => named(limit, byId, true))} />
              </div>
              {next === null ? null : <p className="faint">The first {limitsShown}; a function's page has its own.</p>}
            </>
          )
        }
      </Answered>
    </section>
  )
}

function Row({ node }: { readonly node: NodeSummary }): ReactNode {
  return (
    <tr className={node.alive ? "" : "dimmed"}>
      <td className="nowrap">
        <span className={node.alive ? "state-completed" : "state-failed"}>
          <span aria-hidden="true">{node.alive ? "●" : "✕"}</span> {node.alive ? "alive" : "not seen lately"}
        </span>
      </td>
      <td className="mono name">
        {node.id} <Copy text={node.id} label="Copy the node's id" />
        <span className="narrow-only faint">
          {node.host}:{node.pid}, seen <Ago at={node.seenAt} />
        </span>
      </td>
      <td className="mono nowrap wide-only">
        {node.host}:{node.pid}
      </td>
      <td className="right">{count(node.leased)}</td>
      <td className="right wide-only">
        <details>
          <summary>{plural(node.functionIds.length, "function")}</summary>
          <ul className="plain">
            {node.functionIds.map((id) => (
              <li key={id} className="mono">
                {id}
              </li>
            ))}
          </ul>
        </details>
      </td>
      <td className="right nowrap wide-only">
        <Ago at={node.startedAt} />
      </td>
      <td className="right nowrap wide-only">
        <Ago at={node.seenAt} />
      </td>
    </tr>
  )
}
