import { showTimesIn } from "./format.ts"
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

export const zones = ["browser", "UTC", "schedule"] as const
/** Where the clocks hang by which times are told; `schedule`: in a schedule's own zone, and else that of this browser. */
export type ZoneChoice = (typeof zones)[number]

const told = (choice: ZoneChoice): void => showTimesIn(choice === "UTC" ? "UTC" : undefined)
const keptZone = recall("zone")
export const zone = shared<ZoneChoice>(zones.find((each) => each === keptZone) ?? "browser", (choice) => {
  keep("zone", choice)
  told(choice)
})
told(zone.get())

/** Whether lists say when something was, and not how long ago. */
export const absoluteTimes = shared(recall("times") === "absolute", (on) => keep("times", on ? "absolute" : "relative"))
