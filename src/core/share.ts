/** A part of a whole, such as `"5%"`. */
export type Share = `${number}%`

/** The part that a text such as `"5%"` names, from 0 to 1; null when it names none. */
export function shareOf(text: unknown): number | null {
  if (typeof text !== "string" || !/^\d+(\.\d+)?%$/.test(text)) return null
  const share = Number(text.slice(0, -1)) / 100
  return share <= 1 ? share : null
}
