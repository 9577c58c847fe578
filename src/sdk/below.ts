/** A path of a server: below the path that its own URL may have, where a proxy has it. @throws TypeError when `url` is none */
export function below(url: string, path: string): URL {
  const base = new URL(url)
  return new URL(base.pathname.replace(/\/$/, "") + path, base)
}
