import { assert, describe, it } from "@effect/vitest"
import { sourceTable } from "../src/commands/status.ts"
import { age, type Column, table } from "../src/table.ts"
import { cut, widthOf } from "../src/terminal.ts"

interface Row {
  readonly name: string
  readonly note: string
  readonly number?: number
}

const columns: ReadonlyArray<Column<Row>> = [
  { title: "NAME", text: (row) => row.name },
  { title: "N", text: (row) => String(row.number ?? 7), align: "right" },
  { title: "NOTE", text: (row) => row.note, gives: true }
]

const long = "words and words that go on and on, and on, and never seem to come to any end"
const wide = "港口の地図と航路、そして天気予報サーバー、🚢 船"

describe("table", () => {
  it("aligns columns and leaves no space at line ends", () => {
    assert.strictEqual(
      table(columns, [{ name: "weather", note: "x" }, { name: "db", note: "" }], undefined),
      "NAME     N  NOTE\nweather  7  x\ndb       7"
    )
  })

  it("fits the terminal, and writes everything into a pipe", () => {
    const rows = [{ name: long, note: long }, { name: wide, note: wide }, { name: "a", note: "b" }]
    for (const width of [20, 30, 40, 60, 80, 200]) {
      for (const line of table(columns, rows, width).split("\n")) assert.isAtMost(widthOf(line), width)
    }
    assert.include(table(columns, rows, undefined), `${long}  7  ${long}`)
    assert.include(table(columns, rows, 40), "…")
  })

  it("takes from notes first, and from what is needed to act on last", () => {
    const rows = [{ name: "weather-7c9f4d5b6c-x2lpq", note: long, number: 123_456 }]
    assert.deepStrictEqual(table(columns, rows, 80).split("\n"), [
      "NAME                           N  NOTE",
      "weather-7c9f4d5b6c-x2lpq  123456  words and words that go on and on, and on, an…"
    ])
    assert.include(table(columns, rows, 60), "weather-7c9f4d5b6c-x2lpq  123456  words and words that go o…")
    // Numbers stay whole as long as anything else can give way.
    assert.include(table(columns, rows, 36), "weather-7…  123456  words and words…")
  })

  it("leaves out spare columns from the right before names get narrower", () => {
    const spared: ReadonlyArray<Column<Row>> = [
      { title: "NAME", text: ({ name }) => name },
      { title: "P50", text: () => "1 ms", align: "right", spare: true },
      { title: "CALLS", text: () => "12", align: "right" },
      { title: "P99", text: () => "2 ms", align: "right", spare: true },
      { title: "NOTE", text: ({ note }) => note, gives: true }
    ]
    const rows = [{ name: "weather-7c9f4d5b6c-x2lpq", note: long }]
    const titles = (width: number) => table(spared, rows, width).split("\n")[0]?.split(/ +/)
    assert.deepStrictEqual(titles(61), ["NAME", "P50", "CALLS", "P99", "NOTE"])
    assert.deepStrictEqual(titles(60), ["NAME", "P50", "CALLS", "NOTE"])
    assert.deepStrictEqual(titles(54), ["NAME", "CALLS", "NOTE"])
    assert.include(table(spared, rows, 53), "weather-7c9f4d5b6c-x2lpq     12  words and")
    assert.isTrue(table(spared, [{ name: "a", note: "" }], 61).includes("P50"))
  })

  it("measures what takes two columns, and what takes none", () => {
    const lines = table(columns, [
      { name: "港", note: "x" },
      { name: "ab", note: "x" },
      { name: "👨‍👩‍👧", note: "x" },
      { name: "e\u0301a", note: "x" },
      { name: "ｱb", note: "x" }
    ], undefined).split("\n").slice(1)
    assert.deepStrictEqual(lines.map((line) => widthOf(line)), [10, 10, 10, 10, 10])
    assert.strictEqual(lines[0], "港    7  x")
  })

  it("cuts between characters, never within one", () => {
    for (let width = 1; width < 12; width++) {
      const text = cut("船👨‍👩‍👧e\u0301港🚢", width)
      assert.isAtMost(widthOf(text), width)
      assert.notInclude(text, "\ufffd")
      assert.notMatch(text, /\u200d…/)
    }
  })

  it("lets no control character through, and keeps a row on one line", () => {
    const text = table(columns, [{ name: "\u001b[31mred\u001b[0m\u0007", note: "two\nlines\u202e" }], undefined)
    assert.strictEqual(text.split("\n").length, 2)
    // oxlint-disable-next-line no-control-regex
    assert.notMatch(text, /[\u0000-\u0009\u000b-\u001f\u202e]/)
  })
})

