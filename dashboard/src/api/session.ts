import type { SessionView } from "../../../src/protocol/api.ts"
import { lookAgain, useAsk } from "./ask.ts"
import { getExact, loggedIn, post } from "./client.ts"

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
  await post("login", {}, { key })
  loggedIn.set(true)
  lookAgain()
}

export async function logOut(): Promise<void> {
  await getExact("logout")
  loggedIn.set(false)
}
