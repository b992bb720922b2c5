import { describe, expect, it } from "vitest"
import { Counter } from "../../src/fleet/counter.ts"

/** Counts `calls` a second for a while, told twice a second. */
const steady = (counter: Counter, from: number, seconds: number, calls: number, failures = 0, begin = 0): number => {
  for (let at = 0; at <= seconds * 2; at++) {
    counter.add(from + at * 500, begin + Math.round(at * calls / 2), Math.round(at * failures / 2))
  }
  return from + seconds * 1000
}

describe("counter", () => {
  it("knows nothing of what it has not seen", () => {
    const counter = new Counter()
    expect([counter.rate(5_000), counter.failed(5_000)]).toEqual([0, undefined])
    counter.add(10_000, 500, 10)
    // 500 calls before we came say nothing of now.
    expect([counter.rate(10_100), counter.rate(12_000), counter.failed(12_000)]).toEqual([0, 0, undefined])
  })

  it("reads a steady stream as one number, from its first second on", () => {
    const counter = new Counter()
    const from = 1_000_000
    for (let at = 0; at <= 120; at++) {
      const now = from + at * 500
      counter.add(now, at * 50, at)
      if (at >= 2) expect(counter.rate(now)).toBeCloseTo(100, 0)
      if (at >= 2) expect(counter.failed(now)).toBeCloseTo(0.02, 2)
    }
  })

  it("falls to nothing within 10 s after the last call, and forgets failures after a minute", () => {
    const counter = new Counter()
    const end = steady(counter, 0, 20, 10, 2)
    expect(counter.rate(end)).toBeCloseTo(10, 1)
    expect(counter.rate(end + 5_000)).toBeCloseTo(5, 1)
    expect(counter.rate(end + 10_000)).toBe(0)
    expect(counter.failed(end + 30_000)).toBeCloseTo(0.2, 2)
    expect(counter.failed(end + 60_000)).toBeUndefined()
    expect([counter.moves(end + 61_000), counter.moves(end + 63_000)]).toEqual([true, false])
  })

  it("does not spread calls over the time in which nothing was counted", () => {
    const counter = new Counter()
    counter.add(0, 100, 0)
    counter.add(300_000, 150, 0)
    expect(counter.rate(300_000)).toBe(5)
    expect(counter.rate(309_000)).toBe(5)
    expect(counter.rate(311_000)).toBe(0)
  })

  it("spreads what came while nothing was heard", () => {
    const counter = new Counter()
    counter.add(0, 0, 0)
    counter.add(100_000, 1_000, 0, true)
    expect(counter.rate(100_000)).toBe(10)
  })

  it("begins anew where counts fall", () => {
    const counter = new Counter()
    const end = steady(counter, 0, 20, 10)
    counter.add(end + 500, 3, 0)
    expect(counter.rate(end + 500)).toBe(0)
    counter.add(end + 2_500, 23, 0)
    expect(counter.rate(end + 2_500)).toBe(10)
  })

  it("takes what was counted before it was known", () => {
    const counter = new Counter()
    counter.add(65_000, 10_000, 500)
    counter.seed(10_000, [10_000, 20_000, 30_000, 40_000, 50_000, 60_000], [50, 50, 50, 50, 50, 100], [
      null,
      0,
      0,
      0,
      10,
      0
    ])
    // Half of the last ten seconds isn't told.
    expect(counter.rate(65_000)).toBe(10)
    expect(counter.failed(65_000)).toBeCloseTo(10 / 375, 3)
  })
})
