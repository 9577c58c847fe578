import { type ReactNode, useEffect, useRef, useState } from "react"
import { loggedIn } from "../api/client.ts"
import { logIn } from "../api/session.ts"

/** Asks for the key when a login has ended: over the page, which stays as it is. */
export function Login(): ReactNode {
  return loggedIn.use() ? null : <Ask />
}

function Ask(): ReactNode {
  const dialog = useRef<HTMLDialogElement>(null)
  const [key, setKey] = useState("")
  const [problem, setProblem] = useState("")
  useEffect(() => {
    dialog.current?.showModal()
  }, [])
  const submit = async (): Promise<void> => {
    try {
      await logIn(key)
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error))
    }
  }
  return (
    <dialog ref={dialog} aria-label="Log in again" onCancel={(event) => event.preventDefault()}>
      <form
        className="dialog"
        onSubmit={(event) => {
          event.preventDefault()
          void submit()
        }}
      >
        <h2>Log in again</h2>
        <p>Your login has ended. This page stays where it is.</p>
        <label className="field">
          Key of this server
          <input type="password" autoComplete="current-password" value={key} onChange={(event) => setKey(event.target.value)} />
        </label>
        <p className="field-problem" role="alert">
          {problem}
        </p>
        <div className="buttons">
          <button type="submit" className="button button-main" disabled={key === ""}>
            Log in
          </button>
        </div>
      </form>
    </dialog>
  )
}
