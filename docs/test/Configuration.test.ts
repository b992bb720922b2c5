import { readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { generate } from "../src/configuration.ts"

describe("docs/configuration.md", () => {
  it("is what the schema says; `node docs/src/configuration.ts` writes it anew", () => {
    assert.strictEqual(readFileSync(new URL("../configuration.md", import.meta.url), "utf8"), generate())
  })
})
