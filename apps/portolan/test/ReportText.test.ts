/**
 * How `explain` and `report` look, in narrow terminals and with what other people wrote.
 */
import { assert, describe, it } from "@effect/vitest"
import type { CandidateView, ExplanationView } from "@portolan/gateway/rest/ExplanationView"
import type { ReportView } from "@portolan/gateway/rest/ReportView"
import { explanationText } from "../src/commands/explain.ts"
import { reportText } from "../src/commands/report.ts"
import { latency } from "../src/table.ts"
import { widthOf } from "../src/terminal.ts"

const candidate = (instance: string, more: Partial<CandidateView> = {}): CandidateView => ({
  instance,
  service: "weather",
  source: "local",
  version: "1.4.0",
  status: "healthy",
  score: 1,
  inFlight: 3,
  weight: 1,
  circuit: "closed",
  stale: false,
  reason: "",
  ...more
})

const explanation = (more: Partial<ExplanationView> = {}): ExplanationView => ({
  requested: "weather__get_forecast",
  strategy: "peak-ewma",
  considered: [],
  leftOut: [],
  more: { considered: 0, leftOut: 0 },
  ...more
})

const counts = {
  calls: 0,
  successes: 0,
  failures: { failed: 0, refused: 0, unavailable: 0, shed: 0 },
  interrupted: 0
}

const efforts = {
  retries: { made: 0, denied: 0 },
  hedges: { sent: 0, denied: 0, won: 0 },
  queue: { queued: 0, shed: 0, waiting: 0 },
  ejections: 0,
  ejected: 0,
  inFlight: 0
}

const report = (more: Partial<ReportView> = {}): ReportView => ({
  since: "2026-11-21T08:00:00.000Z",
  at: "2026-11-21T08:05:00.000Z",
  total: { ...counts, ...efforts },
  decisions: { strategies: [], rules: [] },
  services: { top: [] },
  instances: { top: [] },
  tools: { top: [] },
  callers: { top: [] },
  sources: [],
  ...more
})

describe("the text of an explanation", () => {
  it("lines up instances, regions and figures", () => {
    const text = explanationText(
      explanation({
        rule: { number: 2, name: "weather.*", text: "prefer us-west-2, min score 0.8" },
        picked: candidate("weather-7c9f", {
          region: "us-west-2",
          score: 0.98,
          latency: 12,
          reason: "rule \"weather.*\": the best of 4"
        }),
        considered: [candidate("weather-a1", { region: "eu", latency: 1_900, inFlight: 12 })],
        leftOut: [candidate("weather-0d2b", { reason: "weight 0" }), candidate("b", { region: "eu", reason: "down" })],
        more: { considered: 2, leftOut: 1 }
      }),
      undefined
    )
    assert.deepStrictEqual(text.split("\n"), [
      "rule       2 \"weather.*\": prefer us-west-2, min score 0.8",
      "picked     weather-7c9f  us-west-2  score 0.98  ewma 12 ms  in flight 3  the best of 4",
      "considered weather-a1    eu         score 1.00  ewma 1.9 s  in flight 12",
      "           and 2 more",
      "left out   weather-0d2b             weight 0",
      "           b             eu         down",
      "           and 1 more"
    ])
  })

  it("has no column of regions where there are none, and says what fails or waits", () => {
    const text = explanationText(
      explanation({
        failure: { kind: "overloaded", reason: "its only instance is at its limit", waits: true },
        leftOut: [candidate("a", { reason: "at its limit: 1 in flight" })]
      }),
      undefined
    )
    assert.deepStrictEqual(text.split("\n"), [
      "rule       none: peak-ewma",
      "waits      its only instance is at its limit",
      "left out   a  at its limit: 1 in flight"
    ])
    const fails = explanationText(
      explanation({ failure: { kind: "overloaded", reason: "no call may wait", waits: false, retryAfter: 1_500 } })
    )
    assert.include(fails, "\nfails      no call may wait; again in 1.5 s")
  })

  it("has room for every word in a narrow terminal, and lets no control character through", () => {
    const text = explanationText(
      explanation({
        rule: { number: 1, name: "a\u001b[31m", text: "" },
        picked: candidate("天気予報サーバー", { region: "us-west-2" }),
        leftOut: [candidate("evil\u001b[2J", { reason: `${"very ".repeat(40)}long\nline` })]
      }),
      60
    )
    // eslint-disable-next-line no-control-regex
    assert.notMatch(text, /[\u0000-\u0009\u000b-\u001f]/)
    const lines = text.split("\n")
    for (const line of lines) assert.isAtMost(widthOf(line), 60)
    assert.deepStrictEqual(lines.slice(0, 3), [
      "rule       1 \"a\\u001b[31m\"",
      "picked     天気予報サーバー  us-west-2  score 1.00  ewma -",
      "             in flight 3"
    ])
    assert.match(lines[3] ?? "", /^left out {3}evil +very very /)
    assert.lengthOf(text.match(/very/g) ?? [], 40)
    assert.match(text, / long line$/)
  })
})

describe("the text of a report", () => {
  it("says little where there is little", () => {
    assert.strictEqual(reportText(report()), "calls  0 calls in 5 m, 0 in flight")
  })

  it("tells what went wrong, and adds up the rest", () => {
    const text = reportText(report({
      total: {
        ...counts,
        ...efforts,
        calls: 1_200,
        successes: 1_188,
        failures: { failed: 3, refused: 0, unavailable: 2, shed: 6 },
        interrupted: 1,
        latency: { average: 12.34, p50: 10, p95: 100.4, p99: 2_345 },
        retries: { made: 12, denied: 1 },
        hedges: { sent: 4, denied: 0, won: 2 },
        queue: { queued: 9, shed: 6, waiting: 1, wait: { average: 5, p50: 5, p95: 7, p99: 9 } },
        ejections: 2,
        ejected: 1
      },
      decisions: { strategies: [{ strategy: "p2c", picks: 1_216 }], rules: [{ rule: "weather.*", picks: 4 }] },
      tools: {
        top: [{ ...counts, tool: "weather__get_forecast", calls: 1_000, successes: 990 }],
        rest: { ...counts, calls: 200, successes: 198 }
      }
    }))
    assert.deepStrictEqual(text.split("\n"), [
      "calls      1,200 calls in 5 m, 99.0 % answered, 3 failed, 2 unavailable, 6 shed, 1 given up, 0 in flight",
      "latency    average 12.3 ms, p50 10 ms, p95 100 ms, p99 2.35 s",
      "picks      1,216 p2c",
      "rules      4 \"weather.*\"",
      "retries    12 made, 1 denied by the budget",
      "hedges     4 sent, 2 won",
      "queue      9 queued, 6 shed, 1 waiting, p95 7 ms",
      "ejections  2 so far, 1 out now",
      "",
      "TOOL                   CALLS      OK  FAILED  P50  P95  P99",
      "weather__get_forecast  1,000  99.0 %       0",
      "(others)                 200  99.0 %       0"
    ])
  })

  it("has three digits of a latency", () => {
    assert.deepStrictEqual([0.1234, 1, 1.234, 12.34, 123.4, 999.4, 999.6, 61_000].map(latency), [
      "0.12 ms",
      "1 ms",
      "1.23 ms",
      "12.3 ms",
      "123 ms",
      "999 ms",
      "1 s",
      "61 s"
    ])
  })
})
