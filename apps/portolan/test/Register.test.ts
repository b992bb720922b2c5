/**
 * `register` and `deregister`: a command is announced while it runs, and its record goes before it is asked to end.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Consul from "@portolan/tooling/backends/Consul"
import * as Etcd from "@portolan/tooling/backends/Etcd"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { freePort } from "./fleet.ts"
import { background, directory, isAlive, portolan, until } from "./process.ts"

const program = fileURLToPath(new URL("announced.mjs", import.meta.url))

const read = (path: string): string => Fs.existsSync(path) ? Fs.readFileSync(path, "utf8") : ""

interface Lease {
  readonly id: string
  readonly service: string
  readonly version: string
  readonly status: string
}

/** The leases beside a registry file. */
const leases = (cwd: string): ReadonlyArray<Lease> => {
  const folder = Path.join(cwd, "services.json.d")
  if (!Fs.existsSync(folder)) return []
  return Fs.readdirSync(folder).filter((name) => name.endsWith(".json")).flatMap((name) => {
    try {
      return [JSON.parse(Fs.readFileSync(Path.join(folder, name), "utf8")).instance]
    } catch {
      // Removed between the two.
      return []
    }
  })
}

/** `register` with a command, announced in the file registry of a folder. */
const registered = (...more: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const cwd = yield* directory()
    const port = yield* freePort
    const url = `http://127.0.0.1:${port}/mcp`
    const log = Path.join(cwd, "log")
    const running = yield* background([
      "register",
      "weather",
      "--registry",
      "file",
      "--url",
      url,
      ...more,
      "--",
      process.execPath,
      program,
      String(port),
      log,
      Path.join(cwd, "services.json.d")
    ], { cwd })
    const commandPid = () => Number(/started (\d+)/.exec(read(log))?.[1])
    return { ...running, cwd, url, log: () => read(log), commandPid }
  })

