import { assert, describe, it } from "vitest"
import { check, unsendable } from "../../src/pages/tool/check.ts"
import { constraints } from "../../src/pages/tool/constraints.ts"
import { gap, numberOf, parsed, textOf, Unparsed, valueAt, withValue, Written } from "../../src/pages/tool/draft.ts"
import { blank, fieldOf, initial } from "../../src/pages/tool/fields.ts"
import { flat, type Schema } from "../../src/pages/tool/schema.ts"

const kindOf = (schema: Schema, root: Schema = schema) => fieldOf(schema, root).kind

describe("schemas", () => {
  it("have what they refer to and all of their parts in them", () => {
    const root = {
      $defs: {
        "a/b": { type: "object", required: ["x"], properties: { x: { type: "string" } } },
        More: { required: ["y"], properties: { x: { minLength: 2 }, y: { type: "integer" } } }
      }
    }
    const schema = { $ref: "#/$defs/a~1b", allOf: [{ $ref: "#/$defs/More" }], description: "Both" }
    const whole = flat(schema, root)
    assert.strictEqual(whole["description"], "Both")
    assert.deepStrictEqual(whole["required"], ["x", "y"])
    assert.deepStrictEqual(
      check(whole, { x: "a", y: 0.5 }).map(({ message, path }) => `${path} ${message}`),
      ["/x At least 2 characters, there are 1", "/y Must be a whole number"]
    )
  })

  it("may go in circles, refer to nothing, or be nothing", () => {
    const circle = { $ref: "#", allOf: [{ $ref: "#" }, { $ref: "#" }] }
    assert.strictEqual(kindOf(circle), "json")
    const single = { oneOf: [{ $ref: "#" }] }
    assert.strictEqual(kindOf(single), "json")
    assert.deepStrictEqual(check(circle, 1), [])
    for (const ref of ["#/nowhere", "https://elsewhere.test/x", "#/%E0", "#/__proto__/x", "#anchor"]) {
      assert.strictEqual(kindOf({ $ref: ref }), "json")
    }
    const self = { type: "object", required: ["self"], properties: { self: { $ref: "#" } } }
    assert.isString(JSON.stringify(initial(self, self, true)))
  })
})

