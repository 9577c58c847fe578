/** One thing that was looked at. `fix`: what to do about it. */
export interface Finding {
  readonly name: string
  readonly state: "ok" | "warn" | "bad"
  readonly detail: string
  readonly fix: string | null
}

export function finding(name: string, state: Finding["state"], detail: string, fix?: string): Finding {
  return { name, state, detail, fix: fix ?? null }
}
