import * as Program from "@portolan/tooling/Program"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"

describe("example plain-javascript", () => {
  it("calls a tool of the fleet and ends", async () => {
    await using program = Program.start(process.execPath, ["src/main.js"], {
      cwd: fileURLToPath(new URL("..", import.meta.url))
    })
    assert.strictEqual(await program.ended(), 0, program.printed())
    assert.strictEqual(program.printed(), "Lisbon: sunny, 24 °C\nadded house\nhello\n")
  })
})
