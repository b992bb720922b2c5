/**
 * Durations as a person writes them: `250ms`, `30s`, `5m`.
 */
const scales: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

const parts = (text: string) => /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text)

export const isDuration = (text: string): boolean => parts(text) !== null

/** Milliseconds of a duration. */
export const millisOf = (text: string): number => {
  const [, amount = "", unit = ""] = parts(text) ?? []
  return Number(amount) * (scales[unit] ?? NaN)
}
