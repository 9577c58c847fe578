/** An app elsewhere, whose functions are called over HTTP. */
export interface HttpApp {
  readonly id: string
  /** Where it is reached. */
  readonly url: string
  /** What it is written with, as it says. */
  readonly sdk: string
  readonly framework: string | null
  /** Where each of its functions is called. */
  readonly calls: Readonly<Record<string, string>>
  /** Equal for registrations that say the same. */
  readonly checksum: string
}
