import { Link, Outlet, useNavigate, useRouterState } from "@tanstack/react-router"
import { type ReactNode, useEffect, useLayoutEffect, useRef } from "react"
import { often, seldom, useAsk } from "../api/ask.ts"
import { applyChange } from "../api/changes.ts"
import { connected } from "../api/client.ts"
import { followStream } from "../api/stream.ts"
import { capped } from "../format.ts"
import { dismiss, notices } from "../notices.ts"
import { live } from "../settings.ts"
import { Help, help } from "./help.tsx"
import { Login } from "./login.tsx"
import { listenToKeys, useShortcuts } from "./keys.ts"
import { Palette, palette } from "./palette.tsx"
import { nextTheme } from "./page.tsx"

export const pages = [
  { to: "/", name: "Overview", key: "o", icon: "M2 9h3v5H2zM6.5 5h3v9h-3zM11 2h3v12h-3z" },
  { to: "/runs", name: "Runs", key: "r", icon: "M2 3h12v2H2zM2 7h12v2H2zM2 11h8v2H2z" },
  { to: "/fan-outs", name: "Fan-outs", key: "b", icon: "M2 7h4l5-5h3v2h-2L8 7h6v2H8l4 3h2v2h-3L6 9H2z" },
  { to: "/functions", name: "Functions", key: "f", icon: "M6 2 2 8l4 6h2L4 8l4-6zM10 2l4 6-4 6H8l4-6-4-6z" },
  { to: "/events", name: "Events", key: "e", icon: "M9 1 3 9h4l-1 6 7-9H8z" },
  {
    to: "/schedules",
    name: "Schedules",
    key: "s",
    icon: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1m0 2a5 5 0 1 1 0 10A5 5 0 0 1 8 3M7 4h2v4l3 2-1 1.5-4-2.5z",
  },
  { to: "/failures", name: "Failures", key: "x", icon: "M8 1 .5 14.5h15zM7 6h2v4H7zm0 5h2v2H7z" },
  { to: "/nodes", name: "Nodes", key: "n", icon: "M2 2h12v5H2zm0 7h12v5H2zm2-5v1h2V4zm0 7v1h2v-1z" },
] as const

/** Pages that have no place on the rail. */
const others = [
  { to: "/operations", name: "Operations" },
  { to: "/settings", name: "Settings" },
]

/** What is around every page: the rail, the banner of a lost server, notices, and keys that work everywhere. */
export function Frame(): ReactNode {
  const navigate = useNavigate()
  const main = useRef<HTMLElement>(null)
  const path = useRouterState({ select: ({ location }) => location.pathname })
  const following = live.use()
  useLayoutEffect(listenToKeys, [])
  useEffect(() => (following ? followStream(applyChange) : undefined), [following])
  useEffect(() => {
    main.current?.scrollTo(0, 0)
  }, [path])
  useShortcuts([
    { keys: "?", does: "these keys", act: () => help.set(true) },
    { keys: "Ctrl K", does: "go anywhere by name", act: () => palette.set(true) },
    ...pages.map(({ to, name, key }) => ({ keys: `g ${key}`, does: `to ${name}`, act: () => void navigate({ to }) })),
    { keys: ".", does: "pause or follow", act: () => live.set(!live.get()) },
    { keys: "\\", does: "light, dark or as the system", act: nextTheme },
  ])
  return (
    <>
      <button type="button" className="skip" onClick={() => main.current?.querySelector("h1")?.focus()}>
        Skip to the page
      </button>
      <Rail />
      <main ref={main} className="main" id="main">
        <Banner />
        <Outlet />
      </main>
      <Notices />
      <Help />
      <Login />
      <Palette pages={[...pages, ...others]} />
    </>
  )
}

function Rail(): ReactNode {
  const failures = useAsk("failures", {}, { every: seldom })
  const failed = failures.data?.items.reduce((sum, { hours }) => sum + hours.reduce((a, b) => a + b, 0), 0) ?? 0
  return (
    <nav className="rail" aria-label="Pages">
      <Link to="/" className="brand">
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <rect width="16" height="16" rx="4" className="brand-ground" />
          <path d="M4 8h2.5M6.5 8 12 4M6.5 8H12M6.5 8l5.5 4" className="brand-lines" />
        </svg>
        <span>Fanfare</span>
      </Link>
      <ul>
        {pages.map(({ to, name, key, icon }) => (
          <li key={to}>
            <Link to={to} activeOptions={{ exact: to === "/" }} activeProps={{ "aria-current": "page" }} title={`${name}  ( g ${key} )`}>
              <svg viewBox="0 0 16 16" aria-hidden="true">
                <path d={icon} />
              </svg>
              <span className="rail-name">{name}</span>
              {to === "/failures" && failed > 0 ? <span className="rail-count">{capped(failed)}</span> : null}
              <kbd aria-hidden="true">g {key}</kbd>
            </Link>
          </li>
        ))}
      </ul>
      <Place />
    </nav>
  )
}

/** Where this is: the store, how many nodes, and whether it answers. */
function Place(): ReactNode {
  const status = useAsk("status", {}, { every: often })
  const nodes = useAsk("nodes", {}, { every: seldom })
  const answers = connected.use()
  const living = nodes.data?.items.filter(({ alive }) => alive).length ?? 0
  const store = status.data === undefined ? "" : status.data.store.startsWith("postgres") ? "postgres" : "sqlite"
  return (
    <Link to="/settings" className="place" activeProps={{ "aria-current": "page" }}>
      <span className={answers ? "state-completed" : "state-failed"} aria-hidden="true">
        {answers ? "●" : "✕"}
      </span>
      <span className="rail-name">{answers ? `${store} · ${living} ${living === 1 ? "node" : "nodes"}` : "not connected"}</span>
      <span className="off-screen">Settings</span>
    </Link>
  )
}

function Banner(): ReactNode {
  if (connected.use()) return null
  return (
    <div className="banner" role="alert">
      <strong>The server does not answer.</strong> What you see is as it was; the page connects again by itself.
    </div>
  )
}

function Notices(): ReactNode {
  return (
    <div className="notices" role="status" aria-live="polite">
      {notices.use().map(({ id, kind, text, stop }) => (
        <div key={id} className={`notice notice-${kind}`}>
          <span>{text}</span>
          {stop === undefined ? null : (
            <button type="button" className="link" onClick={stop}>
              Stop
            </button>
          )}
          <button type="button" className="link" aria-label="Dismiss" onClick={() => dismiss(id)}>
            ✕
          </button>
        </div>
      ))}
    </div>
  )
}
