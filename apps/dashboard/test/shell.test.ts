import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { asProblem, problemOf } from "../src/api/Problem.ts"
import { spark } from "../src/parts/spark.ts"
import { verdict } from "../src/parts/verdict.ts"
import { matching } from "../src/routes.ts"
import { pathOf } from "../src/segments.ts"
import { isAt, places } from "../src/shell/places.ts"
import { speaker } from "../src/shell/speech.ts"

describe("paths", () => {
  it("lead to their page, with names decoded", () => {
    expect(matching("/")?.route.pattern).toBe("/")
    expect(matching("/services/a%2Fb%20c")?.params).toEqual({ name: "a/b c" })
    expect(matching("/services/")?.route.pattern).toBe("/services")
    expect(matching("/tools/%E0%A4%A")?.params).toEqual({ name: "%E0%A4%A" })
    expect(matching("/nowhere")).toBeUndefined()
    expect(matching("/services//")).toBeUndefined()
    expect(matching("/services/a/b")).toBeUndefined()
  })

  it("hold any name", () => {
    for (const name of ["weather-1", "a/b c", "%2E", ".", "..", "...", "~", "~.", "~~..", "\u0000"]) {
      // As a browser reads it.
      const { pathname } = new URL(pathOf("instances", name), "http://x/y")
      expect(matching(pathname)?.params).toEqual({ id: name })
    }
  })

  it("of one page that stays share a key", () => {
    expect(matching("/instances/x")?.key).toBe(matching("/instances")?.key)
    expect(matching("/services/x")?.key).not.toBe(matching("/services/y")?.key)
  })

  it("all have a place in the navigation, each with a key of its own", () => {
    const all = places.flat()
    for (const { path } of all) expect(matching(path)).toBeDefined()
    expect(new Set(all.map(({ key }) => key)).size).toBe(all.length)
    expect(isAt("/services/x", "/services")).toBe(true)
    expect(isAt("/services/x", "/")).toBe(false)
  })
})

describe("problems", () => {
  it("are what the gateway says", async () => {
    const body = { title: "Changed meanwhile", status: 412, detail: "marked down by hand" }
    const problem = await problemOf(Response.json(body, { status: 412 }))
    expect({ ...problem }).toMatchObject(body)
    const mistaken = await problemOf(
      Response.json({ title: "Bad request", errors: [{ path: "q", message: "m" }, 7, { path: "r" }] }, { status: 400 })
    )
    expect(mistaken.errors).toEqual([{ path: "q", message: "m" }])
  })

  it("of a proxy between have a title too", async () => {
    const problem = await problemOf(new Response("<h1>Bad Gateway</h1>", { status: 502 }))
    expect([problem.status, problem.title, problem.detail]).toEqual([502, "Status 502", undefined])
    expect((await problemOf(Response.json(null, { status: 500, statusText: "Oops" }))).title).toBe("Oops")
  })

  it("without an answer have the status 0", () => {
    expect(asProblem(new TypeError("fetch failed"))).toMatchObject({ status: 0, title: "No answer" })
    expect(asProblem(new DOMException("", "TimeoutError"))).toMatchObject({ status: 0, title: "No answer yet" })
    expect(asProblem("x")).toMatchObject({ status: 0, detail: "x" })
  })
})

describe("a sparkline", () => {
  it("has gaps where nothing is known, and a foot where nothing happens", () => {
    const { area, line } = spark([1, 2, null, undefined, 4, 0], 50, 20)
    expect(line).toBe("M0 14.5L10 10M40 1L50 19")
    expect(area).toBe("M0 20L0 14.5L10 10L10 20zM40 20L40 1L50 19L50 20z")
    expect(spark([0, 0], 50, 20).line).toBe("M0 19L50 19")
    expect(spark([], 50, 20)).toEqual({ line: "", area: "" })
    expect(spark([NaN, Infinity, -3], 50, 20).line).not.toMatch(/NaN|Infinity/)
  })
})

describe("what is said", () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it("is what changed, at most each 12 s, and then the last of it", () => {
    const said: Array<string> = []
    const { end, tell } = speaker((text) => said.push(text))
    tell("all well")
    tell("all well")
    expect(said).toEqual([])
    tell("one")
    tell("two")
    tell("three")
    expect(said).toEqual(["one"])
    vi.advanceTimersByTime(11_999)
    expect(said).toEqual(["one"])
    vi.advanceTimersByTime(1)
    expect(said).toEqual(["one", "three"])
    tell("four")
    tell("three")
    vi.advanceTimersByTime(60_000)
    expect(said).toEqual(["one", "three"])
    tell("five")
    expect(said).toEqual(["one", "three", "five"])
    end()
  })
})

describe("the verdict", () => {
  it("is a sentence, whatever the fleet is like", () => {
    const of = (services: number, attention: number, instances = services, routable = instances) =>
      verdict({ services, attention, instances, routable })
    expect(of(0, 0)).toBe("No servers yet")
    expect([of(1, 0), of(2, 0), of(14, 0)]).toEqual(
      ["The only service is well", "Both services are well", "All 14 services are well"]
    )
    expect([of(14, 1), of(14, 3), of(60, 13)]).toEqual([
      "One of 14 services needs attention",
      "Three of 14 services need attention",
      "13 of 60 services need attention"
    ])
    expect([of(1, 1), of(2, 2)]).toEqual(["The only service needs attention", "Both services need attention"])
    expect([of(1, 1, 1, 0), of(3, 3, 9, 0)]).toEqual([
      "The only service takes no calls",
      "None of 3 services takes calls"
    ])
    const lost = [{ state: "stale" as const }]
    expect(verdict({ services: 3, attention: 0, instances: 3, routable: 3 }, lost)).toMatch(/^Every source is lost/)
  })
})
