import { assert, describe, it } from "vitest"
import { check } from "../../src/pages/tool/check.ts"
import { constraints } from "../../src/pages/tool/constraints.ts"
import { hasUnparsed, numberOf, parsed, textOf, Unparsed, valueAt, withValue } from "../../src/pages/tool/draft.ts"
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
      list: ["", ""],
      seats: 2
    })
    assert.strictEqual(blank({ type: "number" }, root), null)
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
    assert.isTrue(hasUnparsed({ a: [{ b: parsed("{") }] }))
    assert.isFalse(hasUnparsed({ a: [null, "x"] }))
    assert.deepStrictEqual(check({ properties: { n: { type: "number" } } }, { n: broken }), [
      { path: "/n", message: "This isn't a number" }
    ])
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
    assert.deepStrictEqual(mistakes({ type: "integer" }, 2 ** 60), [
      "Has more digits than a browser can send as they are"
    ])
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
