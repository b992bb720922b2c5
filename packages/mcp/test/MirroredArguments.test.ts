import { assert, describe, it } from "@effect/vitest"
import { fault } from "../src/catalog/MirroredArguments.ts"

const string = (header: unknown) => ({ type: "string", "x-mcp-header": header })
const tool = (properties: object, more: object = {}) => ({
  name: "t",
  inputSchema: { type: "object", properties, ...more }
})

describe("a tool that names headers for its arguments", () => {
  const right = {
    "none at all": { name: "t", inputSchema: { type: "object" } },
    "no schema": { name: "t" },
    "three kinds of values": tool({
      a: string("A"),
      b: { type: "integer", "x-mcp-header": "b-B" },
      c: { type: "boolean", "x-mcp-header": "C_1" }
    }),
    "an argument of an argument": tool({ a: { type: "object", properties: { b: string("Deep") } } }),
    "an argument that is called like the keyword": tool({ "x-mcp-header": { type: "string" } }),
    "a value that looks like a schema": tool({ a: { type: "object", default: { "x-mcp-header": "" } } })
  }
  for (const [what, definition] of Object.entries(right)) {
    it(`may be offered: ${what}`, () => assert.isUndefined(fault(definition)))
  }

  const wrong = {
    "an empty name": [tool({ a: string("") }), "x-mcp-header of a is no name of a header"],
    "no name": [tool({ a: string(7) }), "x-mcp-header of a is no name of a header"],
    "a space": [tool({ a: string("My Region") }), "x-mcp-header of a is no name of a header"],
    "a line break": [tool({ a: string("A\r\nB") }), "x-mcp-header of a is no name of a header"],
    "a letter beyond ASCII": [tool({ a: string("Région") }), "x-mcp-header of a is no name of a header"],
    "a number": [
      tool({ a: { type: "number", "x-mcp-header": "A" } }),
      "x-mcp-header of a stands at what is no string, integer or boolean"
    ],
    "an object": [
      tool({ a: { type: "object", "x-mcp-header": "A" } }),
      "x-mcp-header of a stands at what is no string, integer or boolean"
    ],
    "one name twice": [
      tool({ a: string("Region"), b: string("region") }),
      "x-mcp-header region stands at two arguments"
    ],
    "the elements of a list": [
      tool({ a: { type: "array", items: string("A") } }),
      "x-mcp-header A belongs to no argument"
    ],
    "a choice": [tool({}, { anyOf: [{ properties: { a: string("A") } }] }), "x-mcp-header A belongs to no argument"],
    "a definition": [tool({}, { $defs: { a: string("A") } }), "x-mcp-header A belongs to no argument"],
    "the whole": [tool({}, { "x-mcp-header": "A" }), "x-mcp-header A belongs to no argument"]
  } as const
  for (const [what, [definition, why]] of Object.entries(wrong)) {
    it(`must not be offered: ${what}`, () => assert.strictEqual(fault(definition), why))
  }

  it("may be nested as deep as JSON can be", () => {
    let schema: object = string("A")
    for (let depth = 0; depth < 20_000; depth++) schema = { type: "object", properties: { a: schema } }
    assert.isUndefined(fault({ name: "t", inputSchema: schema }))
  })
})
