import { type ReactNode, useState } from "react"
import type { FanoutSummary } from "../../../src/protocol/views.ts"
import { post } from "../api/client.ts"
import { count, plural } from "../format.ts"
import { useShortcuts } from "../frame/keys.ts"
import { cancelFanout, perform, retryFanout } from "../operations.ts"
import { endedOf } from "./bar.tsx"
import { Confirm } from "./dialog.tsx"

/** What can be done to a fan-out as a whole. */
export function FanoutActions({ fanout }: { readonly fanout: FanoutSummary }): ReactNode {
  const [asked, setAsked] = useState<"retry" | "cancel" | null>(null)
  const { id, failed, total } = fanout
  const left = total - endedOf(fanout)
  const retry = (): void => {
    if (failed > 0) setAsked("retry")
  }
  const cancel = (): void => {
    if (left > 0) setAsked("cancel")
  }
  const resume = (): Promise<unknown> =>
    perform(
      () => post("fanoutResume", { id }, {}),
      () => "It goes on; what has failed stays failed.",
    )
  const running = fanout.state === "running" && left > 0
  const pause = (): void => {
    if (!running) return
    void perform(
      () => post("fanoutPause", { id }, {}),
      () => "Paused: what has not begun waits until it is resumed.",
    )
  }
  useShortcuts([
    { keys: "p", does: "pause it", act: pause },
    { keys: "r", does: "retry what has failed", act: retry },
    { keys: "c", does: "cancel the rest", act: cancel },
  ])
  return (
    <>
      {fanout.state === "paused" ? (
        <button type="button" className="button" onClick={() => void resume()}>
          Resume
        </button>
      ) : null}
      {running ? (
        <button type="button" className="button" onClick={pause}>
          Pause
        </button>
      ) : null}
      {left > 0 && fanout.state !== "cancelling" ? (
        <button type="button" className="button" onClick={cancel}>
          Cancel rest …
        </button>
      ) : null}
      {failed > 0 ? (
        <button type="button" className="button button-main" onClick={retry}>
          Retry {count(failed)} failed
        </button>
      ) : null}
      {asked === null ? null : <Asked fanout={fanout} asked={asked} close={() => setAsked(null)} />}
    </>
  )
}

interface AskedProps {
  readonly fanout: FanoutSummary
  readonly asked: "retry" | "cancel"
  readonly close: () => void
}

function Asked({ fanout, asked, close }: AskedProps): ReactNode {
  const { id, failed, total } = fanout
  const left = total - endedOf(fanout)
  if (asked === "retry") {
    return (
      <Confirm
        title={`Retry ${plural(failed, "failed run")}?`}
        text="What has failed by now runs again: finished steps are kept, failed ones are done anew. What fails after this is left alone."
        act={`Retry ${count(failed)}`}
        perform={() => void retryFanout(id)}
        close={close}
      />
    )
  }
  return (
    <Confirm
      title={`Cancel the rest, about ${plural(left, "run")}?`}
      text="What has not begun, or waits, is cancelled for good. What is running may end."
      act={`Cancel ${count(left)}`}
      perform={() => void cancelFanout(id)}
      close={close}
    />
  )
}
