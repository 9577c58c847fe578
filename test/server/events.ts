import type { StreamChange } from "../../src/protocol/api.ts"

/** One who listens to a server's live stream. */
export interface Listening {
  readonly status: number
  readonly heard: { readonly id: string; readonly change: StreamChange }[]
  /** Whether the server has ended it. */
  readonly ended: boolean
  /** Text that came, comments too. */
  readonly text: string
  close(): void
}

export async function listen(url: string, headers: Record<string, string> = {}): Promise<Listening> {
  const controller = new AbortController()
  const response = await fetch(`${url}/api/v1/stream`, { headers, signal: controller.signal })
  const listening = { status: response.status, heard: [] as Listening["heard"], ended: false, text: "", close: () => controller.abort() }
  void read(response, listening).catch(() => undefined)
  return listening
}

async function read(response: Response, listening: { heard: Listening["heard"]; ended: boolean; text: string }): Promise<void> {
  let rest = ""
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    listening.text += chunk
    const parts = (rest + chunk).split("\n\n")
    rest = parts.pop() ?? ""
    for (const part of parts) {
      const [, id] = /^id: (.+)$/m.exec(part) ?? []
      const [, data] = /^data: (.+)$/m.exec(part) ?? []
      if (id !== undefined && data !== undefined) listening.heard.push({ id, change: JSON.parse(data) as StreamChange })
    }
  }
  listening.ended = true
}
