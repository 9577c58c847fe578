/** Stands for the URL of an app, and of its functions, whose workers connect to us: it is not called there. */
export const connectedUrl = "wss://connect"

/** An app elsewhere, whose functions are called over HTTP, or over the connections that its workers open. */
export interface HttpApp {
  readonly id: string
  /** Where it is reached; `connectedUrl`: through its workers. */
  readonly url: string
  /** What it is written with, as it says. */
  readonly sdk: string
  readonly framework: string | null
  /** Where each of its functions is called. */
  readonly calls: Readonly<Record<string, string>>
  /** Equal for registrations that say the same. */
  readonly checksum: string
}