describe("age", () => {
  it("is told in one unit", () => {
    assert.deepStrictEqual([400, 9_940, 9_960, 41_000, 120_000, 3 * 3_600_000, 5 * 86_400_000, -5].map(age), [
      "0.4 s",
      "9.9 s",
      "9 s",
      "41 s",
      "2 m",
      "3 h",
      "5 d",
      "0.0 s"
    ])
  })
})

describe("the table of sources", () => {
  const source = {
    type: "consul",
    since: new Date(30_000).toISOString(),
    lastHeard: new Date(59_000).toISOString(),
    reconnects: 0,
    held: 0,
    rejected: [],
    instances: 3
  }
  const { lastHeard: _, ...unheard } = source
  const sources: Parameters<typeof sourceTable>[0] = [
    { ...source, name: "dc1", state: "connected" },
    { ...source, name: "dc2", state: "stale", lastHeard: new Date(0).toISOString(), error: "ECONNREFUSED", held: 2 },
    { ...unheard, name: "dc3", state: "connecting", instances: 0, error: "ECONNREFUSED" },
    {
      ...source,
      name: "local",
      state: "connected",
      reconnects: 12,
      rejected: [{ id: "db-tools", reason: "endpoint.url: expected an http(s) URL" }]
    }
  ]

  it("tells in the note what is wrong with each", () => {
    assert.strictEqual(
      sourceTable(sources, 60_000, Infinity),
      [
        "SOURCE  TYPE    STATE       FOR   INSTANCES  AGE    REJECTED  RECONNECTS  NOTE",
        "dc1     consul  connected   30 s          3  1.0 s         0           0",
        "dc2     consul  stale       30 s          3  1 m           0           0  reconnecting (ECONNREFUSED); 2 removals held back",
        "dc3     consul  connecting  30 s          0                0           0  connecting (ECONNREFUSED)",
        "local   consul  connected   30 s          3  1.0 s         1          12  1 rejected: \"db-tools\" endpoint.url: expected an http(s) URL"
      ].join("\n")
    )
  })

  it("tells it below where there is no room beside it", () => {
    const shown = sourceTable(sources, 60_000, 80)
    assert.strictEqual(
      shown,
      [
        "SOURCE  TYPE    STATE       FOR   INSTANCES  AGE    REJECTED  RECONNECTS",
        "dc1     consul  connected   30 s          3  1.0 s         0           0",
        "dc2     consul  stale       30 s          3  1 m           0           0",
        "dc3     consul  connecting  30 s          0                0           0",
        "local   consul  connected   30 s          3  1.0 s         1          12",
        "",
        "dc2: reconnecting (ECONNREFUSED); 2 removals held back",
        "dc3: connecting (ECONNREFUSED)",
        "local: 1 rejected: \"db-tools\" endpoint.url: expected an http(s) URL"
      ].join("\n")
    )
    const whole = sourceTable(sources, 60_000, Infinity)
    const widest = Math.max(...whole.split("\n").map(widthOf))
    assert.strictEqual(sourceTable(sources, 60_000, widest), whole)
    assert.notStrictEqual(sourceTable(sources, 60_000, widest - 1), whole)
    const narrow = sourceTable(sources, 60_000, 40).split("\n")
    assert.isTrue(narrow.every((line) => line.length <= 40), narrow.join("\n"))
    assert.include(narrow.join(" "), "endpoint.url: expected an http(s) URL")
  })

  it("needs no room for notes where there are none", () => {
    const [first] = sources
    assert.isDefined(first)
    if (first === undefined) return
    const shown = sourceTable([{ ...first, name: "a-rather-long-name" }], 60_000, 84)
    assert.strictEqual(shown.split("\n").length, 2)
    assert.notInclude(shown, "NOTE")
  })
})
