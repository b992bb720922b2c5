import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { age, clock, count, counted, date, iso, ms, rate, share } from "../src/parts/format.ts"

describe("figures", () => {
  it("are short, and a dash where nothing is known", () => {
    expect([1177, 0, 12.4, undefined, NaN].map(count)).toEqual(["1,177", "0", "12", "–", "–"])
    expect([438.2, 96.42, 99.96, 2.6, 0.01, 0, undefined].map(rate)).toEqual(
      ["438", "96.4", "100", "2.6", "<0.1", "–", "–"]
    )
    expect([0, 0.0001, 0.006, 0.41, 0.9999, 1, undefined].map(share)).toEqual(
      ["0 %", "<0.1 %", "0.6 %", "41 %", "99.9 %", "100 %", "–"]
    )
    expect([0, 0.01, 0.6, 61.4, 999.7, 12_000, 180_000, undefined].map((value) => ms(value).text)).toEqual(
      ["0 ms", "<0.1 ms", "0.6 ms", "61 ms", "1.0 s", "12 s", "3 min", "–"]
    )
    expect(ms(61)).toEqual({ value: "61", unit: "ms", text: "61 ms" })
    expect([1, 2, 1000].map((value) => counted(value, "call"))).toEqual(["1 call", "2 calls", "1,000 calls"])
  })

  it("are never NaN, undefined, negative or infinite, whatever comes", () => {
    fc.assert(fc.property(fc.option(fc.double(), { nil: undefined }), (value) => {
      for (const text of [count(value), rate(value), share(value), ms(value).text, age(value)]) {
        expect(text).toMatch(/^(–|<?-?[\d,]+(\.\d)?( (%|ms|s|min|m|h|d))?)$/)
      }
      for (const text of [rate(value), share(value), ms(value).text, age(value)]) expect(text).not.toContain("-")
    }))
  })
})

describe("times", () => {
  it("are ages that never run backwards", () => {
    expect([-5000, 0, 400, 41_900, 125_000, 3 * 3_600_000, 86_400_000 * 9, undefined].map(age)).toEqual(
      ["0.0 s", "0.0 s", "0.4 s", "41 s", "2 m", "3 h", "9 d", "–"]
    )
  })

  it("are of a clock, and nothing was in 1970", () => {
    const at = new Date(2026, 10, 21, 3, 31, 7).getTime()
    expect(clock(at)).toBe("03:31:07")
    expect(date(at)).toBe("21 Nov 2026, 03:31:07")
    expect(iso(at)).toBe(new Date(at).toISOString())
    for (const never of [undefined, 0, -1, NaN, Infinity, 8.7e15]) {
      expect([clock(never), date(never), iso(never)]).toEqual(["–", "–", undefined])
    }
  })
})
