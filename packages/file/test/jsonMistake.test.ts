import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { jsonMistake } from "../src/internal/jsonMistake.ts"

const isJson = (text: string) => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

describe("jsonMistake", () => {
  it("finds a mistake exactly where JavaScript finds one", () => {
    const piece = fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      ",",
      ":",
      "\"a\"",
      "1",
      "-",
      "null",
      "tru",
      " ",
      "\n",
      "\\",
      "\"",
      "😀",
      "\u0001",
      "01"
    )
    const broken = fc.tuple(fc.json(), fc.nat(), fc.nat(3), fc.string({ maxLength: 2 })).map((
      [text, at, length, put]
    ) => text.slice(0, at % (text.length + 1)) + put + text.slice(at % (text.length + 1) + length))
    fc.assert(
      fc.property(
        fc.oneof(fc.json(), broken, fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(""))),
        (text) => {
          assert.strictEqual(jsonMistake(text) === undefined, isJson(text), JSON.stringify(text))
        }
      ),
      { numRuns: 3_000 }
    )
  })

  it("says where and what", () => {
    assert.strictEqual(
      jsonMistake("{\n  \"a\": 1,\n}"),
      "line 3, column 1: expected a key in double quotes, found \"}\""
    )
    assert.strictEqual(jsonMistake("[1] 2"), "line 1, column 5: expected the end of the file, found \"2\"")
    assert.strictEqual(jsonMistake("{\"a\" 1}"), "line 1, column 6: expected \":\", found \"1\"")
    assert.strictEqual(jsonMistake("["), "line 1, column 2: expected a value, found the end of the file")
    assert.isUndefined(jsonMistake("[".repeat(100_000) + "]".repeat(100_000)))
  })
})
