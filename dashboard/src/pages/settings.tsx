import type { ReactNode } from "react"
import type { KeySummary } from "../../../src/protocol/api.ts"
import { seldom, useAsk } from "../api/ask.ts"
import { address } from "../api/client.ts"
import { useNow } from "../clock.ts"
import { momentTime, plural } from "../format.ts"
import { Page } from "../frame/page.tsx"
import { Act } from "../parts/act.tsx"
import { Copy } from "../parts/copy.tsx"
import { Answered } from "../parts/problem.tsx"
import { Table } from "../parts/table.tsx"
import { Ago } from "../parts/time.tsx"
import { absoluteTimes, letters, theme, type Theme, zone, type ZoneChoice, zones } from "../settings.ts"
import { logOut, useSession } from "../api/session.ts"

export function SettingsPage(): ReactNode {
  return (
    <Page title="Settings">
      <Server />
      <You />
      <Act>
        <Keys />
      </Act>
      <Browser />
    </Page>
  )
}

function Server(): ReactNode {
  const status = useAsk("status", {}, { every: seldom })
  return (
    <section className="card" aria-label="This server">
      <h2>This server</h2>
      <Answered answer={status}>
        {({ version, store, nodeId, startedAt, retentionDays }) => (
          <dl className="facts">
            <div>
              <dt>Version</dt>
              <dd>{version}</dd>
            </div>
            <div>
              <dt>Store</dt>
              <dd className="mono">{store}</dd>
            </div>
            <div>
              <dt>Node</dt>
              <dd className="mono">{nodeId}</dd>
            </div>
            <div>
              <dt>Started</dt>
              <dd>
                <Ago at={startedAt} />
              </dd>
            </div>
            <div>
              <dt>Ended runs are kept</dt>
              <dd>{plural(retentionDays, "day")}</dd>
            </div>
            <div>
              <dt>API</dt>
              <dd>
                <a className="link mono" href={address("status")}>
                  {address("status").replace(/\/status$/, "")}
                </a>
              </dd>
            </div>
          </dl>
        )}
      </Answered>
    </section>
  )
}

const roles = {
  admin: "may do everything",
  read: "may look and change nothing",
} as const

/** Who asks, and what that one may do. */
function You(): ReactNode {
  const { role, payloads, login } = useSession()
  return (
    <section className="card" aria-label="You">
      <h2>You</h2>
      <p>
        {!login
          ? "This server has no keys: whoever reaches it may do everything, which is only this machine."
          : role === null
            ? "You are not logged in."
            : `Your key ${roles[role]}${payloads ? "" : ", and sees no payloads"}.`}
      </p>
      {login ? (
        <button type="button" className="button" onClick={() => void logOut()}>
          Log out
        </button>
      ) : null}
    </section>
  )
}

const kinds: Readonly<Record<KeySummary["kind"], string>> = {
  signing: "of this server and its apps: may do everything",
  event: "sends events",
  admin: "of people: may do everything",
  read: "of people: may look",
}

/** Which keys there are: by their fingerprints, never themselves. */
function Keys(): ReactNode {
  const keys = useAsk("keys", {}, { every: seldom })
  return (
    <section className="card" aria-label="Keys">
      <h2>Keys</h2>
      <Answered answer={keys}>
        {({ items }) =>
          items.length === 0 ? (
            <p className="faint">This server has none, and answers to this machine only.</p>
          ) : (
            <>
              <Table columns={[["Key"], ["Fingerprint"], ["What for", "grow"]]}>
                {items.map((key) => (
                  <KeyRow key={`${key.kind} ${key.fingerprint}`} each={key} />
                ))}
              </Table>
              <p className="faint">
                A fingerprint is the first 8 digits of <code>printf 'fanfare fingerprint %s' KEY | sha256sum</code>. Keys are set where the
                server is started.
              </p>
            </>
          )
        }
      </Answered>
    </section>
  )
}

function KeyRow({ each: { kind, fingerprint, signs } }: { readonly each: KeySummary }): ReactNode {
  const signing = kind !== "signing" ? "" : signs ? " · this one signs" : " · accepted, does not sign"
  return (
    <tr>
      <td className="nowrap">{kind}</td>
      <td className="nowrap mono">
        {fingerprint} <Copy text={fingerprint} label={`Copy the fingerprint of the ${kind} key`} />
      </td>
      <td className="grow">
        {kinds[kind]}
        {signing}
      </td>
    </tr>
  )
}

const themes: readonly Theme[] = ["system", "light", "dark"]

function Browser(): ReactNode {
  const shown = theme.use()
  const on = letters.use()
  return (
    <section className="card" aria-label="This browser">
      <h2>This browser</h2>
      <fieldset className="choices">
        <legend>Theme</legend>
        {themes.map((each) => (
          <label key={each}>
            <input type="radio" name="theme" checked={shown === each} onChange={() => theme.set(each)} /> {each}
          </label>
        ))}
      </fieldset>
      <Times />
      <fieldset className="choices">
        <legend>Keys</legend>
        <label>
          <input type="checkbox" checked={on} onChange={(event) => letters.set(event.target.checked)} /> Single letters are shortcuts
        </label>
      </fieldset>
    </section>
  )
}

const zoneNames: Readonly<Record<ZoneChoice, string>> = {
  browser: `this browser's (${new Intl.DateTimeFormat().resolvedOptions().timeZone})`,
  UTC: "UTC",
  schedule: "a schedule's own, where there is one",
}

function Times(): ReactNode {
  const [chosen, whole] = [zone.use(), absoluteTimes.use()]
  return (
    <>
      <fieldset className="choices">
        <legend>Clocks</legend>
        {zones.map((each) => (
          <label key={each}>
            <input type="radio" name="zone" checked={chosen === each} onChange={() => zone.set(each)} /> {zoneNames[each]}
          </label>
        ))}
      </fieldset>
      <fieldset className="choices">
        <legend>Times in lists</legend>
        {[false, true].map((each) => (
          <label key={String(each)}>
            <input type="radio" name="times" checked={whole === each} onChange={() => absoluteTimes.set(each)} />{" "}
            {each ? "when it was" : "how long ago"}
          </label>
        ))}
      </fieldset>
      <p className="faint">Now: {momentTime(useNow())}.</p>
    </>
  )
}
