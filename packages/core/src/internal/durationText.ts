const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/**
 * Milliseconds of a `DurationText`, which its schema has checked: `250ms`, `30s`, `5m`.
 *
 * @internal
 */
export const durationMillis = (text: string): number => {
  const parsed = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text)
  return parsed === null ? NaN : Number(parsed[1]) * units[parsed[2]!]!
}
