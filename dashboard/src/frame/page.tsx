import { Link } from "@tanstack/react-router"
import { type ReactNode, useEffect, useRef } from "react"
import { visible } from "../format.ts"
import { live, theme } from "../settings.ts"
import { help } from "./help.tsx"
import { palette } from "./palette.tsx"

interface PageProps {
  readonly title: string
  /** Where this page is one of many. */
  readonly above?: { readonly to: "/runs" | "/fan-outs" | "/functions" | "/events" | "/schedules"; readonly name: string }
  /** Beside the title. */
  readonly aside?: ReactNode
  readonly actions?: ReactNode
  readonly mono?: boolean
  readonly children: ReactNode
}

/** A page: its title, what can be done on it, and what it shows. */
export function Page({ title: given, above, aside, actions, mono = false, children }: PageProps): ReactNode {
  const title = visible(given)
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    document.title = `${title} · Fanfare`
  }, [title])
  return (
    <>
      <header className="head">
        <h1 ref={heading} tabIndex={-1}>
          {above === undefined ? null : (
            <>
              <Link to={above.to} className="above">
                {above.name}
              </Link>
              <span className="faint"> / </span>
            </>
          )}
          <span className={mono ? "mono" : ""}>{title}</span>
        </h1>
        {aside === undefined ? null : <div className="head-aside">{aside}</div>}
        <div className="head-tools">{actions}</div>
        <div className="head-frame">
          <FrameTools />
        </div>
      </header>
      <div className="content">{children}</div>
    </>
  )
}

export function nextTheme(): void {
  const order = { system: "light", light: "dark", dark: "system" } as const
  theme.set(order[theme.get()])
}

const themeShapes = { system: "◑", light: "○", dark: "●" } as const

function FrameTools(): ReactNode {
  const following = live.use()
  const shown = theme.use()
  return (
    <>
      <button
        type="button"
        className="button"
        aria-pressed={following}
        title="Follow what happens  ( . )"
        onClick={() => live.set(!following)}
      >
        <span className={following ? "state-completed" : "faint"} aria-hidden="true">
          {following ? "●" : "○"}
        </span>
        <span className="head-word">{following ? "Live" : "Paused"}</span>
      </button>
      <button
        type="button"
        className="button button-icon"
        title={`Theme: ${shown}  ( \\ )`}
        aria-label={`Theme: ${shown}`}
        onClick={nextTheme}
      >
        {themeShapes[shown]}
      </button>
      <button type="button" className="button roomy-only" title="Go anywhere by name  ( Ctrl K )" onClick={() => palette.set(true)}>
        Go to …
      </button>
      <button type="button" className="button button-icon wide-only" title="Keys  ( ? )" aria-label="Keys" onClick={() => help.set(true)}>
        ?
      </button>
    </>
  )
}
