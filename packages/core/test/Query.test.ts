import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Query from "../src/Query.ts"
import * as ServiceInstance from "../src/ServiceInstance.ts"

const instance = ServiceInstance.make({
  id: "weather-7c9f",
  service: "weather",
  version: "1.4.0",
  endpoint: { transport: "streamable-http", url: "http://10.0.0.7:8080/mcp", headers: { Authorization: "s3cret" } },
  capabilities: ["weather.current", "weather.forecast"],
  tags: ["prod", "eu"],
  tools: ["get_forecast"],
  region: "us-west-2",
  zone: "us-west-2a",
  weight: 2,
  priority: 1,
  limits: { maxConcurrency: 100 },
  cost: { perCall: 0.002 },
  tenants: ["acme"],
  metadata: {
    gpu: true,
    priority: 9,
    rank: "12",
    on: "true",
    zip: "0123",
    owner: "Team Lisbon",
    nothing: null,
    labels: ["a", "b"],
    deep: { level: { two: 2 } },
    "example.com/team": "x"
  }
})

const subject: Query.QuerySubject = { entry: { instance, source: "dc1" }, health: "degraded", score: 0.8, stale: false }

const matches = (query: Query.Query, of = subject): boolean => Result.getOrThrow(Query.compile(query))(of)
const reason = (query: unknown): string => {
  const compiled = Result.flatMap(Query.decode(query), Query.compile)
  return Result.isFailure(compiled) ? compiled.failure.message : "accepted"
}

const table: ReadonlyArray<readonly [yes: ReadonlyArray<Query.Query>, no: ReadonlyArray<Query.Query>]> = [
  [[{}, { kind: "mcp-server" }, { kind: ["agent", "mcp-server"] }], [{ kind: "agent" }, { kind: [] }]],
  [
    [{ service: "weather" }, { service: "wea*" }, { name: "*ther" }, { name: "w*t*r" }, { service: ["x", "weather"] }],
    [{ service: "Weather" }, { service: "weath" }, { name: "x*" }, { name: "we*q*r" }, { name: "weather*weather" }]
  ],
  [[{ id: "weather-7c9f" }, { id: { $regex: "^weather-[0-9a-f]+$" } }], [{ id: "7c9f" }, { id: { $regex: "^7" } }]],
  [[{ version: "^1.2" }, { version: ">=1.4.0 <2" }, { version: "1" }, { version: "0.x || 1.x" }], [{ version: "^2" }, {
    version: "1.5"
  }]],
  [[{ tags: ["prod", "eu"] }, { tags: "pr*" }, { tags: [] }], [{ tags: ["prod", "us"] }]],
  [[{ anyTags: ["us", "eu"] }], [{ anyTags: ["us"] }, { anyTags: [] }]],
  [
    [{ capabilities: "weather.*" }, { capabilities: ["weather.current", "*.forecast"] }, {
      anyCapabilities: ["a.*", "weather.*"]
    }],
    [{ capabilities: ["weather.*", "db.*"] }, { capabilities: "weather" }, { anyCapabilities: "db.*" }]
  ],
  [[{ tools: "get_*" }, { anyTools: ["x", "get_forecast"] }], [{ tools: ["get_forecast", "x"] }, { anyTools: ["x"] }]],
  [[{ health: "degraded" }, { health: ["healthy", "degraded"] }], [{ health: ["healthy"] }]],
  [[{ available: true }], [{ available: false }]],
  [[{ stale: false }], [{ stale: true }]],
  [[{ status: "up" }, { status: ["up", "draining"] }], [{ status: "draining" }]],
  [[{ source: "dc1" }, { source: ["dc*"] }], [{ source: "dc2" }]],
  [[{ region: "us-*" }, { region: { $in: ["us-west-2"] } }, { zone: "us-west-2a" }], [{ region: "eu-*" }, {
    region: { $eq: "us-*" }
  }]],
  [[{ tenant: "acme" }], [{ tenant: "other" }]],
  [[{ weight: 2 }, { priority: { $lte: 1 } }, { score: { $gte: 0.8 } }], [{ weight: 1 }, { score: { $gt: 0.8 } }]],
  [
    [{ "endpoint.transport": "streamable-http" }, { "endpoint.url": "http://10.*" }, {
      "limits.maxConcurrency": { $gte: 100 }
    }],
    [{ "endpoint.transport": "stdio" }, { "cost.perCall": { $gt: 1 } }]
  ],
  [
    [{ search: "LISBON forecast" }, { search: "dc1" }, { search: "" }, { search: "7c9f" }],
    [{ search: "lisbon porto" }, { search: "s3cret" }]
  ],
  [
    [{ "metadata.gpu": true }, { metadata: { gpu: true, priority: [8, 9] } }, { "metadata.owner": "Team *" }, {
      "metadata.deep.level.two": 2
    }],
    [{ "metadata.gpu": false }, { metadata: { gpu: true, priority: 8 } }, { "metadata.deep.level": 2 }]
  ],
  [[{ "metadata.example.com/team": "x" }, { "metadata.nothing": null }], [{ "metadata.absent": null }]],
  [[{ "metadata.priority": { $eq: 9 } }, { "metadata.rank": 12 }, { "metadata.on": true }], [{
    "metadata.priority": "9"
  }, { "metadata.zip": "123" }]],
  [
    [{ "metadata.priority": { $ne: 8 } }, { "metadata.absent": { $ne: 8 } }, { "metadata.absent": { $nin: [1] } }],
    [{ "metadata.priority": { $ne: 9 } }, { "metadata.labels": { $ne: "a" } }]
  ],
  [
    [{ "metadata.priority": { $gt: 8, $lt: 10 } }, { "metadata.priority": { $gte: 9 } }, {
      "metadata.rank": { $gte: 8 }
    }],
    [{ "metadata.priority": { $gt: 9 } }, { "metadata.absent": { $gte: 0 } }, { "metadata.owner": { $gt: 1 } }]
  ],
  [
    [{ "metadata.priority": { $lt: 10 } }, { "metadata.priority": { $lte: 9 } }, {
      "metadata.owner": { $gte: "Team" }
    }],
    [{ "metadata.priority": { $lt: 9 } }]
  ],
  [[{ "metadata.priority": { $in: [1, 9] } }, { "metadata.labels": { $in: ["b", "c"] } }], [{
    "metadata.priority": { $in: [] }
  }, { "metadata.absent": { $in: [1] } }]],
  [[{ "metadata.priority": { $nin: [1, 2] } }], [{ "metadata.priority": { $nin: [9] } }, {
    "metadata.labels": { $nin: ["a"] }
  }]],
  [[{ "metadata.gpu": { $exists: true } }, { "metadata.absent": { $exists: false } }], [{
    "metadata.absent": { $exists: true }
  }]],
  [[{ "metadata.owner": { $regex: "(?i)^team (lisbon|porto)$" } }, { "metadata.labels": { $regex: "b" } }], [{
    "metadata.owner": { $regex: "^lisbon" }
  }, { "metadata.priority": { $regex: "9" } }]],
  [
    [{ "metadata.priority": { $and: [{ $gt: 1 }, { $lt: 10 }] } }, {
      "metadata.priority": { $or: [{ $eq: 1 }, { $eq: 9 }] }
    }, { "metadata.priority": { $not: { $eq: 1 } } }],
    [{ "metadata.priority": { $and: [{ $gt: 1 }, { $lt: 2 }] } }, { "metadata.priority": { $or: [] } }, {
      "metadata.priority": { $not: { $gt: 1 } }
    }]
  ],
  [
    [{ $and: [] }, { $and: [{ tags: "prod" }, { stale: false }] }, { $or: [{ tags: "x" }, { tags: "eu" }] }, {
      $not: { tags: "x" }
    }],
    [{ $or: [] }, { $and: [{ tags: "prod" }, { stale: true }] }, { $or: [{ tags: "x" }] }, { $not: {} }]
  ]
]