describe("fields", () => {
  it("are of the kind that the schema asks for", () => {
    assert.strictEqual(kindOf({ type: "string" }), "text")
    assert.strictEqual(kindOf({ type: ["integer", "null"] }), "number")
    assert.strictEqual(kindOf({ type: "boolean" }), "choice")
    assert.strictEqual(kindOf({ enum: [1, "two", null] }), "choice")
    assert.strictEqual(kindOf({ oneOf: [{ const: "a", title: "A" }, { const: "b" }] }), "choice")
    assert.strictEqual(kindOf({ properties: { a: {} } }), "object")
    assert.strictEqual(kindOf({ type: "array", items: { type: "string" } }), "list")
    assert.strictEqual(kindOf({ type: ["string", "number"] }), "alternatives")
    for (
      const schema of [{}, { type: "object" }, { type: "array", prefixItems: [{}] }, { type: "array" }, { type: 7 }]
    ) {
      assert.strictEqual(kindOf(schema), "json")
    }
  })

  it("that may be null are what else they may be", () => {
    const schema = {
      anyOf: [{ type: "integer", minimum: 1 }, { type: "null" }],
      default: null,
      description: "How many"
    }
    const field = fieldOf(schema, schema)
    assert.strictEqual(field.kind, "number")
    assert.isTrue(field.nullable)
    assert.strictEqual(field.description, "How many")
    assert.strictEqual(constraints(field, false), "integer, ≥ 1")
    assert.strictEqual(kindOf({ anyOf: [{ type: "string" }, { type: "integer" }, { type: "null" }] }), "alternatives")
  })

  it("tell alternatives apart by what is there to tell", () => {
    const root = { $defs: { Circle: { properties: { r: { type: "number" } } } } }
    const schema = {
      type: "object",
      properties: { name: { type: "string" } },
      oneOf: [
        { title: "A square", properties: { a: { type: "number" } } },
        { $ref: "#/$defs/Circle" },
        { properties: { kind: { const: "line" } } },
        { required: ["name"] },
        {}
      ]
    }
    const field = fieldOf(schema, root)
    assert.strictEqual(field.kind, "alternatives")
    if (field.kind !== "alternatives") return
    assert.deepStrictEqual(field.alternatives.map(({ title }) => title), [
      "A square",
      "Circle",
      "kind line",
      "with name",
      "Alternative 5"
    ])
    // What all have in common is asked for with each.
    const inner = fieldOf(field.alternatives[1]?.schema ?? {}, root)
    assert.deepStrictEqual(inner.kind === "object" ? inner.properties.map(({ name }) => name) : [], ["name", "r"])
  })

  it("say what they take", () => {
    const said = (schema: Schema, required = false) => constraints(fieldOf(schema, schema), required)
    assert.strictEqual(
      said({ type: "integer", minimum: 1, maximum: 14, default: 3 }, true),
      "required, integer, 1–14, default 3"
    )
    assert.strictEqual(said({ type: "number", exclusiveMinimum: 0, multipleOf: 0.5 }), "number, > 0, a multiple of 0.5")
    assert.strictEqual(
      said({ type: "string", minLength: 3, maxLength: 3, pattern: "^a" }),
      "string, 3 characters, matches ^a"
    )
    assert.strictEqual(said({ type: "string", format: "date-time" }), "date-time")
    assert.strictEqual(said({ type: "array", items: { type: "integer" }, minItems: 1 }), "list of integer, ≥ 1 items")
    assert.strictEqual(said({ type: "object" }), "object, as JSON")
    assert.strictEqual(said({ enum: ["a"], default: "a", deprecated: true }), "default a, deprecated")
  })

  it("begin with defaults, and with what is certain", () => {
    const root = {
      type: "object",
      required: ["kind", "place", "list", "name"],
      properties: {
        kind: { const: "trip" },
        place: {
          type: "object",
          required: ["city"],
          properties: { city: { type: "string" }, country: { default: "pt" } }
        },
        list: { type: "array", minItems: 2, items: { type: "string" } },
        name: { type: "string" },
        seats: { type: "integer", default: 2 },
        note: { anyOf: [{ type: "string" }, { type: "null" }], default: null },
        via: { type: "object", properties: { nights: { default: 1 } } }
      }
    }
    assert.deepStrictEqual(initial(root, root, true), {
      kind: "trip",
      place: { country: "pt" },
      list: [gap, gap],
      seats: 2
    })
    assert.strictEqual(blank({ type: "number" }, root), gap)
    assert.deepStrictEqual(blank({ properties: { a: { default: 1 } } }, root), { a: 1 })
  })
})

