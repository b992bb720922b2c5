import { describe, expect, it } from "vitest"
import { amount, place, summary } from "../src/parts/plot.ts"

describe("plot", () => {
  it("says what it shows in sentences", () => {
    const times = [0, 10, 20].map((second) => Date.parse("2026-11-21T03:30:00") / 1000 + second)
    const series = [
      { label: "answered", values: [82, null, 96.42] },
      { label: "failed", values: [null, null, null] }
    ]
    expect(summary("Calls per second", times, series, "/s", [{ at: times[1] ?? 0, text: "ejected" }])).toBe(
      "Calls per second, 03:30 to 03:30. answered: 96.4 /s now, 82 to 96.4 /s. failed: nothing counted. " +
        "Events: ejected at 03:30:10."
    )
    expect(summary("Latency", [], [], "ms")).toBe("Latency: nothing counted yet.")
  })

  it("tells what isn't counted from nothing", () => {
    expect([null, undefined, 0, 0.1234, 1234.5].map(amount)).toEqual(["–", "–", "0", "0.123", "1,235"])
  })

  it("puts labels where they lie on no other, the newest first", () => {
    const marks = [
      { x: -5, width: 10, text: "outside" },
      { x: 4, width: 30, text: "at the edge" },
      { x: 190, width: 30, text: "old" },
      { x: 200, width: 30, text: "new" }
    ]
    expect(place(marks, 0, 205, 4)).toEqual([
      { line: 200, text: "new", left: 166 },
      { line: 190, text: "old", left: undefined },
      { line: 4, text: "at the edge", left: 8 }
    ])
  })
})
