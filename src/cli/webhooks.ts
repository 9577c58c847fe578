import { readFile } from "node:fs/promises"
import { FanfareError } from "../core/errors.ts"
import type { Webhook } from "../server/webhooks.ts"

/**
 * Webhooks as a file has them; a secret `env:NAME` stands for that variable, so that the file has none.
 * @throws FanfareError `invalid_option`: there is no such file, it is not JSON, or a variable is not set
 */
export async function readWebhooks(file: string, env: NodeJS.ProcessEnv): Promise<Record<string, Webhook>> {
  const secretOf = (text: string): string => {
    if (!text.startsWith("env:")) return text
    const value = env[text.slice("env:".length)]
    if (value !== undefined && value !== "") return value
    throw new FanfareError("invalid_option", `${file}: the variable ${text.slice("env:".length)} is not set`, { field: "webhooks" })
  }
  try {
    const given = JSON.parse(await readFile(file, "utf8")) as Record<string, Webhook>
    return Object.fromEntries(
      Object.entries(given).map(([name, webhook]) => [
        name,
        { ...webhook, secret: [webhook.secret].flat().map((text) => secretOf(String(text))) },
      ]),
    )
  } catch (cause) {
    if (cause instanceof FanfareError) throw cause
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new FanfareError("invalid_option", `the webhooks in ${file} cannot be read: ${why}`, { field: "webhooks", cause })
  }
}
