/**
 * Completion scripts, sourced in the shells that are here.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { directory, portolan } from "./process.ts"

const has = (shell: string) => {
  const there = spawnSync(shell, ["--version"]).status === 0
  if (!there) console.log(`skipped: completions in ${shell}, because this machine has none`)
  return there
}

const script = (shell: string) =>
  Effect.gen(function*() {
    const { code, stdout } = yield* portolan(["completions", shell])
    assert.strictEqual(code, 0)
    const path = Path.join(yield* directory(), `portolan.${shell}`)
    Fs.writeFileSync(path, stdout)
    return path
  })

/** What bash would offer for the last word of a line. */
const offered = (path: string, words: ReadonlyArray<string>): ReadonlyArray<string> => {
  const quoted = words.map((word) => `'${word}'`).join(" ")
  const program = [
    `source '${path}'`,
    `COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}`,
    `COMP_LINE='${words.join(" ")}'; COMP_POINT=\${#COMP_LINE}`,
    `_portolan portolan '${words.at(-1)}' '${words.at(-2)}'`,
    "printf '%s\\n' \"${COMPREPLY[@]}\""
  ].join("\n")
  const { status, stderr, stdout } = spawnSync("bash", ["--norc", "-c", program], { encoding: "utf8" })
  assert.deepStrictEqual([status, stderr], [0, ""])
  return stdout.split("\n").map((word) => word.trim()).filter((word) => word !== "")
}

describe("completions", () => {
  it.live.skipIf(!has("bash"))("work in bash", () =>
    Effect.gen(function*() {
      const path = yield* script("bash")
      const commands = offered(path, ["portolan", ""])
      for (
        const name of ["up", "status", "services", "instances", "tools", "call", "watch", "register", "completions"]
      ) assert.include(commands, name)
      assert.deepStrictEqual(offered(path, ["portolan", "st"]), ["status"])
      assert.deepStrictEqual(offered(path, ["portolan", "mark", "x", ""]).toSorted(), ["down", "draining", "up"])
      assert.deepStrictEqual(offered(path, ["portolan", "completions", "z"]), ["zsh"])
      assert.deepStrictEqual(offered(path, ["portolan", "config", ""]), ["show", "schema"])
      const flags = offered(path, ["portolan", "call", "x", "--"])
      for (const flag of ["--args", "--args-file", "--timeout", "--json", "--url"]) assert.include(flags, flag)
      assert.deepStrictEqual(
        offered(path, ["portolan", "validate", "--config", path.slice(0, -3)]),
        [path],
        "files after --config"
      )
    }), 120_000)

  it.live.skipIf(!has("zsh"))("load in zsh", () =>
    Effect.gen(function*() {
      const path = yield* script("zsh")
      const { status, stderr } = spawnSync("zsh", ["-n", path], { encoding: "utf8" })
      assert.deepStrictEqual([status, stderr], [0, ""])
    }), 120_000)

  it.live.skipIf(!has("fish"))("load in fish", () =>
    Effect.gen(function*() {
      const path = yield* script("fish")
      const asked = spawnSync("fish", ["--no-config", "-c", `source '${path}'; complete -C 'portolan st'`], {
        encoding: "utf8"
      })
      assert.match(asked.stdout, /^status/)
    }), 120_000)

  it.live("say how they are installed", () =>
    Effect.gen(function*() {
      for (const shell of ["bash", "zsh", "fish"]) {
        const { stdout } = yield* portolan(["completions", shell])
        assert.include(stdout, `portolan completions ${shell}`)
        assert.notInclude(stdout, "--completions")
      }
      const unknown = yield* portolan(["completions", "bsh"])
      assert.strictEqual(unknown.code, 2)
      assert.include(unknown.stderr, "did you mean \"bash\"?")
    }), 120_000)
})
