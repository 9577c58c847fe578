/** Options that every command has. */
export interface Globals {
  readonly url: string
  readonly json: boolean
}
