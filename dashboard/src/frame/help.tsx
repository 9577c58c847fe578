import type { ReactNode } from "react"
import { Dialog } from "../parts/dialog.tsx"
import { shared } from "../stored.ts"
import { shortcuts } from "./keys.ts"

export const help = shared(false)

/** The keys that do something on this page. */
export function Help(): ReactNode {
  if (!help.use()) return null
  return (
    <Dialog title="Keys on this page" close={() => help.set(false)}>
      <dl className="keys">
        {shortcuts().map(({ keys, does }) => (
          <div key={keys}>
            <dt>
              {keys.split(" ").map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
      <div className="buttons">
        <button type="button" className="button" onClick={() => help.set(false)}>
          Close
        </button>
      </div>
    </Dialog>
  )
}
