import { assert, describe, it } from "@effect/vitest"
import { age, table } from "../src/table.ts"

const columns = [
  { title: "NAME", text: (row: readonly [string, string]) => row[0] },
  { title: "N", text: () => "7", align: "right" },
  { title: "NOTE", text: (row: readonly [string, string]) => row[1] }
] as const

const long = "words and words that go on and on, and on, and never seem to come to any end"

describe("table", () => {
  it("aligns columns and leaves no space at line ends", () => {
    assert.strictEqual(
      table(columns, [["weather", "x"], ["db", ""]], undefined),
      "NAME     N  NOTE\nweather  7  x\ndb       7"
    )
  })
  it("fits the terminal, and writes everything into a pipe", () => {
    for (const width of [30, 40, 60, 200]) {
      for (const line of table(columns, [[long, long], ["a", "b"]], width).split("\n")) {
        assert.isAtMost(line.length, width)
      }
    }
    assert.include(table(columns, [[long, long]], undefined), `${long}  7  ${long}`)
    assert.include(table(columns, [["a", long]], 40), "…")
  })
  it("lets no control character through, and keeps a row on one line", () => {
    const text = table(columns, [["\u001b[31mred\u001b[0m\u0007", "two\nlines\u202e"]], undefined)
    assert.strictEqual(text.split("\n").length, 2)
    // oxlint-disable-next-line no-control-regex
    assert.notMatch(text, /[\u0000-\u0009\u000b-\u001f\u202e]/)
  })
  it("counts wide characters as two columns", () => {
    const [, first, second] = table(columns, [["港", "x"], ["ab", "x"]], undefined).split("\n")
    assert.deepStrictEqual([first, second], ["港    7  x", "ab    7  x"])
  })
})

describe("age", () => {
  it("is told in one unit", () => {
    assert.deepStrictEqual([400, 41_000, 120_000, 3 * 3_600_000, 5 * 86_400_000, -5].map(age), [
      "0.4 s",
      "41 s",
      "2 m",
      "3 h",
      "5 d",
      "0.0 s"
    ])
  })
})
