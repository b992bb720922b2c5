/**
 * What a build refuses, and what it leaves beside its files.
 */
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { brotliDecompressSync, gunzipSync } from "node:zlib"
import { build } from "vite"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { bounds, compressed, pages, typesOnly } from "../bundle.ts"

const core = fileURLToPath(new URL("../../../packages/core/src/IpSet.ts", import.meta.url))
const value = `import { parse } from ${JSON.stringify(core)}\nconsole.log(parse)\n`
// The gateway's own module, or one of Effect that it brought along.
const foreign = /(packages\/core|node_modules\/effect)\/\S+ is in the bundle: import its types only/

describe("a build of the dashboard", () => {
  let root: string
  beforeEach(() => {
    root = fs.realpathSync(fs.mkdtempSync(path.join(tmpdir(), "portolan-bundle-")))
  })
  afterEach(() => fs.rmSync(root, { recursive: true, force: true }))

  const built = async (files: Readonly<Record<string, string>>) => {
    fs.writeFileSync(
      path.join(root, "index.html"),
      "<head><base href=\"./\"></head><script type=module src=./main.ts></script>"
    )
    for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(root, name), text)
    await build({
      root,
      configFile: false,
      base: "./",
      logLevel: "silent",
      plugins: [pages(), typesOnly(), bounds(), compressed()],
      worker: { format: "es", plugins: () => [typesOnly()] },
      build: { modulePreload: { polyfill: false } }
    })
    return fs.readdirSync(path.join(root, "dist/assets"))
  }

  const refused = async (files: Readonly<Record<string, string>>) => {
    try {
      await built(files)
    } catch (error) {
      return String(error)
    }
    assert.fail("it was built")
  }

  it("takes no code of the gateway, neither for a page nor for a worker", async () => {
    assert.match(await refused({ "main.ts": value }), foreign)
    assert.match(
      await refused({
        "main.ts": "new SharedWorker(new URL(\"./worker.ts\", import.meta.url), { type: \"module\" })",
        "worker.ts": value
      }),
      foreign
    )
    const type = `import type { IpSet } from ${JSON.stringify(core)}\nexport const of = (_: IpSet) => 1\n`
    assert.lengthOf((await built({ "main.ts": `${type}console.log(of)` })).filter((name) => name.endsWith(".js")), 1)
  })

  it("isn't larger than it may be", async () => {
    // What can't be made smaller.
    const noise = (bytes: number) => `console.log(${JSON.stringify(randomBytes(bytes).toString("base64"))})`
    assert.match(await refused({ "main.ts": noise(72_000) }), /first page: 7\d\.\d kB, which is more than 70/)
    assert.match(
      await refused({ "main.ts": "import(\"./later.ts\")", "later.ts": noise(142_000) }),
      /all pages: 14\d\.\d kB, which is more than 140/
    )
    assert.isAbove((await built({ "main.ts": "import(\"./later.ts\")", "later.ts": noise(64_000) })).length, 0)
  })

  it("has smaller files beside those that can be smaller", async () => {
    const names = await built({ "main.ts": `console.log(${JSON.stringify("weather ".repeat(200))})` })
    const read = (name: string) => fs.readFileSync(path.join(root, "dist/assets", name))
    const [script = ""] = names.filter((name) => name.endsWith(".js"))
    const text = read(script).toString()
    assert.include(text, "weather weather")
    assert.strictEqual(brotliDecompressSync(read(`${script}.br`)).toString(), text)
    assert.strictEqual(gunzipSync(read(`${script}.gz`)).toString(), text)
    assert.isBelow(read(`${script}.br`).length, text.length)
  })
})
