import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { serviceName } from "../src/Identification.ts"

describe("the service of a server that nobody announced", () => {
  it("is named after its implementation", () => {
    for (
      const [name, service] of [
        ["weather", "weather"],
        ["Weather Server", "weather-server"],
        ["@modelcontextprotocol/server-everything", "modelcontextprotocol-server-everything"],
        ["mcp-servers/everything", "mcp-servers-everything"],
        ["io.github.user/weather_2", "io.github.user-weather_2"],
        ["  ", "mcp-server"],
        ["天気", "mcp-server"],
        ["../../etc", "etc"]
      ] as const
    ) assert.strictEqual(serviceName(name), service)
    fc.assert(fc.property(fc.string({ unit: "grapheme", maxLength: 500 }), (name) => {
      assert.match(serviceName(name), /^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$/)
    }))
  })
})
