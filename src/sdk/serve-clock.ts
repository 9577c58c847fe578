/** Time, where functions are served: of whatever platform that is. */
export const platformClock = {
  now: (): number => Date.now(),
  /** Resolves after `ms` milliseconds; the second part gives it up. */
  after(ms: number): readonly [Promise<void>, () => void] {
    let timer: ReturnType<typeof setTimeout>
    const rung = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms)
    })
    return [rung, () => clearTimeout(timer)]
  },
  /** One turn of the event loop. */
  turn: (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0)),
}
