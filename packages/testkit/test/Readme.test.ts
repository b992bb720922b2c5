import { assert, describe, it } from "@effect/vitest"
import * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import { readFileSync } from "node:fs"

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8")
const readme = read("../README.md")

describe("README", () => {
  it("shows the example that is run", () => {
    assert.include(readme, read("./Example.laws.test.ts").trimEnd())
  })

  it("lists every law, its title and its needs", () => {
    const cells = (row: string) => row.split("|").slice(1, -1).map((cell) => cell.trim())
    const rows = readme.split("\n").filter((line) => /^\| (G\d|model)/.test(line)).map(cells)
    assert.deepStrictEqual(
      rows,
      RegistryLaws.laws.map(({ id, needs, title }) => [id, title, needs.map((need) => `\`${need}\``).join(", ")])
    )
  })
})