// Text that reads as something else, and keys that objects have anyhow, must survive like any other.
const text = fc.oneof(
  fc.string({ maxLength: 8 }),
  fc.constantFrom(
    "1",
    "true",
    "null",
    "[",
    "{}",
    "\"",
    "a b",
    "*",
    "weather",
    "us-*",
    "&=#",
    "__proto__",
    "-0",
    "1e3",
    "00"
  )
)
const scalar = fc.oneof(
  text,
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => n + 0),
  fc.boolean(),
  fc.constant(null)
)
const orderable = fc.oneof(fc.integer({ min: 0, max: 12 }), text)
const texts = fc.oneof(text, fc.array(text, { maxLength: 3 }))
const flat = {
  $eq: scalar,
  $ne: scalar,
  $gt: orderable,
  $gte: orderable,
  $lt: orderable,
  $lte: orderable,
  $in: fc.array(scalar, { maxLength: 3 }),
  $nin: fc.array(scalar, { maxLength: 3 }),
  $exists: fc.boolean(),
  $regex: fc.constantFrom("a", "^w.*r$", "[0-9]+", "true")
}
const simple: fc.Arbitrary<Query.Operators> = fc.record(flat, { requiredKeys: [] })
const some = { maxLength: 2 }
const operators: fc.Arbitrary<Query.Operators> = fc.record(
  { ...flat, $and: fc.array(simple, some), $or: fc.array(simple, some), $not: simple },
  { requiredKeys: [] }
)
const condition = fc.oneof(scalar, fc.array(scalar, { maxLength: 3 }), operators)
const fields = {
  kind: fc.constantFrom("agent" as const, "mcp-server" as const),
  service: condition,
  region: condition,
  version: fc.constantFrom("1", "^1.2", "*", ">=2 || <1"),
  tags: texts,
  anyCapabilities: texts,
  health: fc.subarray(["healthy" as const, "degraded" as const, "down" as const]),
  available: fc.boolean(),
  tenant: text,
  search: text,
  score: condition,
  metadata: fc.dictionary(text, condition, { maxKeys: 2 }),
  "metadata.priority": condition,
  "metadata.labels": condition,
  "metadata.a b[c]": condition
}
const leaf: fc.Arbitrary<Query.Query> = fc.record(fields, { requiredKeys: [] })
const query: fc.Arbitrary<Query.Query> = fc.record(
  { ...fields, $and: fc.array(leaf, some), $or: fc.array(leaf, some), $not: leaf },
  { requiredKeys: [] }
)
// Few conditions, so that both answers come often.
const small = fc.constantFrom(...table.flat(2))
const either = fc.oneof(query, small)

