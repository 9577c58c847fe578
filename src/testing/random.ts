import type { Random } from "../core/ports.ts"

/** Chance that is the same for the same seed (sfc32). Different labels give streams that have nothing to do with each other. */
export function seededRandom(seed: number, label = ""): Random {
  let a = 0x9e3779b9
  let b = seed | 0
  let c = hash(label)
  let counter = 1
  const next = (): number => {
    const t = (a + b + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + t
    return (t >>> 0) / 2 ** 32
  }
  for (let i = 0; i < 12; i++) next()
  return { next }
}

/** FNV-1a. */
function hash(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return h
}
