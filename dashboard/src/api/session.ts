import type { SessionView } from "../../../src/protocol/api.ts"
import { lookAgain, useAsk } from "./ask.ts"
import { address, loggedIn, Refused } from "./client.ts"

const everyMs = 60_000

/** Who asks; until that is known somebody who may change nothing, so that no button comes and goes. */
export function useSession(): SessionView {
  const { data } = useAsk("session", {}, { every: everyMs })
  return data ?? { role: null, payloads: true, login: false }
}

/** Whether it is known who asks, or that it cannot be. */
export function useSessionKnown(): boolean {
  return !useAsk("session", {}, { every: everyMs }).isPending
}

/** Whether whoever asks may change something. */
export function useMayAct(): boolean {
  return useSession().role === "admin"
}

/** @throws Refused when the key is none, or too many wrong ones were given */
export async function logIn(key: string): Promise<void> {
  const headers = { "content-type": "application/json" }
  const response = await fetch(address("session"), { method: "POST", headers, body: JSON.stringify({ key }) })
  if (!response.ok) throw new Refused(response.status, (await response.json().catch(() => ({}))) as object)
  loggedIn.set(true)
  lookAgain()
}

export async function logOut(): Promise<void> {
  await fetch(address("session"), { method: "DELETE", headers: { "content-type": "application/json" } })
  loggedIn.set(false)
}
