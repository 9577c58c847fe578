/** Resolves at the first SIGINT or SIGTERM; the second one ends the process at once. */
export async function interrupted(): Promise<void> {
  await new Promise<void>((resolveStop) => {
    let asked = false
    const stop = (): void => {
      if (asked) process.exit(130)
      asked = true
      resolveStop()
    }
    process.on("SIGINT", stop)
    process.on("SIGTERM", stop)
  })
}
