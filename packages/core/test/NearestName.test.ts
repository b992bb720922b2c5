import { assert, describe, it } from "@effect/vitest"
import * as NearestName from "../src/NearestName.ts"

const names = ["weather__get_forecast", "weather__get_alerts", "memory__read_graph"]

describe("NearestName", () => {
  it("finds what was meant", () => {
    for (
      const [wanted, meant] of [
        ["get_forecast", "weather__get_forecast"],
        ["Weather__Get_Alerts", "weather__get_alerts"],
        ["weather__get_forcast", "weather__get_forecast"],
        ["weather__get_aletrs", "weather__get_alerts"]
      ] as const
    ) assert.strictEqual(NearestName.nearest(wanted, names), meant)
    assert.strictEqual(NearestName.nearest("prot", ["host", "port"]), "port", "a swap is one edit")
    assert.strictEqual(NearestName.nearest("fiel", ["consul", "file"]), "file")
  })

  it("finds nothing where nothing is near", () => {
    for (const wanted of ["completely-different", "", "x".repeat(10_000)]) {
      assert.isUndefined(NearestName.nearest(wanted, names))
    }
    assert.isUndefined(NearestName.nearest("x", ["ab", "c"]))
    assert.isUndefined(NearestName.nearest("weather", []))
  })

  it("takes the nearest, not the first", () => {
    assert.strictEqual(NearestName.nearest("weather-2", ["weather-1", "weather-22", "Weather-2"]), "Weather-2")
    assert.strictEqual(NearestName.nearest("weathr", ["leather", "weather"]), "weather")
  })

  it("compares a bounded number of names", () => {
    let asked = 0
    const many = (function*() {
      while (true) yield `other-${asked++}`
    })()
    assert.isUndefined(NearestName.nearest("wanted", many))
  })

  it("ends a message", () => {
    assert.strictEqual(NearestName.hint("weathr", ["weather"]), "; did you mean \"weather\"?")
    assert.strictEqual(NearestName.hint("weathr", ["db"]), "")
  })
})
