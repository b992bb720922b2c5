import { assert, describe, it } from "vitest"
import { lossy, readable } from "../../src/pages/tool/json.ts"

describe("a text of JSON", () => {
  it("is set for people with the numbers and the names that it has", () => {
    assert.strictEqual(
      readable("{\"id\": 1234567890123456789, \"v\":1.10,\"v\":-0 , \"e\":{ },\"l\":[ [], 1e5 ]}"),
      "{\n  \"id\": 1234567890123456789,\n  \"v\": 1.10,\n  \"v\": -0,\n  \"e\": {},\n  \"l\": [\n    [],\n    1e5\n  ]\n}"
    )
  })

  it("is set as JSON is anywhere, whatever its texts are", () => {
    const values = [
      {},
      [],
      [[[]]],
      { "a{": "b}, [c]: \"d\\", "\\": { "": [true, false, null, "é\u0000\u2028🧭", -1.5e-7] } },
      [{ a: 1 }, { b: [] }, {}, ""]
    ]
    for (const value of values) {
      assert.strictEqual(readable(JSON.stringify(value)), JSON.stringify(value, undefined, 2))
      assert.strictEqual(readable(` ${JSON.stringify(value, undefined, 7)}\n`), JSON.stringify(value, undefined, 2))
    }
    assert.strictEqual(readable("[\"S\\u00e3o\", \"\\\\u00e3\"]"), "[\n  \"São\",\n  \"\\\\u00e3\"\n]")
  })

  it("is left as it is where it is something else, or what indents it would fill the page's memory", () => {
    const deep = 100_000
    for (
      const text of ["", "7", "\"[]\"", "{", "[1,]", "{a: 1}", `${"[".repeat(deep)}${"]".repeat(deep)}`]
    ) assert.isUndefined(readable(text))
    assert.isString(readable(`["${"\\\"".repeat(400_000)}"]`))
  })

  it("has numbers that a browser doesn't keep", () => {
    assert.strictEqual(lossy("{\"id\": 1234567890123456789}"), "1234567890123456789")
    assert.strictEqual(lossy("[-9007199254740993]"), "-9007199254740993")
    assert.strictEqual(lossy("[1e999]"), "1e999")
    for (
      const text of ["9007199254740992", "1e300", "-0", "0.10", "3.141592653589793238", "\"1234567890123456789\"", "+5"]
    ) assert.isUndefined(lossy(text))
  })
})
