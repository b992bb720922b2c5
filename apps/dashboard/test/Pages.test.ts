import { describe, expect, it } from "vitest"
import type { ExplanationView } from "../src/api/types.ts"
import { states } from "../src/fleet/rows.ts"
import { checksOf, statesOf as historyOf } from "../src/pages/instance/history.ts"
import { reasonOf } from "../src/pages/instance/reason.ts"
import { all } from "../src/pages/instances/bulk.ts"
import { countStates, meets, statesOf } from "../src/pages/instances/choice.ts"
import { consequence } from "../src/pages/instances/consequence.ts"
import { annotationsOf } from "../src/pages/service/annotations.ts"
import { fullOf, sharesOf } from "../src/pages/service/shares.ts"
import { hasWords, viewOf } from "../src/pages/services/views.ts"
import { type Candidate, elsewhereOf, leftOutOf } from "../src/parts/explanation.ts"
import { change, instance, service } from "./rows.ts"

describe("services", () => {
  it("are found by all words, wherever they are", () => {
    const row = service("Weather", {
      tags: ["prod"],
      cells: [{ region: "us-west-2", total: 1, healthy: 1, exceptions: [] }]
    })
    expect(["", "  ", "weather", "PROD us-west", "local"].every((text) => hasWords(row, text))).toBe(true)
    expect(hasWords(row, "weather dev")).toBe(false)
  })

  it("are looked at by what is wrong with them", () => {
    const rows = [
      service("down", { state: "down" }),
      service("drains", { state: "draining" }),
      service("fails", { failed: 0.1, rate: 3 }),
      service("idle")
    ]
    const names = (key: string) => rows.filter(viewOf(key).holds).map(({ name }) => name)
    expect(names("attention")).toEqual(["down"])
    expect(names("failing")).toEqual(["fails"])
    expect(names("idle")).toEqual(["down", "drains", "idle"])
    expect(names("no such view")).toHaveLength(4)
  })
})

describe("shares", () => {
  it("are of the calls, and of the weights of those that take calls", () => {
    const shares = sharesOf([
      instance("w-1", { rate: 30, weight: 3 }),
      instance("w-2", { rate: 10, weight: 1 }),
      instance("w-3", { rate: 0, weight: 4, routable: false })
    ])
    expect(Array.from(shares.values())).toEqual([
      { share: 0.75, fair: 0.75, elsewhere: false },
      { share: 0.25, fair: 0.25, elsewhere: false },
      { share: 0, fair: undefined, elsewhere: false }
    ])
    expect(fullOf(shares)).toBeCloseTo(0.8625)
  })

  it("of no calls, no weights and no instances aren't numbers of something", () => {
    expect(Array.from(sharesOf([instance("w-1", { weight: 0 })]).values())).toEqual([
      { share: undefined, fair: undefined, elsewhere: false }
    ])
    expect(fullOf(sharesOf([]))).toBeGreaterThan(0)
  })
})

describe("annotations", () => {
  it("are one for changes that come together, oldest first", () => {
    const annotations = annotationsOf([
      change(100_000, "ejected"),
      // Tried, and ejected again: still one.
      change(102_000, "ejected"),
      change(104_000, "unhealthy", { instance: "weather-2" }),
      change(105_000, "unhealthy", { instance: "weather-3" }),
      change(200_000, "healthy"),
      change(201_000, "added"),
      change(202_000, "stale", { kind: "source" })
    ])
    expect(annotations).toEqual([
      { at: 105, text: "ejected, 2 unhealthy" },
      { at: 200, text: "recovered" }
    ])
  })

  it("are as many as a plot can bear, the newest", () => {
    const annotations = annotationsOf(Array.from({ length: 40 }, (_, at) => change(at * 60_000, "ejected")))
    expect(annotations).toHaveLength(12)
    expect(annotations.at(-1)?.at).toBe(39 * 60)
  })
})

describe("explanation", () => {
  const candidate = (name: string, said: Partial<Candidate> = {}): Candidate => ({
    instance: name,
    service: "weather",
    source: "local",
    version: "1.0.0",
    status: "healthy",
    score: 1,
    inFlight: 0,
    weight: 1,
    circuit: "closed",
    stale: false,
    reason: "",
    ...said
  })
  const explanation: ExplanationView = {
    requested: "weather",
    strategy: "peak-ewma",
    picked: candidate("near", { region: "us" }),
    considered: [],
    leftOut: [
      candidate("a", { region: "us", status: "draining", reason: "draining" }),
      candidate("b", { region: "eu", reason: "other region (1 healthy in us)" }),
      candidate("c", { region: "eu", status: "draining", reason: "draining" })
    ],
    more: { considered: 0, leftOut: 0 }
  }

  it("puts together who is left out for one reason", () => {
    expect(leftOutOf(explanation).map(({ instances, reason }) => [reason, instances.map((one) => one.instance)]))
      .toEqual([
        ["draining", ["a", "c"]],
        ["other region (1 healthy in us)", ["b"]]
      ])
  })

  it("tells who is only too far away, and gives them no fair share", () => {
    const elsewhere = elsewhereOf(explanation)
    expect(Array.from(elsewhere)).toEqual(["local\u0000b"])
    const shares = sharesOf([instance("near", { weight: 2 }), instance("b", { weight: 6 })], elsewhere)
    expect(Array.from(shares.values(), ({ fair }) => fair)).toEqual([1, undefined])
    expect(elsewhereOf(undefined).size).toBe(0)
  })
})

