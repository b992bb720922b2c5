import { describe, expect, it } from "vitest"
import { Counter } from "../../src/fleet/counter.ts"
import type { InstanceRow, State } from "../../src/fleet/rows.ts"
import { serviceRow, standingOf } from "../../src/fleet/serviceRow.ts"

const now = 1_800_000_000_000

const instance = (id: string, state: State, fields: Partial<InstanceRow> = {}): InstanceRow => ({
  key: `file\u0000${id}`,
  id,
  service: "weather",
  source: "file",
  alsoIn: [],
  kind: "mcp-server",
  version: "1.4.0",
  region: "",
  zone: "",
  address: "http://weather.test/mcp",
  transport: "streamable-http",
  tags: [],
  weight: 1,
  state,
  routable: state === "healthy" || state === "degraded" || state === "unknown" || state === "stale",
  reason: state === "healthy" ? "check passed" : `is ${state}`,
  since: now - 1_000,
  until: undefined,
  stale: state === "stale",
  score: 1,
  latency: undefined,
  error: undefined,
  mark: undefined,
  rate: 0,
  failed: undefined,
  inFlight: 0,
  calls: 0,
  failures: 0,
  ...fields
})

const many = (count: number, state: State, fields?: Partial<InstanceRow>) =>
  Array.from({ length: count }, (_, n) => instance(`${state}-${n}`, state, fields))

const rowOf = (instances: ReadonlyArray<InstanceRow>, counter = new Counter()) =>
  serviceRow(standingOf("weather", instances), undefined, counter, now)

const lines = (instances: ReadonlyArray<InstanceRow>, counter = new Counter()) => {
  const { consequence, reason, state } = rowOf(instances, counter)
  return [state, reason, consequence]
}

describe("service", () => {
  it("is quiet where all is well, or as somebody wanted it", () => {
    expect(lines([...many(10, "healthy"), ...many(2, "draining"), ...many(1, "unknown"), ...many(2, "stale")]))
      .toEqual(["healthy", "", ""])
  })

  it("says who is out, why, and where calls go", () => {
    const ejected = instance("x", "ejected", {
      reason: "ejected for 10s: 5 calls in a row failed: timed out",
      until: now + 9_400
    })
    expect(lines([...many(11, "healthy"), ejected])).toEqual([
      "degraded",
      "1 of 12 ejected: 5 calls in a row failed: timed out",
      "calls go to 11 others, back in 10 s"
    ])
    expect(lines([...many(11, "healthy"), { ...ejected, until: now - 1 }])[2]).toBe(
      "calls go to 11 others, on trial now"
    )
  })

  it("says where, if it is one region", () => {
    const east = { region: "us-east-1", reason: "handshake: 401 Unauthorized" }
    expect(lines([...many(4, "healthy", { region: "us-east-1" }), ...many(2, "unhealthy", east)])).toEqual([
      "degraded",
      "2 of 6 unhealthy in us-east-1: handshake: 401 Unauthorized",
      "calls go to 4 others"
    ])
    expect(lines([...many(2, "healthy"), ...many(1, "unhealthy", east), ...many(1, "degraded", { region: "eu" })])[1])
      .toBe("1 unhealthy, 1 degraded: handshake: 401 Unauthorized")
  })

  it("is unhealthy where half of it is out", () => {
    expect(lines([...many(2, "healthy"), ...many(2, "unhealthy")])[0]).toBe("unhealthy")
    expect(lines([...many(3, "healthy"), ...many(1, "degraded")])).toEqual([
      "degraded",
      "1 of 4 degraded: is degraded",
      "all 4 instances take calls"
    ])
    expect(lines(many(1, "degraded"))[2]).toBe("it still takes calls")
  })

  it("is down where nothing takes calls", () => {
    expect(lines(many(2, "down", { reason: "announced as down" }))).toEqual([
      "down",
      "both instances are down: announced as down",
      "calls are answered as unavailable"
    ])
    expect(lines(many(1, "ejected", { until: now + 3_000 }))).toEqual([
      "down",
      "its only instance is ejected: is ejected",
      "calls are answered as unavailable, back in 3 s"
    ])
    expect(lines([...many(3, "unhealthy"), ...many(1, "draining")])[1])
      .toBe("nothing takes calls: 3 unhealthy, 1 draining: is unhealthy")
    expect(lines(many(3, "draining"))[1]).toBe("all 3 instances are draining: is draining")
  })

  it("is unhealthy where calls fail, whatever its instances say", () => {
    const counter = new Counter()
    for (let second = 0; second <= 60; second++) counter.add(now - 60_000 + second * 1_000, second * 100, second * 6)
    expect(lines(many(3, "healthy"), counter)).toEqual([
      "unhealthy",
      "6.0 % of calls fail",
      "all 3 instances take calls"
    ])
    expect(lines([...many(9, "healthy"), ...many(1, "unhealthy")], counter)).toEqual([
      "unhealthy",
      "1 of 10 unhealthy: is unhealthy",
      "6.0 % of calls fail, calls go to 9 others"
    ])
  })

  it("puts what isn't healthy first in its cells, the worst before all", () => {
    const { cells } = rowOf([
      ...many(3, "healthy", { region: "eu" }),
      ...many(1, "stale", { region: "eu" }),
      ...many(100, "down", { region: "" })
    ])
    expect(cells.map(({ exceptions, healthy, region, total }) => [region, total, healthy, exceptions.length]))
      .toEqual([["eu", 4, 3, 1], ["", 100, 0, 64]])
  })

  it("has its highest version first", () => {
    const versions = ["1.9.0", "1.10.0", "2.0.0-rc.1", "1.9.0"].map((version, n) =>
      instance(`${n}`, "healthy", { version })
    )
    expect(rowOf(versions).versions).toEqual(["2.0.0-rc.1", "1.10.0", "1.9.0"])
  })
})
