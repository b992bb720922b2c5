import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { RowList } from "../../src/fleet/rowList.ts"

interface Row {
  readonly key: string
  readonly group: string
  readonly value: number
}

const empty = new RowList<Row>(
  ({ key }) => key,
  (a, b) => a.group.localeCompare(b.group) || a.key.localeCompare(b.key)
)

const keys = ["a", "b", "c", "d", "e"]

/** Of each key at most one thing is said, but that it went and came back. */
const step = fc.tuple(...keys.map((key) =>
  fc.record({
    said: fc.constantFrom("nothing", "row", "differ", "gone", "back"),
    row: fc.record({ key: fc.constant(key), group: fc.constantFrom("x", "y"), value: fc.nat(9) })
  })
)).map((each) => ({
  rows: each.flatMap(({ row, said }) => said === "row" || said === "back" ? [row] : []),
  differ: each.flatMap(({ row: { group, key, value }, said }) =>
    said === "differ" ? [{ key, fields: value % 2 === 0 ? { value } : { group } }] : []
  ),
  gone: each.flatMap(({ row, said }) => said === "gone" || said === "back" ? [row.key] : [])
}))

describe("row list", () => {
  it("is what a map would be, in order", () => {
    fc.assert(fc.property(fc.array(step), (steps) => {
      let list = empty
      const map = new Map<string, Row>()
      for (const changes of steps) {
        const before = { list, rows: [...list.rows] }
        for (const key of changes.gone) map.delete(key)
        for (const row of changes.rows) map.set(row.key, row)
        for (const { fields, key } of changes.differ) {
          const row = map.get(key)
          if (row !== undefined) map.set(key, { ...row, ...fields })
        }
        list = list.with(changes)
        expect(list.rows).toEqual(
          Array.from(map.values()).sort((a, b) => a.group.localeCompare(b.group) || a.key.localeCompare(b.key))
        )
        for (const key of keys) expect(list.get(key)).toEqual(map.get(key))
        expect(before.list.rows).toEqual(before.rows)
      }
    }))
  })

  it("keeps the objects of rows that don't differ", () => {
    const one = empty.with({ rows: [{ key: "a", group: "x", value: 1 }, { key: "b", group: "x", value: 1 }] })
    const two = one.with({ differ: [{ key: "a", fields: { value: 2 } }] })
    expect(two.get("b")).toBe(one.get("b"))
    expect(two.rows.map(({ value }) => value)).toEqual([2, 1])
    expect(two.with()).toBe(two)
  })
})
