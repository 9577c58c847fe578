/** A login of a person, as it is remembered once it has ended. */
export interface Login {
  readonly id: string
  /** Of the key that was given. */
  readonly keyId: string
  readonly beganAt: number
}
