import { useNavigate } from "@tanstack/react-router"
import type { ReactNode } from "react"
import type { FunctionSummary } from "../../../src/protocol/views.ts"
import { useAsk } from "../api/ask.ts"
import { plural } from "../format.ts"
import { runNow } from "../operations.ts"
import { Empty, Sample } from "./copy.tsx"
import { Coming } from "./time.tsx"
import { Act } from "./act.tsx"

export const smallestFunction = `import { Fanfare } from "fanfare"
export const fanfare = new Fanfare({ id: "my-app" })

export const hello = fanfare.createFunction(
  { id: "hello", triggers: [{ event: "app/hello" }] },
  async ({ event, logger }) => logger.info("hello", event.data),
)`

/** Before anything has run: what there is, and how to make it run. */
export function FirstSteps(): ReactNode {
  const functions = useAsk("functions")
  if (functions.data === undefined) return null
  // First those that are started with a click.
  const active = functions.data.items
    .filter((each) => each.active)
    .toSorted((a, b) => Number(eventOf(a) !== undefined) - Number(eventOf(b) !== undefined))
  if (active.length === 0) {
    return (
      <Empty title="No functions yet.">
        <p>
          Write one into a file and run it with <code>npx fanfare dev app.ts</code>; it shows up here.
        </p>
        <Sample code={smallestFunction} label="The smallest function" />
      </Empty>
    )
  }
  return (
    <Empty title="Nothing has run yet.">
      <p>
        There {active.length === 1 ? "is" : "are"} {plural(active.length, "function")}. Start one now, or send an event that it hears.
      </p>
      <ul className="first-functions">
        {active.slice(0, 5).map((each) => (
          <First key={each.id} each={each} />
        ))}
      </ul>
    </Empty>
  )
}

function eventOf({ triggers }: FunctionSummary): string | undefined {
  return triggers.flatMap((trigger) => ("event" in trigger ? [trigger.event] : []))[0]
}

function First({ each }: { readonly each: FunctionSummary }): ReactNode {
  const navigate = useNavigate()
  const event = eventOf(each)
  const nextAt = each.schedules[0]?.nextAt ?? null
  const start = async (): Promise<void> => {
    const id = await runNow(each.id)
    if (id !== null) await navigate({ to: "/runs/$id", params: { id } })
  }
  return (
    <li>
      <strong>{each.id}</strong>
      {nextAt === null ? null : (
        <span className="faint">
          next tick <Coming at={nextAt} />
        </span>
      )}
      {event === undefined ? (
        <Act>
          <button type="button" className="button" onClick={() => void start()}>
            Run now
          </button>
        </Act>
      ) : (
        <Sample code={`npx fanfare send ${event.replace(/\*$/, "test")} --data '{}'`} label="The command that sends its event" />
      )}
    </li>
  )
}
