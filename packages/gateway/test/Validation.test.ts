import { assert, describe, it } from "@effect/vitest"
import * as ConfigurationState from "@portolan/gateway/configuration/ConfigurationState"
import * as Validation from "@portolan/gateway/configuration/Validation"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { counting, parsed } from "./configurations.ts"
import { problem, rest } from "./rest.ts"

const { adapters } = counting()
const env = { TOKEN: "hunter2hunter2", NUMBER: "7" }
const initial = parsed("telemetry: {log: {format: json}}")

const validate = (text: string, directory?: string) =>
  Validation.validate(text, { adapters, env, initial, atStart: ["telemetry"], directory })

describe("a text of a configuration", () => {
  it("is told every mistake with its place", () => {
    assert.deepEqual(validate("gateway:\n  prot: 1\n  port: high\n").mistakes, [
      { path: "gateway.prot", line: 2, column: 3, message: "unknown key; did you mean \"port\"?" },
      { path: "gateway.port", line: 3, column: 9, message: "expected number" }
    ])
    assert.deepEqual(validate("gateway: [").mistakes.map(({ line, path }) => [path, line]), [["", 1]])
    assert.deepEqual(validate(" \n").mistakes, [Validation.blank])
    assert.deepEqual(validate("{}"), { mistakes: [], pending: ["telemetry.log.format"] })
  })

  it("is told what would wait for a start", () => {
    assert.deepEqual(validate("telemetry: {log: {format: json}}\ngateway: {port: 1}"), { mistakes: [], pending: [] })
  })

  it("is never told what environment variables hold", () => {
    const first = (text: string) => validate(text).mistakes[0]?.message ?? ""
    assert.strictEqual(
      first("catalog: {groups: {a: ['${TOKEN}'], b: ['${TOKEN}']}}"),
      "\"${TOKEN}\" is in group \"a\" already"
    )
    assert.strictEqual(first("gateway: {port: '${TOKEN}'}"), "expected number")
    assert.include(first("gateway: {port: '${OTHER}'}"), "OTHER is not set")
    assert.deepEqual(validate("gateway: {port: '${NUMBER}'}").mistakes, [])
  })

  it("is never told what they hold where that is no path, or holds what another one holds", () => {
    const env = {
      URL: "postgres://admin:hunter2@db:5432//x/../y",
      USER: "postgres://admin",
      KEY: "-- BEGIN\nhunter2\n"
    }
    const first = (text: string) => Validation.validate(text, { adapters, env, initial }).mistakes[0]?.message
    const missing = (what: string) => `can't read ${what}: ENOENT: no such file or directory`
    assert.strictEqual(first("servers: {a: {command: x, envFile: '${URL}'}}"), missing("${URL}"))
    assert.strictEqual(first("servers: {a: {command: x, envFile: './${URL}'}}"), missing("./${URL}"))
    assert.strictEqual(first("gateway: {tls: {cert: '${URL}', key: x}}"), missing("${URL}"))
    assert.strictEqual(first("gateway: {tls: {cert: '${KEY}', key: x}}"), missing("${KEY}"))
    assert.strictEqual(
      first("servers: {a: {command: x, envFile: \"${URL}\\0\"}}"),
      "can't read ${URL}\u0000: no file that can be read"
    )
    assert.strictEqual(
      first("mcpServers: {'${USER}': {command: '${USER}'}}\ncatalog: {groups: {a: ['${URL}', '${URL}']}}"),
      "\"${URL}\" is in group \"a\" already"
    )
  })

  it("reads files, but none that might not end", () => {
    const directory = Fs.mkdtempSync(Path.join(Os.tmpdir(), "portolan-validation-"))
    try {
      Fs.writeFileSync(Path.join(directory, "some.env"), "A=1\n")
      const entry = (envFile: string) => `servers: {a: {command: x, envFile: '${envFile}'}}`
      assert.deepEqual(validate(entry("some.env"), directory).mistakes, [])
      assert.include(validate(entry("none.env"), directory).mistakes[0]?.message, "ENOENT")
      execFileSync("mkfifo", [Path.join(directory, "pipe")])
      for (const path of ["pipe", "/dev/zero", "."]) {
        assert.include(validate(entry(path), directory).mistakes[0]?.message, "no regular file of at most 1 MiB")
      }
    } finally {
      Fs.rmSync(directory, { recursive: true })
    }
  })

  it("of nothing but mistakes is told the first of them, soon", () => {
    const text = Array.from({ length: 3_000 }, (_, at) => `key${at}: 1`).join("\n")
    const begin = performance.now()
    assert.strictEqual(validate(text).mistakes.length, 200)
    assert.isBelow(performance.now() - begin, 5_000)
  })
})

describe("POST /configuration/validate", () => {
  it.live("tells mistakes, and changes nothing", () =>
    Effect.gen(function*() {
      const status = { file: "portolan.yaml", loadedAt: 0, revision: 3, pending: [], settings: [] }
      const { state } = yield* ConfigurationState.make(status, validate)
      yield* rest({}, ({ get, send }) =>
        Effect.gen(function*() {
          const told = yield* send("POST", "/configuration/validate", { text: "gateway:\n  prot: 1" })
          assert.strictEqual(told.status, 200, told.text)
          assert.deepEqual(told.json, validate("gateway:\n  prot: 1"))
          assert.include((yield* get("/configuration")).text, "\"revision\":3")
          const large = yield* send("POST", "/configuration/validate", { text: "#".repeat(200_000) })
          assert.strictEqual(problem(large, 413).detail, "the text has 200000 bytes; one may have 131072")
          problem(yield* send("POST", "/configuration/validate", {}), 400)
        })).pipe(Effect.provide(Layer.succeed(ConfigurationState.ConfigurationState, state)))
    }))

  it.live("is a write, and needs a configuration file", () =>
    Effect.andThen(
      rest({ token: "t" }, ({ send }) =>
        Effect.gen(function*() {
          problem(yield* send("POST", "/configuration/validate", { text: "{}" }), 401)
        })),
      rest({}, ({ send }) =>
        Effect.gen(function*() {
          const none = problem(yield* send("POST", "/configuration/validate", { text: "{}" }), 404)
          assert.include(none.detail, "without a configuration file")
        }))
    ))
})