describe("instances", () => {
  const rows = [
    instance("weather-1", { region: "us", state: "ejected" }),
    instance("weather-2", { region: "eu" }),
    instance("maps-1", { state: "down" })
  ]

  it("are chosen by what the address says", () => {
    expect(Array.from(statesOf("down,nonsense,ejected,"))).toEqual(["down", "ejected"])
    const ids = (choice: Partial<Parameters<typeof meets>[1]>) =>
      rows.filter((row) =>
        meets(row, { states: new Set(), service: undefined, region: undefined, found: undefined, ...choice })
      ).map(({ id }) => id)
    expect(ids({ service: "weather" })).toEqual(["weather-1", "weather-2"])
    expect(ids({ region: "" })).toEqual(["maps-1"])
    expect(ids({ found: new Set(["local\u0000weather-2"]) })).toEqual(["weather-2"])
    expect(ids({ found: new Set() })).toEqual([])
  })

  it("are counted by state, each of which has its place", () => {
    const counts = countStates(rows)
    expect(counts.map(([state]) => state)).toEqual(states.toReversed())
    expect(counts.filter(([, count]) => count > 0)).toEqual([["healthy", 1], ["ejected", 1], ["down", 1]])
  })

  it("give a reason that doesn't say their state again", () => {
    const ejected = instance("w-1", { state: "ejected", reason: "ejected for 5s: 5 time-outs", until: 20_000 })
    expect(reasonOf(ejected, 8_000)).toBe("back in 12 s: 5 time-outs")
    expect(reasonOf(ejected, 21_000)).toBe("on trial now: 5 time-outs")
    expect(reasonOf(instance("w-1", { state: "draining", reason: "marked draining: update" }), 0)).toBe(
      "marked: update"
    )
    expect(reasonOf(instance("w-1", { state: "down", reason: "marked down" }), 0)).toBe("marked")
    expect(reasonOf(instance("w-1", { reason: "check passed" }), 0)).toBe("")
  })
})

describe("bulk", () => {
  it("does a few at a time, and the others too where one is refused", async () => {
    let running = 0
    let most = 0
    const rows = Array.from({ length: 20 }, (_, at) => instance(`w-${at}`))
    const { done, refused } = await all(rows, async ({ id }) => {
      most = Math.max(most, ++running)
      await Promise.resolve()
      running--
      if (id === "w-3") throw new TypeError("fetch failed")
      return id
    })
    expect(most).toBe(4)
    expect(done).toHaveLength(19)
    expect(refused.map(({ problem, row }) => [row.id, problem.title])).toEqual([["w-3", "No answer"]])
  })
})

describe("history", () => {
  it("tells checks that say the same as one, the newest first", () => {
    const check = (second: number, result: "pass" | "fail", reason = "") => ({
      at: new Date(second * 1000).toISOString(),
      result,
      latency: second,
      reason
    })
    const checks = [check(1, "pass"), check(2, "pass"), check(3, "fail", "refused"), check(4, "fail", "refused")]
    expect(checksOf(checks)).toEqual([
      { at: 4000, result: "fail", latency: 4, reason: "refused", times: 2 },
      { at: 2000, result: "pass", latency: 2, reason: "", times: 2 }
    ])
  })

  it("tells an open circuit as ejected, but not over a mark", () => {
    const at = new Date(1000).toISOString()
    const states = historyOf([
      { at, status: "healthy", circuit: "closed", reason: "" },
      { at, status: "unhealthy", circuit: "open", reason: "5 time-outs" },
      { at, status: "down", circuit: "half-open", reason: "marked" }
    ])
    expect(states.map(({ state }) => state)).toEqual(["down", "ejected", "healthy"])
  })
})

describe("consequence", () => {
  const fleet = [
    instance("weather-1", { inFlight: 3 }),
    instance("weather-2", { inFlight: 1 }),
    instance("maps-1"),
    instance("maps-2", { routable: false, state: "down" })
  ]
  const of = (name: string) => fleet.filter((row) => row.service === name)

  it("names the calls that run, and what is left of each service", () => {
    expect(consequence(fleet.slice(0, 1), "draining", of)).toEqual({
      calls: "3 calls finish first; no new ones come.",
      services: [{ name: "weather", left: 1, of: 2 }],
      lost: []
    })
    expect(consequence(fleet.slice(1, 2), "down", of).calls).toBe(
      "No new calls come; the 1 call that runs now may fail."
    )
  })

  it("tells services that lose their last one first", () => {
    const told = consequence([fleet[0], fleet[2], fleet[3]].filter((row) => row !== undefined), "draining", of)
    expect(told.services.map(({ name, left }) => [name, left])).toEqual([["maps", 0], ["weather", 1]])
    expect(told.lost).toEqual(["maps"])
  })

  it("of marking up takes nothing away", () => {
    expect(consequence(fleet, "up", of).lost).toEqual([])
  })
})