describe("what is written", () => {
  it("is kept as it is until it is what it should be", () => {
    assert.strictEqual(numberOf(" "), undefined)
    assert.strictEqual(numberOf("1e3"), 1000)
    const broken = numberOf("1,5")
    assert.instanceOf(broken, Unparsed)
    assert.strictEqual(textOf(broken), "1,5")
    assert.strictEqual(parsed("  "), undefined)
    assert.deepStrictEqual(parsed("{\"a\": [1]}"), { a: [1] })
    assert.deepStrictEqual(unsendable({ a: [null, "x", { "b/c": broken }] }), [
      { path: "/a/2/b~1c", message: "This isn't a number" }
    ])
    assert.deepStrictEqual(unsendable({ a: [null, "x"] }), [])
    // What it will be isn't known yet.
    assert.deepStrictEqual(check({ properties: { n: { type: "number", minimum: 3 } } }, { n: broken }), [])
  })

  it("isn't sent as another number", () => {
    const long = "1234567890123456789"
    assert.deepStrictEqual(
      unsendable([numberOf(long), parsed(`{"a":${long}}`), numberOf("9007199254740992"), parsed("[0.10]")])
        .map(({ message, path }) => `${path} ${message}`),
      [
        "/0 Has more digits than a browser can send as they are",
        `/1 ${long} has more digits than a browser can send as they are`
      ]
    )
  })

  it("stays in its field as it was written, key by key", () => {
    for (const text of ["-0.1278", "1.0", "1e5", "0.10", "-0", "1e-7", "  12", ".5"]) {
      const field = new Written(numberOf, textOf)
      let shown = ""
      let value: unknown
      for (const key of text) {
        value = field.write(shown + key)
        shown = field.text(value)
      }
      assert.strictEqual(shown, text)
      assert.strictEqual(Number(value), Number(text))
      for (; shown !== ""; shown = field.text(value)) value = field.write(shown.slice(0, -1))
      assert.isUndefined(value)
      assert.strictEqual(field.text(7), "7")
    }
  })

  it("in a list is there from the first key to the last", () => {
    const field = new Written(numberOf, textOf)
    assert.strictEqual(field.text(gap), "")
    assert.strictEqual(field.text(field.write("7")), "7")
    // The list puts a gap in place of nothing.
    assert.isUndefined(field.write(""))
    assert.strictEqual(field.text(gap), "")
    assert.deepStrictEqual(unsendable({ ids: [1, gap] }), [{ path: "/ids/1", message: "Required" }])
    assert.deepStrictEqual(check({ items: { type: "integer" }, uniqueItems: true }, [gap, gap]), [])
    assert.strictEqual(JSON.stringify([gap]), "[null]")
  })

  it("keeps its place, and names that objects have by themselves", () => {
    assert.deepStrictEqual(Object.keys(withValue({ a: 1, b: 2 }, "a", 3)), ["a", "b"])
    assert.deepStrictEqual(withValue({ a: 1, b: 2 }, "a", undefined), { b: 2 })
    assert.deepStrictEqual(withValue(undefined, "a", 1), { a: 1 })
    assert.strictEqual(valueAt({}, "constructor"), undefined)
    const strange = withValue({}, "__proto__", "x")
    assert.strictEqual(JSON.stringify(strange), "{\"__proto__\":\"x\"}")
    assert.strictEqual(valueAt(strange, "__proto__"), "x")
  })
})