describe("Query", () => {
  for (const [yes, no] of table) {
    for (const query of yes) it(`matches ${JSON.stringify(query)}`, () => assert.isTrue(matches(query)))
    for (const query of no) it(`leaves out ${JSON.stringify(query)}`, () => assert.isFalse(matches(query)))
  }

  it("counts exactly the routable statuses as available", () => {
    const statuses: ReadonlyArray<Query.QuerySubject["health"]> = [
      "healthy",
      "degraded",
      "unhealthy",
      "draining",
      "down",
      "unknown"
    ]
    const available = statuses.filter((health) => matches({ available: true }, { ...subject, health }))
    assert.deepStrictEqual(available, ["healthy", "degraded", "unknown"])
  })

  it("lets everybody see what is for `*`", () => {
    const open = { ...subject, entry: { source: "dc1", instance: { ...instance, tenants: ["*"] } } }
    assert.isTrue(matches({ tenant: "anybody" }, open))
  })

  describe("laws", () => {
    it("and, or and not mean what they say", () =>
      fc.assert(fc.property(either, either, (a, b) => {
        assert.strictEqual(matches({ $and: [a, b] }), matches(a) && matches(b))
        assert.strictEqual(matches({ $or: [a, b] }), matches(a) || matches(b))
        assert.strictEqual(matches({ $not: { $not: a } }), matches(a))
        assert.strictEqual(matches({ $not: a }), !matches(a))
      })))

    it("a query survives URL parameters and JSON", () =>
      fc.assert(
        fc.property(either, (query) => {
          const there = Query.toUrlParameters(query)
          const back = Result.getOrThrow(Query.fromUrlParameters(new URLSearchParams(there.toString())))
          assert.strictEqual(matches(back), matches(query))
          // What a pair can't say went into `$and`, and stays there.
          assert.deepStrictEqual(Result.getOrThrow(Query.fromUrlParameters(Query.toUrlParameters(back))), back)
          assert.deepStrictEqual(
            Result.getOrThrow(Query.decode(JSON.parse(JSON.stringify(query)))),
            JSON.parse(JSON.stringify(query))
          )
        }),
        { numRuns: 500 }
      ))

    it("reads back the very query where every condition can be a parameter", () =>
      fc.assert(fc.property(fc.record({ service: texts, tags: texts, "metadata.priority": condition }), (query) => {
        assert.deepStrictEqual(Result.getOrThrow(Query.fromUrlParameters(Query.toUrlParameters(query))), query)
      })))

    it("finds with $regex what JavaScript finds", () => {
      const atom = fc.constantFrom("a", "b", ".", "[ab]", "[^a]", "\\d", "\\w", "^", "$", "\\b", "é")
      const larger = (inner: fc.Arbitrary<string>): fc.Arbitrary<string> =>
        fc.oneof(
          inner,
          fc.tuple(inner, inner).map(([a, b]) => a + b),
          fc.tuple(inner, inner).map(([a, b]) => `(${a}|${b})`),
          fc.tuple(inner, fc.constantFrom("*", "+", "?", "{2}", "{1,3}", "{0,}", "*?")).map(([a, q]) => `(?:${a})${q}`)
        )
      const pattern = larger(larger(larger(atom)))
      fc.assert(
        fc.property(
          pattern,
          fc.string({ unit: fc.constantFrom("a", "b", "1", " ", "é", "😀", "\n"), maxLength: 6 }),
          (source, value) => {
            const own = matches({ "metadata.x": { $regex: source } }, {
              ...subject,
              entry: { source: "", instance: { ...instance, metadata: { x: value } } }
            })
            assert.strictEqual(own, new RegExp(source, "u").test(value), `${source} in ${JSON.stringify(value)}`)
          }
        ),
        { numRuns: 2_000 }
      )
    })
  })

  it("reads what a person types", () => {
    const parse = (text: string) => Result.getOrThrow(Query.parse(text))
    assert.deepStrictEqual(parse("tag=prod metadata.priority>=8"), { tags: "prod", "metadata.priority": { $gte: 8 } })
    assert.deepStrictEqual(parse("tag=prod tag=eu version=1 metadata.p>1 metadata.p<=3"), {
      tags: ["prod", "eu"],
      version: "1",
      "metadata.p": { $gt: 1, $lte: 3 }
    })
    assert.deepStrictEqual(parse("weather region!=us-* \"two words\" id~^a"), {
      search: "weather two words",
      id: { $regex: "^a" },
      $and: [{ $not: { region: "us-*" } }]
    })
    assert.deepStrictEqual(parse("metadata.zip=\"0123\" metadata.gpu=true service=\"a b\""), {
      "metadata.zip": "0123",
      "metadata.gpu": true,
      service: "a b"
    })
    assert.deepStrictEqual(parse("  "), {})
  })

  it("names the place of a mistake in one line", () => {
    assert.strictEqual(reason({ $or: [{ servise: "a" }] }), "query: $or.0.servise: unknown key")
    assert.strictEqual(
      reason({ "metadata.priority": { $gtee: 8 } }),
      "query: metadata.priority.$gtee: unknown operator $gtee"
    )
    assert.strictEqual(reason({ metadata: { a: { $gt: true } } }), "query: metadata.a.$gt: expected a number or a text")
    assert.strictEqual(reason({ health: "sick" }).split("expected")[0], "query: health: ")
    assert.match(reason({ $not: { version: "latest" } }), /^query: \$not\.version: [^\n]+$/)
    assert.match(reason({ service: { $and: [{ $regex: "(" }] } }), /^query: service\.\$and\.0\.\$regex: [^\n]+$/)
    assert.strictEqual(reason([]), "query: expected a record of conditions")
    assert.strictEqual(reason({ metadata: { gpu: { model: "x" } } }), "query: metadata.gpu.model: unknown key")
    const url = Query.fromUrlParameters(new URLSearchParams("$or=[{"))
    assert.strictEqual(Result.isFailure(url) && url.failure.message, "query: $or: expected JSON after [, { or \"")
    const both = Query.parse("weight=1 weight>2")
    assert.strictEqual(
      Result.isFailure(both) && both.failure.message,
      "query: weight: expected a value or operators, not both"
    )
  })

  describe("hostile input", () => {
    it("takes keys that every object has for what they are", () => {
      for (const key of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
        assert.include(reason(JSON.parse(`{"${key}":1}`)), "unknown key")
        assert.isFalse(matches({ [`metadata.${key}`]: { $exists: true } }))
        assert.isFalse(matches({ metadata: Object.fromEntries([[key, { $exists: true }]]) }))
        const url = Query.fromUrlParameters(new URLSearchParams([[key, "1"], [`${key}[$eq]`, "1"]]))
        assert.isTrue(Result.isFailure(url))
      }
      assert.isUndefined(Reflect.get({}, "$eq"))
    })

    it("bounds depth and size", () => {
      let deep: Query.Query = {}
      for (let i = 0; i < 100_000; i++) deep = { $not: deep }
      assert.include(reason(deep), "nested more than 32 levels")
      assert.include(reason({ id: Array.from({ length: 20_000 }, () => "a") }), "more than 10000 values")
      const cycle: { $not?: unknown } = {}
      cycle.$not = cycle
      assert.include(reason(cycle), "nested more than")
    })

    it("bounds regular expressions in size, syntax and time", () => {
      const wrong = (source: string) => reason({ id: { $regex: source } })
      assert.include(wrong("a".repeat(1_001)), "at most 1000 characters")
      assert.include(wrong("(a{1000}){1000}"), "repetitions are too many")
      assert.include(wrong("((((){999}){999}){999}){999}"), "repetitions are too many")
      assert.include(wrong("(a)\\1"), "back-references")
      assert.include(wrong("(?<x>a)\\k<x>"), "back-references")
      for (const look of ["(?=a)", "(?!a)", "(?<=a)", "(?<!a)"]) assert.include(wrong(look), "look-around")
      assert.include(wrong("(".repeat(200) + ")".repeat(200)), "nested too deeply")
      const evil = {
        ...subject,
        entry: { source: "", instance: { ...instance, metadata: { x: "a".repeat(9_999) + "!" } } }
      }
      const started = performance.now()
      for (const source of ["^(a+)+$", "^(a|a)*$", "^(a?){50}a{50}$", "a*a*a*a*a*b", "(.*)*$x"]) {
        assert.isFalse(matches({ "metadata.x": { $regex: source } }, evil), source)
      }
      assert.isBelow(performance.now() - started, 5_000)
    })
  })
})
