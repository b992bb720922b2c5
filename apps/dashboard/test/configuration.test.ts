import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { lineCount, offsetOf } from "../src/pages/configuration/place.ts"
import { isNested, sectionsOf, textOf } from "../src/pages/configuration/settings.ts"

describe("settings", () => {
  const settings = [
    { path: "gateway.port", value: 7531, origin: "flag" },
    { path: "gateway.limits.sessions", value: 10_000, origin: "default" },
    { path: "health.interval", value: "5s", origin: "file" },
    { path: "webhooks", value: [], origin: "default" }
  ] as const
  const shown = (choice: string | null, text = "") =>
    sectionsOf(settings, { choice, text }).map(({ name, settings }) => [name, ...settings.map(({ key }) => key)])

  it("stand under their section", () => {
    assert.deepStrictEqual(shown(null), [
      ["gateway", "port", "limits.sessions"],
      ["health", "interval"],
      ["webhooks", "webhooks"]
    ])
  })

  it("are narrowed by who set them, and by words", () => {
    assert.deepStrictEqual(shown("set"), [["gateway", "port"], ["health", "interval"]])
    assert.deepStrictEqual(shown("default"), [["gateway", "limits.sessions"], ["webhooks", "webhooks"]])
    assert.deepStrictEqual(shown(null, "GATEWAY 7531"), [["gateway", "port"]])
    assert.deepStrictEqual(shown(null, "flag"), [["gateway", "port"]])
    assert.deepStrictEqual(shown("set", "sessions"), [])
  })

  it("are written in a line", () => {
    assert.deepStrictEqual(
      ["5s", 3, true, null, "", [], ["a", "b"], [{ a: 1 }], undefined].map(textOf),
      ["5s", "3", "true", "null", "\"\"", "none", "a, b", "[{\"a\":1}]", "none"]
    )
    assert.deepStrictEqual([[], ["a"], [{ a: 1 }], "x", null, { a: { b: 1 } }].map(isNested), [
      false,
      false,
      true,
      false,
      false,
      true
    ])
  })
})

describe("places in a text", () => {
  it("are where a person counts them", () => {
    fc.assert(fc.property(fc.array(fc.string({ unit: fc.constantFrom("a", " ", "é") })), (lines) => {
      const text = lines.join("\n")
      assert.strictEqual(lineCount(text), Math.max(1, lines.length))
      lines.forEach((content, at) => {
        for (let column = 1; column <= content.length + 1; column++) {
          const before = text.slice(0, offsetOf(text, { line: at + 1, column })).split("\n")
          assert.deepStrictEqual([before.length, before.at(-1)], [at + 1, content.slice(0, column - 1)])
        }
      })
    }))
  })

  it("that aren't in it are the nearest that is", () => {
    assert.strictEqual(offsetOf("ab\nc", { line: 1, column: 9 }), 2)
    assert.strictEqual(offsetOf("ab\nc", { line: 7, column: 1 }), 4)
    assert.strictEqual(offsetOf("ab\nc", { line: 2, column: 0 }), 3)
    assert.strictEqual(offsetOf("", { line: 1, column: 1 }), 0)
  })
})
