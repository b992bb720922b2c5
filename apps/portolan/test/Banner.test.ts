import { assert, describe, it } from "@effect/vitest"
import { banner, headline } from "../src/banner.ts"

const nothing = {
  services: () => [],
  status: () => ({
    sources: [],
    services: 0,
    instances: 0,
    tools: 0,
    resources: 0,
    prompts: 0,
    problems: [],
    hidden: []
  })
}

const tried = (port: number) =>
  banner({ url: `http://127.0.0.1:${port}` }, nothing, true).split("\n").find((line) => line.startsWith("  Try:"))

describe("banner", () => {
  it("names a command that works as it stands", () => {
    const before = process.env["PORTOLAN_COMMAND"]
    try {
      delete process.env["PORTOLAN_COMMAND"]
      const call = "call weather__get_forecast --args '{\"city\":\"Lisbon\"}'"
      assert.strictEqual(tried(7420), `  Try:       portolan ${call}`)
      process.env["PORTOLAN_COMMAND"] = "npm run -s portolan --"
      assert.strictEqual(tried(8000), `  Try:       npm run -s portolan -- ${call} --url http://127.0.0.1:8000`)
    } finally {
      if (before === undefined) delete process.env["PORTOLAN_COMMAND"]
      else process.env["PORTOLAN_COMMAND"] = before
    }
  })

  it("tells the addresses that there are", () => {
    const rows = (dashboard: boolean, url = "http://127.0.0.1:7420") =>
      headline({ url }, dashboard).split("\n").slice(2, -1).map((line) => line.trim().split(/\s{2,}/))
    const mcp = ["MCP", "http://127.0.0.1:7420/mcp"]
    const rest = ["REST", "http://127.0.0.1:7420/api/docs"]
    assert.deepStrictEqual(rows(true), [mcp, ["dashboard", "http://127.0.0.1:7420/"], rest])
    assert.deepStrictEqual(rows(false), [mcp, rest])
    assert.deepStrictEqual(rows(true, "stdio:"), [["MCP", "on standard input and output"]])
  })
})
