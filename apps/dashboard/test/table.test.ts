import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { comparing, Order, toggled } from "../src/parts/order.ts"
import { kept, type Line, Seats, sight, slots } from "../src/parts/window.ts"

interface Row {
  readonly key: string
  readonly value: number | undefined
}
const row = (key: string, value?: number): Row => ({ key, value })
const keys = (rows: ReadonlyArray<Row>) => rows.map(({ key }) => key).join("")
const value = (row: Row) => row.value
const compare = comparing(value, true)

describe("the order of rows", () => {
  it("is by value; what isn't known comes last either way", () => {
    const rows = [row("a", 1), row("b"), row("c", 3), row("d", 2)]
    expect(keys(rows.toSorted(compare))).toBe("cdab")
    expect(keys(rows.toSorted(comparing(value, false)))).toBe("adcb")
    expect(["v2", "v10", "v1"].toSorted(comparing((text) => text, false))).toEqual(["v1", "v2", "v10"])
  })

  it("stays while values change, and takes new rows in where they belong", () => {
    const order = new Order<Row>(({ key }) => key)
    expect(keys(order.of([row("a", 1), row("b", 5), row("c", 3)], "-value", value))).toBe("bca")
    const after = [row("a", 9), row("b", 2), row("c", 3), row("d", 4), row("e", 10)]
    expect(keys(order.of(after, "-value", value))).toBe("edbca")
    expect(keys(order.of(after.map(({ key }) => row(key, 1)), "-value", value))).toBe("edbca")
    expect(keys(order.of(after, "value", value))).toBe("bcdae")
    expect(keys(order.of(after, undefined, undefined))).toBe("abcde")
    expect(keys(order.of(after, "-value", value))).toBe("eadcb")
  })

  it("isn't made of values that are all the same", () => {
    const order = new Order<Row>(({ key }) => key)
    expect(keys(order.of([row("a", 0), row("b", 0)], "-value", value))).toBe("ab")
    expect(keys(order.of([row("a", 1), row("b", 2)], "-value", value))).toBe("ba")
  })

  it("has every row once, and those that stay in their order, whatever comes and goes", () => {
    const rows = fc.uniqueArray(fc.record({ key: fc.string(), value: fc.option(fc.nat(50), { nil: undefined }) }), {
      selector: ({ key }) => key
    })
    fc.assert(fc.property(rows, rows, (before, after) => {
      const order = new Order<Row>(({ key }) => key)
      const first = order.of(before, "-value", value)
      fc.pre(new Set(before.map(({ value }) => value)).size > 1)
      const then = order.of(after, "-value", value)
      expect(new Set(then)).toEqual(new Set(after))
      expect(then.length).toBe(after.length)
      const stayed = new Set(after.map(({ key }) => key))
      const known = new Set(before.map(({ key }) => key))
      const kept = first.map(({ key }) => key).filter((key) => stayed.has(key))
      expect(then.map(({ key }) => key).filter((key) => known.has(key))).toEqual(kept)
    }))
  })

  it("begins with the highest figure and the first text, then turns", () => {
    expect(toggled(undefined, "calls", true)).toBe("-calls")
    expect(toggled("-calls", "calls", true)).toBe("calls")
    expect(toggled("-calls", "name", false)).toBe("name")
    expect(toggled("name", "name", false)).toBe("-name")
  })
})

describe("the rows in the document", () => {
  it("are those in sight and some beyond", () => {
    expect(sight(0, 900, 36)).toEqual({ first: 0, end: 34 })
    expect(sight(36_000, 900, 36)).toEqual({ first: 992, end: 1036 })
    expect(sight(-500, 900, 36)).toEqual({ first: 0, end: 20 })
    expect(sight(-5000, 900, 36)).toEqual({ first: 0, end: 8 })
  })

  it("and their gaps are the whole table, with the one that has the focus", () => {
    const total = fc.nat(3000)
    fc.assert(
      fc.property(
        total,
        fc.integer({ min: -2000, max: 200_000 }),
        fc.option(total, { nil: undefined }),
        (n, top, pinned) => {
          const all = slots(sight(top, 900, 36), n, pinned)
          let next = 0
          for (const slot of all) {
            if ("gap" in slot) {
              expect(slot.gap).toBeGreaterThan(0)
              expect(slot.before).toBe(next)
              next += slot.gap
            } else expect(slot.row).toBe(next++)
          }
          expect(next).toBe(n)
          if (pinned !== undefined && pinned < n) expect(all).toContainEqual({ row: pinned })
          expect(all.length).toBeLessThan(64)
        }
      )
    )
  })

  it("are always as many while somebody scrolls, so that no element comes or goes", () => {
    fc.assert(
      fc.property(fc.integer({ min: 400, max: 60_000 }), fc.integer({ min: 400, max: 60_000 }), (from, to) => {
        const count = (top: number) =>
          slots(sight(top, 900, 36), 2_000, undefined).filter((slot) => "row" in slot).length
        expect(count(from)).toBe(count(to))
      })
    )
  })

  it("keep their element as long as they are there, and leave it to one that comes", () => {
    const keys = fc.uniqueArray(fc.stringMatching(/^[a-f]$/))
    fc.assert(fc.property(fc.array(keys, { minLength: 1 }), (times) => {
      const seats = new Seats()
      let before: ReadonlyMap<string, number> = new Map()
      for (const keys of times) {
        const now = seats.of(keys)
        expect(Array.from(now.keys())).toEqual(keys)
        expect(new Set(now.values()).size).toBe(keys.length)
        for (const [key, seat] of now) if (before.has(key)) expect(seat).toBe(before.get(key))
        // None is new while one is free.
        const made = new Set(now.values()).difference(new Set(before.values()))
        expect(made.size).toBe(Math.max(0, now.size - before.size))
        before = now
      }
    }))
  })

  it("draws only lines that differ anew, and none where none does", () => {
    const [a, b, c] = [row("a"), row("b"), row("c")]
    const line = (key: number, row: Row, index: number): Line<Row> => ({ key, row, index })
    const before: ReadonlyArray<Line<Row>> = [line(0, a, 0), line(1, b, 1), { key: "gap 0", gap: 3 }]
    expect(kept(before, before.map((each) => ({ ...each })))).toBe(before)
    const next = kept(before, [line(0, a, 0), line(1, c, 1), { key: "gap 0", gap: 3 }])
    expect(next.map((each, at) => each === before[at])).toEqual([true, false, true])
    const moved = kept(before, [line(0, a, 1), line(1, b, 0), { key: "gap 0", gap: 4 }])
    expect(moved).toEqual([line(0, a, 1), line(1, b, 0), { key: "gap 0", gap: 4 }])
    expect(kept(before, before.slice(0, 2))).toHaveLength(2)
  })
})
