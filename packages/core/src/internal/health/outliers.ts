/**
 * What an instance did since the last look.
 *
 * @internal
 */
export interface Counted {
  passed: number
  failed: number
}

/**
 * One of a service whose success rate fell behind.
 *
 * @internal
 */
export interface Outlier<T> {
  readonly of: T
  /** Its success rate, and the mean of all. */
  readonly rate: number
  readonly mean: number
}

// Where all do equally well, a hair's breadth is many deviations: what is this close to the mean is no outlier.
const closest = 0.05

/**
 * Those whose success rate lies further below the mean of all than so many standard deviations, the worst first (Envoy's
 * outlier detection, gRPC A50), of those with enough calls and if these are enough.
 *
 * @internal
 */
export const outliers = <T extends Counted>(
  members: Iterable<T>,
  rules: { readonly minInstances: number; readonly minRequests: number; readonly deviations: number }
): ReadonlyArray<Outlier<T>> => {
  const least = Math.max(rules.minRequests, 1)
  let count = 0
  let sum = 0
  let squares = 0
  for (const { failed, passed } of members) {
    if (passed + failed < least) continue
    const rate = passed / (passed + failed)
    count++
    sum += rate
    squares += rate * rate
  }
  if (count === 0 || count < rules.minInstances) return []
  const mean = sum / count
  const deviation = Math.sqrt(Math.max(squares / count - mean * mean, 0))
  const lowest = mean - Math.max(rules.deviations * deviation, closest)
  const found: Array<Outlier<T>> = []
  for (const of of members) {
    const calls = of.passed + of.failed
    if (calls >= least && of.passed / calls < lowest) found.push({ of, rate: of.passed / calls, mean })
  }
  return found.sort((left, right) => left.rate - right.rate)
}
