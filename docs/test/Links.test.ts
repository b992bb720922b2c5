import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"

const root = fileURLToPath(new URL("../..", import.meta.url))

describe("links", () => {
  it("lead somewhere", () => {
    const dead = fs.globSync(["*.md", "docs/*.md", "{packages,apps,apps/examples}/*/README.md"], { cwd: root })
      .flatMap((page) => {
        const text = fs.readFileSync(path.join(root, page), "utf8").replace(/^```[^]*?^```$/gm, "")
        return Array.from(text.matchAll(/\]\((?!\w+:|#)([^)#\s]+)/g), ([, to = ""]) => to)
          .filter((to) => !fs.existsSync(path.join(root, path.dirname(page), to)))
          .map((to) => `${page}: ${to}`)
      })
    assert.deepStrictEqual(dead, [])
  })
})