describe("register", () => {
  it.live("announces a command once it listens, and ends as that does", () =>
    Effect.gen(function*() {
      const running = yield* registered(
        "--id",
        "weather-7c9f",
        "--version",
        "1.4.0",
        "--tags",
        "prod,eu",
        "--ttl",
        "20s"
      )
      yield* until(Effect.sync(() => running.log().includes("started")), 20_000)
      if (!running.log().includes("listening")) assert.deepStrictEqual(leases(running.cwd), [])
      yield* until(Effect.sync(() => leases(running.cwd).length === 1), 20_000)
      assert.include(running.log(), "listening")
      const [record] = leases(running.cwd)
      assert.deepInclude(record, { id: "weather-7c9f", service: "weather", version: "1.4.0", status: "up" })
      yield* until(Effect.sync(() => running.err().includes("\n")), 5000)
      assert.strictEqual(running.err(), "announced weather-7c9f in file (./services.json), lease 20 s\n")

      yield* Effect.promise(() => fetch(new URL("/exit", running.url)).catch(() => undefined))
      assert.deepInclude(yield* running.ended, { code: 3, signal: null, stdout: "" })
      assert.deepStrictEqual(leases(running.cwd), [])
    }), 120_000)

  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it.live(`first drains, then removes the record, and then hands on ${signal}`, () =>
      Effect.gen(function*() {
        const running = yield* registered()
        yield* until(Effect.sync(() => leases(running.cwd).some(({ status }) => status === "up")), 20_000)
        const seen: Array<string> = []
        running.kill(signal)
        yield* until(
          Effect.sync(() => {
            const status = leases(running.cwd)[0]?.status ?? "gone"
            if (seen.at(-1) !== status) seen.push(status)
            return status === "gone"
          }),
          10_000
        )
        assert.deepStrictEqual(seen.filter((status) => status !== "up"), ["draining", "gone"])
        assert.strictEqual((yield* running.ended).code, 7)
        // What the command saw when it was asked: no record any more.
        assert.include(running.log(), `${signal}: 0`)
        assert.isFalse(isAlive(running.commandPid()))
      }), 120_000)
  }

  it.live(
    "ends a command that doesn't end at the second signal, and never leaves it behind",
    () =>
      Effect.gen(function*() {
        const cwd = yield* directory()
        const stubborn = "process.on('SIGTERM', () => {}); console.log(process.pid); setInterval(() => {}, 1000)"
        const flags = ["--url", "http://127.0.0.1:1", "--registry", "file", "--no-wait"]
        const running = yield* background(["register", "x", ...flags, "--", process.execPath, "-e", stubborn], { cwd })
        yield* until(Effect.sync(() => leases(cwd).length === 1 && running.out().includes("\n")), 20_000)
        const pid = Number(running.out())
        running.kill("SIGTERM")
        yield* until(Effect.sync(() => leases(cwd).length === 0), 10_000)
        // Long after the record is gone and the command was asked.
        yield* Effect.sleep("500 millis")
        assert.isTrue(isAlive(pid))
        running.kill("SIGTERM")
        assert.deepInclude(yield* running.ended, { code: 137, signal: null })
        assert.isFalse(isAlive(pid))
      }),
    120_000
  )

  it.live("hands SIGHUP on as the command's own business", () =>
    Effect.gen(function*() {
      const running = yield* registered()
      yield* until(Effect.sync(() => leases(running.cwd).length === 1), 20_000)
      running.kill("SIGHUP")
      yield* until(Effect.sync(() => running.log().includes("SIGHUP: 1")), 5000)
      assert.deepInclude(leases(running.cwd)[0], { status: "up" })
    }), 120_000)

  it.live("doesn't announce what never listens", () =>
    Effect.gen(function*() {
      const cwd = yield* directory()
      const port = yield* freePort
      const url = `http://127.0.0.1:${port}/mcp`
      const register = (...command: ReadonlyArray<string>) =>
        portolan(["register", "x", "--registry", "file", "--url", url, "--wait", "500ms", "--", ...command], { cwd })
      const mute = yield* register(process.execPath, "-e", "setInterval(() => {}, 1000)")
      assert.strictEqual(mute.code, 1)
      assert.strictEqual(mute.stderr, `nothing listens at ${url} after 500ms: see --url and --wait\n`)
      assert.deepInclude(yield* register(process.execPath, "-e", "process.exit(5)"), {
        code: 5,
        stderr: "the command ended before anything listened at its address: nothing was announced\n"
      })
      assert.deepInclude(yield* register(process.execPath, "-e", "process.kill(process.pid, 'SIGKILL')"), { code: 137 })
      const missing = yield* register("no-such-program")
      assert.strictEqual(missing.code, 1)
      assert.match(missing.stderr, /^can't start no-such-program: .*ENOENT\n$/)
      assert.isFalse(Fs.existsSync(Path.join(cwd, "services.json.d")) && leases(cwd).length > 0)
    }), 120_000)

  it.live("announces what runs elsewhere, until it is ended", () =>
    Effect.gen(function*() {
      const cwd = yield* directory({
        "portolan.yaml": "registries:\n  - { type: file, name: local, path: services.json }\n"
      })
      const running = yield* background(
        ["register", "weather", "--url", "http://10.0.0.7:8080/mcp", "--registry", "local", "--json"],
        { cwd }
      )
      yield* until(Effect.sync(() => running.out().includes("\n")), 20_000)
      const { announced } = JSON.parse(running.out())
      assert.deepInclude(announced, { service: "weather", type: "file", registry: "local", lease: "30s" })
      assert.match(announced.id, /^weather-[0-9a-f]{4}$/)
      assert.strictEqual(leases(cwd)[0]?.id, announced.id)
      running.kill("SIGINT")
      assert.deepInclude(yield* running.ended, { code: 0, stderr: "" })
      assert.deepStrictEqual(leases(cwd), [])
    }), 120_000)

  it.live("refuses what can't be announced", () =>
    Effect.gen(function*() {
      const cwd = yield* directory({
        "portolan.yaml": [
          "registries:",
          "  - { type: file, name: a, path: a.json }",
          "  - { type: file, name: b, path: b.json, allow: { services: [weather] } }"
        ].join("\n")
      })
      for (
        const [args, said] of [
          [["--url", "ftp://x"], "endpoint.url: expected an http(s) URL\n"],
          [[], "say where it is reached: give either --url or --endpoint\n"],
          [["--endpoint", "{"], /^--endpoint: .*JSON/],
          [
            ["--url", "http://x", "--registry", "etcdd:http://a"],
            /no registry is of type "etcdd"; did you mean "etcd"\?/
          ],
          [["--url", "http://x", "--registry", "consul:nowhere"], /expected an address such as consul:http:/],
          [["--url", "http://x", "--registry", "b"], /^service: registry "b" may not announce "x"; add it to `allow/],
          [["--url", "http://x", "--registry", "file"], /several registries of type file: a, b; name one of them/],
          [["--url", "http://x", "--ttl", "3"], /--ttl: expected a duration such as 250ms, 30s or 5m, got "3"/]
        ] as const
      ) {
        const { code, stderr, stdout } = yield* portolan(["register", "x", ...args], { cwd })
        assert.deepStrictEqual([code, stdout], [2, ""], args.join(" "))
        if (typeof said === "string") assert.strictEqual(stderr, said)
        else assert.match(stderr, said)
      }
    }), 120_000)
})

describe("deregister", () => {
  it.live("removes a record that its announcer left behind", () =>
    Effect.gen(function*() {
      const cwd = yield* directory({
        "services.json": JSON.stringify({
          services: [{
            id: "by-hand",
            service: "x",
            endpoint: { transport: "streamable-http", url: "http://10.0.0.1" }
          }]
        })
      })
      const ask = (...args: ReadonlyArray<string>) => portolan(["deregister", ...args, "--registry", "file"], { cwd })
      const running = yield* background(
        ["register", "weather", "--id", "weather-1", "--url", "http://10.0.0.7:8080/mcp", "--registry", "file"],
        { cwd }
      )
      yield* until(Effect.sync(() => leases(cwd).length === 1), 20_000)
      running.kill("SIGKILL")
      yield* running.ended
      assert.strictEqual(leases(cwd).length, 1)

      const unknown = yield* ask("weather-2")
      assert.deepStrictEqual([unknown.code, unknown.stdout], [1, ""])
      assert.strictEqual(
        unknown.stderr,
        "./services.json: no instance has the id weather-2; did you mean \"weather-1\"?\n"
      )
      assert.deepInclude(yield* ask("weather-1"), { code: 0, stdout: "weather-1: removed from ./services.json\n" })
      assert.deepStrictEqual(leases(cwd), [])
      const hand = yield* ask("by-hand")
      assert.strictEqual(hand.code, 1)
      assert.match(hand.stderr, /by-hand is still there: somebody else wrote it, such as a person into a file\n$/)
    }), 120_000)
})

for (const [name, { make, unavailable }] of Object.entries({ consul: Consul, etcd: Etcd })) {
  const lacking = await Effect.runPromise(unavailable)
  if (lacking !== undefined) console.log(`skipped: register with ${name}: ${lacking}`)

  describe.skipIf(lacking !== undefined)(`register with ${name}`, () => {
    it.live("announces, and removes again", () =>
      Effect.gen(function*() {
        const backend = yield* make
        const cwd = yield* directory()
        const registry = `${name}:${backend.url}`
        const running = yield* background(
          ["register", "weather", "--id", "weather-1", "--url", "http://10.0.0.7:8080/mcp", "--registry", registry],
          { cwd }
        )
        yield* until(Effect.sync(() => running.out().includes("\n")), 20_000)
        const host = new URL(backend.url).host
        assert.strictEqual(running.out(), `announced weather-1 in ${name} (${host}), lease 30 s\n`)
        const left = portolan(["deregister", "weather-0", "--registry", registry], { cwd })
        assert.include((yield* left).stderr, "did you mean \"weather-1\"?")
        running.kill("SIGTERM")
        assert.strictEqual((yield* running.ended).code, 0)
        assert.notInclude((yield* left).stderr, "weather-1")
      }), 120_000)
  })
}
