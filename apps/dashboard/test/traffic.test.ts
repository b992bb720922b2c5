import { assert, describe, it } from "vitest"
import type { ReportView } from "../src/api/types.ts"
import { callerOf, wayOf, ways } from "../src/pages/traffic/rows.ts"
import { partsOf } from "../src/parts/calls.ts"

const counts = (calls: number, failed = 0) => ({
  calls,
  successes: calls - failed,
  interrupted: 0,
  failures: { failed, refused: 0, unavailable: 0, shed: 0 }
})
const efforts = {
  retries: { made: 3, denied: 0 },
  hedges: { sent: 0, denied: 0, won: 0 },
  queue: { queued: 1, shed: 0, waiting: 0 },
  ejections: 0,
  ejected: 0,
  inFlight: 2
}

const report = (calls: number): ReportView => ({
  since: "2026-11-21T03:00:00.000Z",
  at: "2026-11-21T03:10:00.000Z",
  total: { ...counts(calls), ...efforts },
  decisions: { strategies: [], rules: [] },
  services: { top: [{ service: "weather", ...counts(calls, calls / 4), ...efforts }] },
  instances: { top: [] },
  tools: { top: [{ tool: "weather__get", service: "weather", ...counts(calls / 2) }], rest: counts(calls / 2) },
  callers: { top: [{ caller: "principal:ana", ...counts(calls) }, { caller: "anonymous", ...counts(0) }] },
  sources: []
})

describe("traffic", () => {
  it("is told apart by service, tool and caller, with shares of all calls", () => {
    const rows = ways.map((way) =>
      way.rows(report(8)).map(({ calls, failed, name, share }) => [name, calls, share, failed])
    )
    assert.deepStrictEqual(rows, [
      [["weather", 8, 1, 0.25]],
      [["weather__get", 4, 0.5, 0]],
      [["principal:ana", 8, 1, 0], ["anonymous", 0, 0, undefined]]
    ])
    assert.strictEqual(wayOf("tool").rest(report(8))?.calls, 4)
    assert.isUndefined(wayOf("").rest(report(8)))
    assert.strictEqual(wayOf("nothing").key, "")
    // Without calls there are no shares.
    assert.isUndefined(wayOf("").rows(report(0))[0]?.share)
  })

  it("has every call in one part of what became of it", () => {
    const all = {
      calls: 10,
      successes: 4,
      interrupted: 2,
      failures: { failed: 1, refused: 1, unavailable: 1, shed: 1 }
    }
    const parts = partsOf(all)
    assert.strictEqual(parts.reduce((sum, { calls }) => sum + calls, 0), all.calls)
    assert.deepStrictEqual(parts.filter(({ bad }) => bad).map(({ key }) => key), ["failed", "unavailable", "shed"])
    assert.isTrue(partsOf(counts(0)).every(({ share }) => share === 0))
  })

  it("names callers apart from what they are known as", () => {
    assert.deepStrictEqual(callerOf("principal:ana"), { name: "ana", as: "principal" })
    assert.deepStrictEqual(callerOf("tenant:acme:1"), { name: "acme:1", as: "tenant" })
    assert.deepStrictEqual(callerOf("anonymous"), { name: "anonymous", as: "" })
  })
})
