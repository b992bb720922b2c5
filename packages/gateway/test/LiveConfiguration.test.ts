/**
 * A configuration file is changed in every way in which files are.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Configuration from "../src/configuration/Configuration.ts"
import * as ConfigurationState from "../src/configuration/ConfigurationState.ts"
import * as LiveConfiguration from "../src/configuration/LiveConfiguration.ts"
import { counting } from "./configurations.ts"

const directory = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "portolan-live-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

const text = (interval: string) => `health:\n  interval: ${interval}\n`

/** A live configuration of a file in a directory, which is looked at all the time; and what came of it. */
const live = (
  options: {
    readonly text?: string
    readonly file?: (directory: string) => string
    readonly parts?: ReadonlyArray<LiveConfiguration.Part>
    readonly prepare?: (directory: string) => void
    readonly atStart?: ReadonlyArray<string>
  } = {}
) =>
  Effect.gen(function*() {
    const where = yield* directory
    const file = options.file?.(where) ?? Path.join(where, "portolan.yaml")
    if (options.prepare === undefined) Fs.writeFileSync(file, options.text ?? text("1s"))
    else options.prepare(where)
    const parseOptions = { adapters: counting().adapters, env: { SET: "10s" } }
    const initial = yield* Configuration.load(file, parseOptions)
    const status = yield* ConfigurationState.make({ file, loadedAt: 1, revision: 1, pending: [], settings: [] })
    const log: Array<string> = []
    /** Intervals that were applied. */
    const applied: Array<unknown> = []
    const health: LiveConfiguration.Part = {
      select: ({ document }) => document.health.interval,
      apply: ({ document }) =>
        Effect.sync(() => {
          applied.push(document.health.interval)
          return []
        })
    }
    const self = yield* LiveConfiguration.make({
      ...parseOptions,
      file,
      initial,
      parts: [health, ...options.parts ?? []],
      atStart: options.atStart,
      status
    })
    const logger = Logger.make(({ logLevel, message }) => void log.push(`${logLevel} ${String(message)}`))
    yield* self.follow(Effect.succeed(Effect.sleep("10 millis"))).pipe(
      Effect.provide(Logger.layer([logger])),
      Effect.forkScoped
    )
    const when = (holds: (status: ConfigurationState.ConfigurationStatus) => boolean) =>
      status.state.changes.pipe(
        Stream.filter(holds),
        Stream.runHead,
        Effect.timeout("10 seconds"),
        Effect.map(() => status.state.current()!)
      )
    return {
      where,
      file,
      applied,
      log,
      self,
      current: () => status.state.current()!,
      revision: (revision: number) => when((status) => status.revision === revision),
      broken: when((status) => status.error !== undefined),
      good: when((status) => status.error === undefined)
    }
  })

/** Lets the file rest for as long as nothing may come of it. */
const rest = Effect.sleep("400 millis")

