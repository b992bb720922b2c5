/** Milliseconds of a text that `DurationText` accepted. */
export const millisOf = (text: string): number => {
  const [, amount = "0", unit = "ms"] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? []
  const scale = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[unit] ?? 1
  return Number(amount) * scale
}
