import sparticuz from "@sparticuz/chromium"
import { type Browser, chromium } from "playwright-core"

/** A real Chromium, from the npm registry alone; `CHROMIUM` names another one. */
export async function openBrowser(): Promise<Browser> {
  const named = process.env["CHROMIUM"]
  if (named !== undefined) return chromium.launch({ executablePath: named, args: ["--no-sandbox"] })
  sparticuz.setGraphicsMode = false
  // All in one process, as functions in a cloud want it, does not live through the end of a context.
  const args = sparticuz.args.filter((arg) => arg !== "--single-process" && arg !== "--no-zygote")
  return chromium.launch({ executablePath: await sparticuz.executablePath(), args, headless: true })
}
