import { assert, describe, it } from "vitest"
import { undocumented } from "../src/api.ts"

describe("comments", () => {
  it("tell what each public export is", async () => {
    assert.deepStrictEqual(await undocumented(), [])
  }, 180_000)
})
