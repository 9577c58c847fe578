/** A variable of the environment, where the platform has one; an empty one is none. */
export function environment(name: string): string | undefined {
  const value = (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.[name]
  return value === "" ? undefined : value
}
