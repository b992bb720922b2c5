import { assert, describe, it } from "@effect/vitest"
import { instanceOf } from "../src/internal/record.ts"

describe("the record of a server", () => {
  it("says what the server said, as far as it is a line", () => {
    const address = {
      transport: "streamable-http",
      url: "https://10.0.0.7:3000/mcp",
      serverName: "mcp.example"
    } as const
    const made = instanceOf("10.0.0.7:3000/mcp", address, {
      name: "Weather\u0000\u202e \n\u001b[31m",
      version: "1.2.3-rc.1+build",
      title: "The Weather",
      protocolVersion: "2025-06-18"
    })
    assert.deepInclude(made, {
      id: "10.0.0.7:3000/mcp",
      service: "weather-31m",
      version: "1.2.3-rc.1+build",
      endpoint: {
        transport: "streamable-http",
        url: "https://10.0.0.7:3000/mcp",
        tls: { serverName: "mcp.example" }
      },
      metadata: { name: "Weather [31m", title: "The Weather", protocolVersion: "2025-06-18" }
    })
    const other = instanceOf("a", { transport: "sse", url: "http://[::1]:1/sse" }, {
      name: "x".repeat(1_000),
      version: "<script>",
      protocolVersion: "2024-11-05"
    })
    assert.strictEqual(other.version, "0.0.0")
    assert.strictEqual(other.service.length, 64)
    assert.deepStrictEqual(other.metadata, { name: "x".repeat(256), protocolVersion: "2024-11-05" })
  })
})
