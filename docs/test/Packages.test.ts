/**
 * The packages as they are published: packed, linted, installed into an empty project, used there.
 */
import * as Program from "@portolan/tooling/Program"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import * as Snippets from "../src/Snippets.ts"
import * as Backends from "./backends.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const pnpm = "pnpm@12.21.0"

interface Manifest {
  readonly name: string
  readonly version: string
  readonly private?: boolean
  readonly [field: string]: unknown
}

const read = (file: string): Manifest => JSON.parse(fs.readFileSync(file, "utf8"))

const published = fs.globSync("{packages,apps,apps/examples}/*/package.json", { cwd: root }).sort().flatMap((file) => {
  const manifest = read(path.join(root, file))
  return manifest.private === true ? [] : [{ folder: path.join(root, path.dirname(file)), manifest }]
})

const run = async (command: string, args: ReadonlyArray<string>, cwd: string, env: Record<string, string> = {}) => {
  await using program = Program.start(command, args, { cwd, env, limit: 180_000 })
  assert.strictEqual(await program.ended(), 0, `${command} ${args.join(" ")}: ${program.printed()}`)
  return program.printed()
}

const bin = (name: string) => path.join(root, "docs", "node_modules", ".bin", name)

const tarball = ({ name, version }: Manifest) => `${name.replace("@", "").replace("/", "-")}-${version}.tgz`

describe("packages", () => {
  const home = fs.mkdtempSync(path.join(tmpdir(), "portolan-packages-"))
  const project = path.join(home, "project")
  /** The same programs run for each package: Node keeps what it compiled for them. */
  const kept = { NODE_COMPILE_CACHE: path.join(home, "compiled") }
  afterAll(() => fs.rmSync(home, { recursive: true, force: true }))

  beforeAll(async () => {
    const filters = published.map(({ manifest }) => `--filter ${manifest.name}`).join(" ")
    await run("npx", ["-y", "-p", pnpm, "-c", `pnpm ${filters} pack --pack-destination ${home}`], root)
    fs.mkdirSync(project)
    fs.writeFileSync(path.join(project, "package.json"), JSON.stringify({ private: true, type: "module" }))
    const files = published.map(({ manifest }) => path.join(home, tarball(manifest)))
    await run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", ...files], project)
  }, 240_000)

  for (const { folder, manifest } of published) {
    describe(manifest.name, () => {
      it("is clean for publint and attw", async () => {
        const file = path.join(home, tarball(manifest))
        assert.include(await run(bin("publint"), ["run", "--strict", file], home, kept), "All good!")
        // The command has no entry points.
        if (manifest.name !== "portolan" && !manifest.name.includes("example")) {
          await run(bin("attw"), [file, "--profile", "esm-only"], home, kept)
        }
      })

      it("holds what it says, and nothing else", () => {
        const installed = path.join(project, "node_modules", manifest.name)
        const packed = read(path.join(installed, "package.json"))
        assert.notMatch(JSON.stringify(packed), /workspace:|catalog:/)
        for (const field of ["description", "license", "keywords", "files", "sideEffects", "engines"]) {
          assert.property(packed, field)
        }
        const names = fs.globSync("**/*", { cwd: installed, exclude: (name) => name === "node_modules" })
        for (const name of ["LICENSE", "README.md"]) assert.include(names, name)
        assert.deepStrictEqual(names.filter((name) => /\.test\.|^test\b|tsbuildinfo/.test(name)), [])
        // What browsers get is bundled; all else is compiled file by file.
        if (names.includes("dist/index.html")) {
          assert.isTrue(names.some((name) => /^dist\/assets\/\w.*\.js\.br$/.test(name)))
          return
        }
        for (const source of fs.globSync("src/**/*.ts", { cwd: folder })) {
          const compiled = source.replace(/^src/, "dist").replace(/\.ts$/, "")
          assert.include(names, `${compiled}.js`)
        }
      })

      const snippets = Snippets.read(path.join(folder, "README.md"))
      const snippet = snippets.find(Snippets.isProgram)
      if (snippet === undefined) return
      const lacks = snippet.notRun ?? Backends.missing(snippet.code)
      it.skipIf(lacks !== undefined)("runs the program of its README", { retry: 1, timeout: 90_000 }, async () => {
        const cwd = path.join(project, path.basename(folder))
        fs.mkdirSync(cwd, { recursive: true })
        for (const { code, file } of snippets) {
          if (file !== undefined) fs.writeFileSync(path.join(cwd, file), code)
        }
        const code = (await Backends.real(snippet.code)).replaceAll("7420", "0")
        await Snippets.run({ ...snippet, code }, cwd, cwd, kept)
        await Backends.end()
      })
    })
  }

  it("brings a command that works", async () => {
    const { version } = read(path.join(root, "apps/portolan/package.json"))
    assert.include(await run("npx", ["portolan", "--version"], project), version)
    fs.writeFileSync(path.join(project, "portolan.yaml"), "registries:\n  - { type: memory }\n")
    assert.include(await run("npx", ["portolan", "validate"], project), "no mistakes")
    // What was compiled is kept beside the packages; where nothing can be kept, the command does without.
    const cache = path.join(project, "node_modules/.cache/portolan")
    assert.isNotEmpty(fs.readdirSync(cache))
    fs.rmSync(cache, { recursive: true })
    fs.writeFileSync(cache, "")
    assert.strictEqual((await run("node_modules/.bin/portolan", ["--version"], project)).trim(), `portolan v${version}`)
  })
})