describe("checks", () => {
  const mistakes = (schema: Schema, value: unknown) =>
    check(schema, value).map(({ message, path }) => path === "" ? message : `${path}: ${message}`)

  it("tell what is wrong by where it is", () => {
    const schema = {
      type: "object",
      required: ["city"],
      additionalProperties: false,
      properties: {
        city: { type: "string", minLength: 2, pattern: "^[A-Z]" },
        days: { type: "integer", minimum: 1, maximum: 14 },
        units: { enum: ["metric", "imperial"] },
        tags: { type: "array", uniqueItems: true, maxItems: 2, items: { type: "string" } },
        "a/b": { type: "boolean" }
      }
    }
    assert.deepStrictEqual(mistakes(schema, { city: "Lisbon", days: 3, units: "metric", tags: ["a"], "a/b": true }), [])
    assert.deepStrictEqual(mistakes(schema, { days: 15, units: "x", tags: ["a", "a", 1], "a/b": "no", more: 1 }), [
      "/city: Required",
      "/days: At most 14",
      "/units: Must be one of metric, imperial",
      "/tags: At most 2 items, there are 3",
      "/tags: No item twice",
      "/tags/2: Must be a text",
      "/a~1b: Must be true or false",
      "/more: The tool doesn't know this"
    ])
    assert.deepStrictEqual(mistakes(schema, { city: "x" }), [
      "/city: At least 2 characters, there are 1",
      "/city: Must match ^[A-Z]"
    ])
    assert.deepStrictEqual(mistakes(schema, []), ["Must be an object"])
    assert.deepStrictEqual(mistakes({ type: "string", maxLength: 1 }, "🧭"), [])
    assert.deepStrictEqual(mistakes({ type: "number", multipleOf: 0.1 }, 0.3), [])
    assert.deepStrictEqual(mistakes({ not: { type: "string" } }, "x"), ["Not allowed"])
  })

  it("of alternatives are those of the one that was most likely meant", () => {
    const schema = {
      oneOf: [
        { required: ["kind", "r"], properties: { kind: { const: "circle" }, r: { type: "number" } } },
        { required: ["kind", "a", "b"], properties: { kind: { const: "box" } } }
      ]
    }
    assert.deepStrictEqual(mistakes(schema, { kind: "circle" }), ["/r: Required"])
    assert.deepStrictEqual(mistakes({ oneOf: [{ type: "number" }, { type: "integer" }] }, 1), [
      "Fits 2 of the alternatives, and may fit only one"
    ])
    assert.deepStrictEqual(mistakes({ anyOf: [{ type: "number" }, { type: "integer" }] }, 1), [])
  })

  it("say nothing of what nobody here can know", () => {
    const letters = { oneOf: [{ pattern: "^(a|b)+$" }, { pattern: "^(c|d)+$" }] }
    const dated = { type: "string", format: "date" }
    const fitting: ReadonlyArray<readonly [Schema, unknown]> = [
      [letters, "ab"],
      [{ oneOf: [letters, { type: "string" }] }, "ab"],
      [{ not: { pattern: "^(a|b)+$" } }, "x"],
      [{ not: { not: { pattern: "^(a|b)+$" } } }, "x"],
      [{ not: { pattern: "a" } }, "b".repeat(300)],
      [{ not: { minProperties: 1 } }, {}],
      [{ not: { patternProperties: { "^x": { type: "string" } } } }, { x: 1 }],
      [{ not: { contains: { type: "string" } } }, [1]],
      [{ not: { $ref: "https://elsewhere.test/x" } }, 1],
      [{ not: { allOf: [{ type: "array" }, { items: { oneOf: [{ not: { contains: {} } }] } }] } }, [[]]],
      [{ oneOf: [{ if: { type: "number" }, else: false }, { type: "string" }] }, "x"],
      [{ oneOf: [dated, { type: "string", format: "date-time" }] }, "2026-01-01"],
      [{ oneOf: [{ items: [{ type: "string" }] }, { items: { type: "integer" } }] }, [1]],
      [{ not: { maximum: 3, exclusiveMaximum: true } }, 3],
      [{ not: { type: "string", nullable: true } }, null],
      [{ type: "float" }, 1.5],
      [{ not: { items: { type: "integer" } } }, [...Array.from({ length: 30_000 }, () => 1), "x"]],
      [{ enum: [{ a: 1, b: [{ c: 2, d: 3 }] }] }, { b: [{ d: 3, c: 2 }], a: 1 }],
      [{ const: { toString: 1, b: 2 } }, { b: 2, toString: 1 }],
      [{ type: "integer", maximum: 2 ** 63 }, 2 ** 60]
    ]
    for (const [schema, value] of fitting) assert.deepStrictEqual(mistakes(schema, value), [], JSON.stringify(schema))
  })

  it("say what is certain beside what isn't known", () => {
    const open = { minProperties: 1 }
    assert.deepStrictEqual(mistakes({ oneOf: [open, { type: "object" }, { required: ["a"] }, {}] }, {}), [
      "Fits 2 of the alternatives, and may fit only one"
    ])
    assert.deepStrictEqual(mistakes({ allOf: [open, { required: ["a"] }] }, {}), ["/a: Required"])
    assert.deepStrictEqual(mistakes({ not: { anyOf: [open, {}] } }, {}), ["Not allowed"])
    assert.deepStrictEqual(mistakes({ not: { not: { ...open, type: "string" } } }, {}), ["Not allowed"])
    assert.deepStrictEqual(mistakes({ uniqueItems: true }, [{ a: 1, b: 2 }, { b: 2, a: 1 }]), ["No item twice"])
    assert.deepStrictEqual(mistakes({ not: true }, 1), ["Not allowed"])
    assert.deepStrictEqual(mistakes({ enum: [{ a: 1 }, null] }, { a: 2 }), ["Must be one of {\"a\":1}, null"])
  })

  it("don't search for ever, and don't go on for ever", () => {
    const began = performance.now()
    assert.deepStrictEqual(mistakes({ type: "string", pattern: "^(a+)+$" }, `${"a".repeat(40)}!`), [])
    assert.deepStrictEqual(mistakes({ type: "string", pattern: "(" }, "x"), [])
    const doubling = {
      $defs: Object.fromEntries(
        Array.from(
          { length: 40 },
          (_, at) => [`d${at}`, { allOf: [{ $ref: `#/$defs/d${at + 1}` }, { $ref: `#/$defs/d${at + 1}` }] }]
        )
      ),
      $ref: "#/$defs/d0"
    }
    mistakes(doubling, 1)
    kindOf(doubling)
    assert.isBelow(performance.now() - began, 2000)
  })
})
