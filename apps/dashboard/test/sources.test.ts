import * as Query from "@portolan/core/Query"
import { assert, describe, it } from "vitest"
import { consequence, summary, verdict } from "../src/pages/sources/trust.ts"
import { conditionOf } from "../src/parts/condition.ts"

const [connected, stale, connecting] = [{ state: "connected" }, { state: "stale" }, { state: "connecting" }] as const

describe("sources", () => {
  it("are told in a sentence", () => {
    assert.deepStrictEqual([
      verdict([]),
      verdict([connected]),
      verdict([connected, connected]),
      verdict([connected, stale]),
      verdict([stale, stale, connected]),
      verdict([stale, connecting, connected, connected]),
      verdict([connecting, connected]),
      verdict([connecting]),
      verdict([stale, stale]),
      verdict([connected, connected, connected])
    ], [
      "No sources yet",
      "The only source is connected",
      "Both sources are connected",
      "1 of 2 sources is stale",
      "2 of 3 sources are stale",
      "1 of 4 sources is stale, 1 hasn't answered yet",
      "1 of 2 sources hasn't answered yet",
      "The only source hasn't answered yet",
      "Both sources are stale",
      "All 3 sources are connected"
    ])
  })

  it("are summed up, without what isn't there", () => {
    const rejected = [{ id: "a", reason: "endpoint: missing" }]
    assert.strictEqual(summary([]), "0 instances announced")
    assert.strictEqual(summary([{ instances: 1200, rejected: [], held: 0 }]), "1,200 instances announced")
    assert.strictEqual(
      summary([{ instances: 1, rejected, held: 1 }, { instances: 0, rejected, held: 1 }]),
      "1 instance announced; 2 records can't be used; 2 removals aren't believed yet"
    )
  })

  it("are found by a condition, whatever their name", () => {
    for (const name of ["dc1", "a b", "say \"x\"", "1"]) {
      const read = Query.parse(conditionOf(name))
      assert.deepStrictEqual("success" in read ? read.success : undefined, { source: name })
    }
  })

  it("that aren't connected say what follows", () => {
    assert.isUndefined(consequence({ instances: 3, state: "connected" }))
    assert.match(consequence({ instances: 1, state: "stale" }) ?? "", /^Its 1 instance stays as last known/)
    assert.match(consequence({ instances: 0, state: "stale" }) ?? "", /no instances/)
    assert.match(consequence({ instances: 0, state: "connecting" }) ?? "", /asked again/)
  })
})
