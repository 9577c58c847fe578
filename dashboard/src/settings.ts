import { keep, recall, shared } from "./stored.ts"

export type Theme = "system" | "light" | "dark"

function show(theme: Theme): void {
  if (theme === "system") delete document.documentElement.dataset["theme"]
  else document.documentElement.dataset["theme"] = theme
}

const kept = recall("theme")
export const theme = shared<Theme>(kept === "light" || kept === "dark" ? kept : "system", (value) => {
  keep("theme", value)
  show(value)
})
show(theme.get())

/** Whether pages follow what happens. */
export const live = shared(true)

/** Whether single letters do something: some input devices type by themselves. */
export const letters = shared(recall("letters") !== "off", (on) => keep("letters", on ? "on" : "off"))
