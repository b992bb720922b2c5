import * as Program from "@portolan/tooling/Program"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"

const root = new URL("../", import.meta.url)

describe("example custom-registry", () => {
  it("follows a list that changes", async () => {
    await using program = Program.start(process.execPath, ["src/main.ts"], { cwd: fileURLToPath(root) })
    assert.strictEqual(await program.ended(), 0, program.printed())
    assert.strictEqual(program.printed(), "Added a\nAdded b\nRemoved a\n")
  })

  it("is a registry in less than 80 lines", () => {
    assert.isBelow(readFileSync(new URL("src/ListingRegistry.ts", root), "utf8").split("\n").length, 80)
  })
})
