import { type ReactNode, useEffect, useRef } from "react"

/** A dialog of the browser's own: it holds the focus, and Escape closes it. */
export function Dialog({
  title,
  close,
  children,
}: {
  readonly title: string
  readonly close: () => void
  readonly children: ReactNode
}): ReactNode {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    dialog.current?.showModal()
  }, [])
  return (
    <dialog ref={dialog} aria-label={title} onClose={close} onClick={(event) => event.target === dialog.current && close()}>
      <div className="dialog">
        <h2>{title}</h2>
        {children}
      </div>
    </dialog>
  )
}

/** Asks before something is done to many, with their number. */
export function Confirm({
  title,
  text,
  act,
  perform,
  close,
}: {
  readonly title: string
  readonly text: string
  /** What the button says. */
  readonly act: string
  readonly perform: () => void
  readonly close: () => void
}): ReactNode {
  return (
    <Dialog title={title} close={close}>
      <p>{text}</p>
      <div className="buttons">
        <button type="button" className="button" onClick={close}>
          Leave it
        </button>
        <button
          type="button"
          className="button button-main"
          onClick={() => {
            close()
            perform()
          }}
        >
          {act}
        </button>
      </div>
    </Dialog>
  )
}