describe("a live configuration", () => {
  it.live("takes what is written in place, renamed over, or half of it at first", () =>
    Effect.gen(function*() {
      const { applied, file, log, revision } = yield* live()
      yield* rest
      assert.deepStrictEqual(applied, [])
      Fs.writeFileSync(file, text("2s"))
      yield* revision(2)
      Fs.writeFileSync(`${file}.new`, text("3s"))
      Fs.renameSync(`${file}.new`, file)
      yield* revision(3)
      Fs.writeFileSync(file, "health:\n")
      yield* Effect.sleep("40 millis")
      Fs.appendFileSync(file, "  interval: 4s\n")
      yield* revision(4)
      assert.deepStrictEqual(applied, ["2s", "3s", "4s"])
      assert.deepStrictEqual(
        log.map((line) => line.replace(/\d+s$/, "")),
        Array(3).fill(
          "Info configuration reloaded: health.interval "
        )
      )
    }))

  it.live("follows links, to the file and on the way to it", () =>
    Effect.gen(function*() {
      const { applied, revision, where } = yield* live({
        file: (where) => Path.join(where, "current", "portolan.yaml"),
        prepare: (where) => {
          for (const [name, interval] of [["one", "1s"], ["two", "2s"]] as const) {
            Fs.mkdirSync(Path.join(where, name))
            Fs.writeFileSync(Path.join(where, name, "portolan.yaml"), text(interval))
          }
          Fs.symlinkSync("one", Path.join(where, "current"))
        }
      })
      Fs.symlinkSync("two", Path.join(where, "next"))
      Fs.renameSync(Path.join(where, "next"), Path.join(where, "current"))
      yield* revision(2)
      Fs.writeFileSync(Path.join(where, "three.yaml"), text("3s"))
      Fs.rmSync(Path.join(where, "two", "portolan.yaml"))
      Fs.symlinkSync("../three.yaml", Path.join(where, "two", "portolan.yaml"))
      yield* revision(3)
      Fs.rmSync(Path.join(where, "current"))
      Fs.mkdirSync(Path.join(where, "current"))
      Fs.writeFileSync(Path.join(where, "current", "portolan.yaml"), text("4s"))
      yield* revision(4)
      assert.deepStrictEqual(applied, ["2s", "3s", "4s"])
    }))

  it.live("keeps the last good one while the file is broken, and names each mistake", () =>
    Effect.gen(function*() {
      const { applied, broken, current, file, good, log, self } = yield* live()
      Fs.writeFileSync(file, "health:\n  interval: 2s\n  intervall: 3s\ngateway:\n  port: many\n")
      const { error, revision } = yield* broken
      assert.strictEqual(revision, 1)
      assert.deepStrictEqual(error?.mistakes.map(({ column, line, path }) => [path, line, column]), [
        ["health.intervall", 3, 3],
        ["gateway.port", 5, 9]
      ])
      assert.isAbove(error?.at ?? 0, 1)
      assert.strictEqual(log.length, 2)
      const start = `Error configuration not reloaded, the one before stays in use: ${file}`
      assert.isTrue(log[0]?.startsWith(`${start}:3:3: health.intervall: unknown key`), log[0])
      assert.isTrue(log[1]?.startsWith(`${start}:5:9: gateway.port: `), log[1])
      assert.strictEqual(self.current().document.health.interval, "1s")
      // Good again, though nothing differs from what is in use.
      Fs.writeFileSync(file, text("1s"))
      yield* good
      assert.deepStrictEqual(applied, [])
      assert.strictEqual(current().revision, 2)
      assert.strictEqual(log.at(-1), "Info configuration reloaded: nothing changed")
    }))

  it.live("doesn't mind that the file is missing for a moment; for long it is a mistake, as is an empty one", () =>
    Effect.gen(function*() {
      const { applied, broken, file, good, log, revision } = yield* live()
      yield* rest
      Fs.renameSync(file, `${file}.away`)
      yield* Effect.sleep("300 millis")
      Fs.writeFileSync(file, text("2s"))
      yield* revision(2)
      assert.strictEqual(log.length, 1)
      Fs.rmSync(file)
      const { error } = yield* broken
      assert.strictEqual(error?.mistakes[0]?.message, "the file isn't there")
      Fs.writeFileSync(file, text("2s"))
      yield* good
      Fs.writeFileSync(file, "\n")
      assert.include((yield* broken).error?.mistakes[0]?.message, "the file is empty")
      Fs.writeFileSync(file, text("3s"))
      yield* good
      assert.deepStrictEqual(applied, ["2s", "3s"])
    }))

  it.live("applies what can be, says what can't, and tries again at the next reading", () =>
    Effect.gen(function*() {
      let inUse = true
      const ports: Array<number> = []
      const listener: LiveConfiguration.Part = {
        select: ({ gateway }) => gateway.port,
        apply: ({ gateway: { port }, source }) =>
          Effect.sync(() => {
            ports.push(port)
            return inUse ? [source.mistakeAt(["gateway", "port"], "port 5 is in use")] : []
          })
      }
      const broken: LiveConfiguration.Part = { select: ({ gateway }) => gateway.port, apply: () => Effect.die("oops") }
      const { applied, current, file, log, revision, self } = yield* live({ parts: [listener, broken] })
      Fs.writeFileSync(file, `${text("2s")}gateway: { port: 5 }\n`)
      const { error } = yield* revision(2)
      assert.deepStrictEqual(applied, ["2s"])
      assert.deepStrictEqual(error?.mistakes, [
        { path: "gateway.port", line: 3, column: 18, message: "port 5 is in use" },
        { path: "", line: 1, column: 1, message: "not applied: oops" }
      ])
      assert.include(log[1], "portolan.yaml:3:18: gateway.port: port 5 is in use")
      inUse = false
      assert.strictEqual((yield* self.reload).error?.mistakes.length, 1)
      assert.deepStrictEqual([ports, applied], [[5, 5], ["2s"]])
      yield* self.reload
      assert.deepStrictEqual(ports, [5, 5])
      assert.strictEqual(current().revision, 4)
    }))

  it.live("tells what takes effect at the next start, for as long as it differs", () =>
    Effect.gen(function*() {
      const { current, file, log, revision } = yield* live({ atStart: ["gateway"] })
      Fs.writeFileSync(file, `${text("2s")}gateway: { pageSize: 5 }\n`)
      yield* revision(2)
      assert.deepStrictEqual(current().pending, ["gateway.pageSize"])
      const inEffect = (path: string) => current().settings.filter((setting) => setting.path === path)
      assert.deepStrictEqual(inEffect("gateway.pageSize"), [
        { path: "gateway.pageSize", value: 1000, origin: "default" }
      ])
      assert.deepStrictEqual(inEffect("health.interval"), [{ path: "health.interval", value: "2s", origin: "file" }])
      assert.strictEqual(
        log[0],
        "Info configuration reloaded: gateway.pageSize 5, health.interval 2s (at the next start: gateway.pageSize)"
      )
      Fs.writeFileSync(file, text("1s"))
      assert.deepStrictEqual((yield* revision(3)).pending, [])
    }))

  it.live("is read again when a file that it names changes, or comes", () =>
    Effect.gen(function*() {
      const servers: Array<unknown> = []
      const part: LiveConfiguration.Part = {
        select: (configuration) => configuration.servers,
        apply: (configuration) =>
          Effect.sync(() => {
            servers.push(configuration.servers[0]?.endpoint)
            return []
          })
      }
      const { broken, file, good, revision, where } = yield* live({ parts: [part] })
      Fs.writeFileSync(file, "mcpServers:\n  a: { command: node, envFile: .env }\n")
      const { error } = yield* broken
      assert.deepStrictEqual(error?.mistakes.map(({ line, path }) => [path, line]), [["mcpServers.a.envFile", 2]])
      Fs.writeFileSync(Path.join(where, ".env"), "A=1\n")
      yield* good
      Fs.writeFileSync(Path.join(where, ".env"), "A=2\n")
      yield* revision(3)
      assert.deepStrictEqual(
        servers,
        [1, 2].map((value) => ({
          transport: "stdio",
          command: "node",
          env: { A: `${value}` }
        }))
      )
    }))

  it.live("takes what changed between its reading and the first look", () =>
    Effect.gen(function*() {
      const where = yield* directory
      const file = Path.join(where, "portolan.yaml")
      Fs.writeFileSync(file, text("2s"))
      const initial = yield* Effect.fromResult(Configuration.parse(text("1s"), { adapters: [] }))
      const status = yield* ConfigurationState.make({ file, loadedAt: 1, revision: 1, pending: [], settings: [] })
      const self = yield* LiveConfiguration.make({ adapters: [], file, initial, parts: [], status })
      yield* Effect.forkScoped(self.follow(Effect.succeed(Effect.never)))
      yield* Effect.timeout(Stream.runHead(Stream.drop(status.state.changes, 1)), "5 seconds")
      assert.strictEqual(self.current().document.health.interval, "2s")
    }))
})
