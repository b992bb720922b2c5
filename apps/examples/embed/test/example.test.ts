import * as Program from "@portolan/tooling/Program"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"

describe("example embed", () => {
  it("calls a tool of the fleet", async () => {
    await using program = Program.start(process.execPath, ["src/main.ts"], {
      cwd: fileURLToPath(new URL("..", import.meta.url))
    })
    assert.strictEqual(await program.ended(), 0, program.printed())
    assert.strictEqual(program.printed(), "Lisbon: sunny, 24 °C\nanswered by weather-1 after 0 fail-overs\n")
  })
})
