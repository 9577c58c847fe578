import { type ReactNode, useState } from "react"
import type { LimitSummary } from "../../../src/protocol/views.ts"
import { post } from "../api/client.ts"
import { count, visible } from "../format.ts"
import { perform } from "../operations.ts"
import { Decide, Dialog } from "./dialog.tsx"
import { Coming } from "./time.tsx"
import { Act } from "./act.tsx"
import { type Column, Table } from "./table.tsx"

/** A limit as it stands, and what it bounds, in words. */
export interface NamedLimit extends LimitSummary {
  readonly name: ReactNode
  /** Of a throttle: per how long; its places are not taken but used up. */
  readonly per: string | null
}

const columns: readonly Column[] = [
  ["Limit"],
  ["Taken", "grow wide-only"],
  ["Of", "right"],
  ["Waiting", "right"],
  ["Change", "right", "heard"],
]

/** Limits: how much of each is taken, who waits for it, and its most, which can be changed while runs wait for it. */
export function LimitRows({ items }: { readonly items: readonly NamedLimit[] }): ReactNode {
  return (
    <Table columns={columns}>
      {items.map((limit) => (
        <Row key={limit.id} limit={limit} />
      ))}
    </Table>
  )
}

function Row({ limit }: { readonly limit: NamedLimit }): ReactNode {
  const { id, name, per, used, max, held, heldUntil, setByHand, own } = limit
  const [open, setOpen] = useState(false)
  const full = per === null && max !== null && used >= max
  return (
    <tr>
      <td className="name" title={visible(id)}>
        {name}
        {heldUntil === null ? null : (
          <span className="faint">
            {" "}
            at rest until <Coming at={heldUntil} />
          </span>
        )}
      </td>
      <td className="grow wide-only">{per === null ? <Gauge used={used} max={max} /> : <span className="faint">starts over time</span>}</td>
      <td className="right nowrap">
        {per === null ? `${count(used)} / ` : ""}
        {max === null ? "–" : count(max)}
        {per === null ? "" : ` per ${per}`}
        {setByHand ? <span className="badge">{own === null ? "set by hand" : `by hand, ${count(own)} in code`}</span> : null}
      </td>
      <td className="right nowrap">
        {held === 0 ? (
          <span className="faint">0</span>
        ) : (
          <span className={full ? "state-waiting" : ""}>{held >= 1_000 ? "1,000+" : held}</span>
        )}
      </td>
      <td className="right">
        <Act>
          <button type="button" className="link" aria-label={`Change the limit ${visible(id)}`} onClick={() => setOpen(true)}>
            Change …
          </button>
        </Act>
        {open ? <Change limit={limit} close={() => setOpen(false)} /> : null}
      </td>
    </tr>
  )
}

function Gauge({ used, max }: { readonly used: number; readonly max: number | null }): ReactNode {
  const share = max === null || max === 0 ? (used > 0 ? 1 : 0) : Math.min(1, used / max)
  return (
    <div className="bar" role="img" aria-label={`${count(used)} of ${max === null ? "an unknown number" : count(max)} places are taken`}>
      <span className={share >= 1 ? "ground-waiting" : "ground-running"} style={{ flexGrow: share }} />
      <span style={{ flexGrow: 1 - share }} />
    </div>
  )
}

const most = 100_000

function Change({ limit, close }: { readonly limit: NamedLimit; readonly close: () => void }): ReactNode {
  const { id, max, own, setByHand } = limit
  const [text, setText] = useState(String(max ?? own ?? 1))
  const wanted = Number(text)
  const sound = text.trim() !== "" && Number.isInteger(wanted) && wanted >= 0 && wanted <= most
  const set = async (value: number | null): Promise<void> => {
    close()
    await perform(
      () => post("limit", { id }, { max: value }),
      () => (value === null ? `${visible(id)} is what its code says again.` : `${visible(id)} is ${count(value)} now.`),
    )
  }
  return (
    <Dialog title={`Change the limit ${visible(id)}`} close={close}>
      <p>It holds on all nodes at once, until it is reset. What has started goes on; 0 lets nothing start.</p>
      <label className="field">
        At most, from 0 to {count(most)}
        <input type="number" min={0} max={most} step={1} value={text} onChange={(event) => setText(event.target.value)} />
      </label>
      <Decide act="Set" perform={() => void set(wanted)} close={close} possible={sound}>
        {setByHand ? (
          <button type="button" className="button" onClick={() => void set(null)}>
            Reset{own === null ? "" : ` to ${count(own)}`}
          </button>
        ) : null}
      </Decide>
    </Dialog>
  )
}
