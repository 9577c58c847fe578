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

interface DecideProps {
  /** What the button says. */
  readonly act: string
  readonly perform: () => void
  readonly close: () => void
  readonly possible?: boolean
  /** Other buttons. */
  readonly children?: ReactNode
}

/** The end of a dialog: it is left, or what it is about is done. */
export function Decide({ act, perform, close, possible = true, children }: DecideProps): ReactNode {
  return (
    <div className="buttons">
      <button type="button" className="button" onClick={close}>
        Leave it
      </button>
      {children}
      <button type="button" className="button button-main" disabled={!possible} onClick={perform}>
        {act}
      </button>
    </div>
  )
}

interface ConfirmProps {
  readonly title: string
  readonly text: string
  /** What the button says. */
  readonly act: string
  readonly perform: () => void
  readonly close: () => void
}

/** Asks before something is done to many, with their number. */
export function Confirm({ title, text, act, perform, close }: ConfirmProps): ReactNode {
  const go = (): void => {
    close()
    perform()
  }
  return (
    <Dialog title={title} close={close}>
      <p>{text}</p>
      <Decide act={act} perform={go} close={close} />
    </Dialog>
  )
}
