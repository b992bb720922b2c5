import { assert, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import * as Core from "../src/index.ts"

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8")
const readme = read("../README.md")

describe("README", () => {
  it("names every public module, and the index exports just these", () => {
    const modules = readdirSync(new URL("../src/", import.meta.url))
      .flatMap((file) => /^[A-Z].*\.ts$/.test(file) ? [file.slice(0, -3)] : [])
      .sort()
    assert.deepStrictEqual(Object.keys(Core).sort(), modules)
    for (const module of modules) assert.include(readme, `| \`${module}\` `)
  })

  it("has no other way in", () => {
    const { resolve } = createRequire(import.meta.url)
    assert.match(resolve("@portolan/core/Router"), /Router\.ts$/)
    for (const path of ["internal/discovery/latest", "balancing/RoundRobin"]) {
      assert.throws(() => resolve(`@portolan/core/${path}`), /not defined by "exports"/)
    }
  })
})
