/** What balancing promises, on the simulator: every scenario is played once with every strategy. */
import { type StrategyName, strategyNames } from "@portolan/core/Balancer"
import { readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import * as Report from "../simulator/Report.ts"
import * as Scenarios from "../simulator/Scenarios.ts"
import { capacity, type Outcome, percentile, play, type Scenario, usual } from "../simulator/Simulation.ts"

const seed = "portolan"
const played = new Map<Scenario, ReadonlyArray<Outcome>>()

const outcomes = (scenario: Scenario): ReadonlyArray<Outcome> => {
  let known = played.get(scenario)
  if (known === undefined) {
    known = strategyNames.map((strategy) => play(scenario, strategy, seed))
    played.set(scenario, known)
  }
  return known
}

const sum = (numbers: ReadonlyArray<number>) => numbers.reduce((total, each) => total + each, 0)

/** Checks the outcome with each strategy; names the strategies for which it doesn't hold, and what was measured. */
const every = (scenario: Scenario, measure: (outcome: Outcome) => number, most: number) => {
  const over = outcomes(scenario).flatMap((outcome): ReadonlyArray<readonly [StrategyName, number]> => {
    const measured = measure(outcome)
    return measured <= most ? [] : [[outcome.strategy, measured]]
  })
  assert.deepStrictEqual(over, [], `at most ${most} in "${scenario.name}"`)
}

describe("the simulator", { timeout: 300_000 }, () => {
  it("plays the same from the same seed, and otherwise from another", () => {
    for (const scenario of [Scenarios.flapping, Scenarios.crashes]) {
      const again = play(scenario, "peak-ewma", seed)
      assert.deepStrictEqual(again, play(scenario, "peak-ewma", seed))
      assert.notDeepEqual(again, play(scenario, "peak-ewma", "another"))
    }
  })

  it.each(Scenarios.scenarios)("ends every call of $name, and runs none twice that may not be repeated", (scenario) => {
    every(scenario, ({ failures }) => failures.get("never ended") ?? 0, 0)
    every(scenario, ({ repeated }) => repeated, 0)
  })

  it("knows what a fleet can do", () => {
    const calls = play({ ...Scenarios.control, load: { closed: 40 }, servers: 10 }, "least-requests", seed)
    // Forty callers keep forty places busy, but for the time on the network.
    assert.closeTo(calls.goodput, 10 * capacity * 22.66 / 23.66, 0.02 * 10 * capacity)
  })
})

describe("balancing", { timeout: 300_000 }, () => {
  it("gives a server that is ten times slower at most 1.5 % of the calls, and p95 within 10 % of that without it", () => {
    const without = play(Scenarios.control, "peak-ewma", seed)
    for (const scenario of [Scenarios.slow, Scenarios.slowWithFailures]) {
      const slow = play(scenario, "peak-ewma", seed)
      assert.isAtMost(slow.share, 0.015, scenario.name)
      assert.isAtMost(percentile(slow.latencies, 0.95)!, 1.1 * percentile(without.latencies, 0.95)!, scenario.name)
      assert.strictEqual(slow.succeeded, slow.calls, scenario.name)
    }
  })

  it("gives a server that fails less than 1 % of the calls 5 s later, whatever the strategy, of ten and of three", () => {
    for (const scenario of [Scenarios.failing, Scenarios.blackHole]) {
      every(scenario, ({ share }) => share, 0.01)
      every(Scenarios.withThree(scenario), ({ share }) => share, 0.01)
    }
  })

  it("fails no call in a rolling restart, whatever the strategy", () => {
    every(Scenarios.rollingRestart, ({ calls, succeeded }) => calls - succeeded, 0)
  })

  it("fails no call in a drain, and gives the drained ones none, whatever the strategy", () => {
    every(Scenarios.drain, ({ calls, succeeded }) => calls - succeeded, 0)
    every(Scenarios.drain, ({ share }) => share, 0)
  })

  it("fails no call that may be repeated where a server is killed every second", () => {
    every(Scenarios.crashes, ({ calls, succeeded }) => calls - succeeded, 0)
  })

  it("at 1.5 times the capacity does more than 90 % of it, and nothing waits longer than allowed", () => {
    const possible = capacity * usual.servers
    every(Scenarios.overload, ({ goodput }) => -goodput / possible, -0.9)
    // Timers know whole milliseconds.
    every(Scenarios.overload, ({ waits }) => percentile(waits, 1) ?? 0, Scenarios.longestWait + 1)
  })

  it("is as it was 2 s after an outage of all servers, whatever the strategy", () => {
    for (const { seconds, strategy } of outcomes(Scenarios.outage)) {
      for (const [second, { calls, succeeded }] of seconds.entries()) {
        if (second >= 32) assert.isAtLeast(succeeded, 0.9 * calls, `${strategy}, second ${second}`)
      }
    }
  })

  it("X2: retries no more than its budget and its reserve, in every stretch of an outage", () => {
    for (const { seconds, strategy } of outcomes(Scenarios.outage)) {
      assert.isAbove(sum(seconds.map(({ retries }) => retries)), 0, strategy)
      for (let from = 0; from < seconds.length; from++) {
        for (let to = from + 1; to <= seconds.length; to++) {
          const retries = sum(seconds.slice(from, to).map(({ retries }) => retries))
          // What was put in is worth something for 10 s.
          const calls = sum(seconds.slice(Math.max(from - 10, 0), to).map(({ calls }) => calls))
          assert.isAtMost(retries, 0.2 * calls + 10 * (to - from + 10), `${strategy}, second ${from} to ${to}`)
        }
      }
    }
  })
})

describe("hedging", { timeout: 300_000 }, () => {
  it("X7: takes the tail off for at most 5 % more calls, whatever the strategy", () => {
    every(Scenarios.hedging, ({ calls, retries }) => retries / calls, 0.05)
    const without = outcomes(Scenarios.stragglers)
    for (const [index, { latencies, strategy }] of outcomes(Scenarios.hedging).entries()) {
      const p99 = percentile(latencies, 0.99)!
      assert.isBelow(p99, percentile(without[index]!.latencies, 0.99)! / 2, strategy)
    }
  })
})

describe("docs/simulation.md", { timeout: 300_000 }, () => {
  const docs = new URL("../../docs/", import.meta.url)
  // Numbers move with every change of a strategy, and the widths of columns with them.
  const sections = (page: string) => page.replace(/(< )?[\d,.]+( %)?/g, "#").replace(/[-\s|*]+/g, " ").split(/(?= ## )/)

  it("is what the simulator writes, but for numbers; `npm run simulate -- --write` writes it anew", () => {
    const all = Scenarios.scenarios.map((scenario) => ({ scenario, outcomes: outcomes(scenario) }))
    const files = Report.files(all, seed)
    const written = sections(files.get("simulation.md")!)
    const known = sections(readFileSync(new URL("simulation.md", docs), "utf8"))
    const stale = written.filter((section, at) => section !== known[at]).map((section) => section.slice(0, 60))
    assert.deepStrictEqual(stale, [], "npm run simulate -- --write")
    assert.strictEqual(known.length, written.length, "npm run simulate -- --write")
    for (const [path] of files) assert.match(readFileSync(new URL(path, docs), "utf8"), /\S/)
  })
})
