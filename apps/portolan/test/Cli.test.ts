import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import { execFileSync, spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { createServer } from "node:net"
import { fileURLToPath } from "node:url"
import { directory, isAlive, portolan, until, up } from "./process.ts"

const server = fileURLToPath(new URL("server.mjs", import.meta.url))
const demo = JSON.stringify({
  registries: [{ type: "memory" }],
  mcpServers: { test: { command: process.execPath, args: [server], service: "svc", env: { SECRET: "hush" } } }
})

const gateway = Effect.gen(function*() {
  const cwd = yield* directory({ "portolan.json": demo })
  return yield* up([], { cwd })
})

const escape = "\u001b["

describe("a running gateway", () => {
  it.live("is shown by every command, for people and for programs", () =>
    Effect.gen(function*() {
      const { found, url } = yield* gateway
      assert.strictEqual(found.tools, 4)
      const ask = (...args: ReadonlyArray<string>) => portolan(args, { env: { PORTOLAN_URL: url } })
      for (
        const [command, words] of [
          ["status", ["SOURCE", "static", "connected", "memory", "1 service, 1 instance, 4 tools"]],
          ["services", ["SERVICE", "svc", "3.2.1"]],
          ["instances", ["INSTANCE", "test", "svc", "static"]],
          ["tools", ["TOOL", "svc__echo", "read-only", "Its process and more"]]
        ] as const
      ) {
        const people = yield* ask(command)
        assert.deepStrictEqual([people.code, people.stderr], [0, ""], command)
        for (const word of words) assert.include(people.stdout, word)
        assert.notInclude(people.stdout, escape, "no colours into a pipe")
        const programs = yield* ask(command, "--json")
        assert.strictEqual(programs.code, 0)
        assert.strictEqual(typeof JSON.parse(programs.stdout), "object")
        assert.notInclude(people.stdout + programs.stdout, "hush")
      }
      const nobody = yield* portolan(["tools", "--url", url, "--service", "nobody"])
      assert.deepStrictEqual([nobody.code, nobody.stdout], [0, ""])
      assert.strictEqual((yield* ask("instances", "service=nobody")).stdout, "")
      assert.include((yield* ask("instances", "service=svc")).stdout, "svc")
      assert.strictEqual((yield* ask("instances", "servce=svc")).code, 2)

      const colours = yield* portolan(["status"], { env: { PORTOLAN_URL: url, FORCE_COLOR: "1" } })
      assert.include(colours.stdout, escape)
    }), 60_000)

  it.live("calls tools", () =>
    Effect.gen(function*() {
      const { url } = yield* gateway
      const call = (...args: ReadonlyArray<string>) => portolan(["call", ...args, "--url", url])
      const echo = yield* call("svc__echo", "--args", "{\"text\":\"good morning\"}")
      assert.deepStrictEqual([echo.code, echo.stdout, echo.stderr], [0, "good morning\n", ""])
      const raw = yield* call("svc__echo", "--args", "{\"text\":\"hi\"}", "--json")
      assert.deepStrictEqual(JSON.parse(raw.stdout).content, [{ type: "text", text: "hi" }])
      const failed = yield* call("svc__fail")
      assert.deepStrictEqual([failed.code, failed.stdout, failed.stderr], [1, "", "it did not work\n"])
      const unknown = yield* call("svc__ecko")
      assert.strictEqual(unknown.code, 1)
      assert.include(unknown.stderr, "svc__echo")
      assert.strictEqual(unknown.stderr.trimEnd().split("\n").length, 1)
      for (const args of ["{", "[]", "3", "null"]) {
        const wrong = yield* call("svc__echo", "--args", args)
        assert.strictEqual(wrong.code, 2)
        assert.match(wrong.stderr, /^--args: /)
      }
    }), 60_000)

  it.live("lets calls finish at SIGTERM, then ends with 0", () =>
    Effect.gen(function*() {
      const running = yield* gateway
      const call = yield* Effect.forkChild(
        portolan(["call", "svc__wait", "--args", "{\"ms\":1500}", "--url", running.url])
      )
      yield* Effect.promise(() => fetch(`${running.url}/metrics`).then((answer) => answer.text())).pipe(
        Effect.repeat({
          until: (text) => text.includes("portolan_mcp_calls_in_flight 1"),
          schedule: Schedule.spaced("20 millis")
        }),
        Effect.timeout("10 seconds")
      )
      running.kill("SIGTERM")
      assert.deepInclude(yield* Fiber.join(call), { code: 0, stdout: "waited\n" })
      const ended = yield* running.ended
      assert.deepStrictEqual([ended.code, ended.signal], [0, null])
    }), 60_000)

  it.live("doesn't wait for ever at SIGTERM", () =>
    Effect.gen(function*() {
      const cwd = yield* directory({
        "portolan.json": JSON.stringify({ ...JSON.parse(demo), gateway: { shutdownTimeout: "300ms" } })
      })
      const running = yield* up([], { cwd })
      yield* Effect.forkChild(portolan(["call", "svc__wait", "--args", "{\"ms\":60000}", "--url", running.url]))
      yield* Effect.promise(() => fetch(`${running.url}/metrics`).then((answer) => answer.text())).pipe(
        Effect.repeat({
          until: (text) => text.includes("portolan_mcp_calls_in_flight 1"),
          schedule: Schedule.spaced("20 millis")
        }),
        Effect.timeout("10 seconds")
      )
      const start = performance.now()
      running.kill("SIGTERM")
      assert.strictEqual((yield* running.ended).code, 0)
      assert.isBelow(performance.now() - start, 10_000)
    }), 60_000)

  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    it.live(`leaves no process behind after ${signal}`, () =>
      Effect.gen(function*() {
        const running = yield* gateway
        const { stdout } = yield* portolan(["call", "svc__pid", "--url", running.url])
        const pid = Number(stdout)
        assert.isTrue(isAlive(pid))
        running.kill(signal)
        yield* running.ended
        yield* until(Effect.sync(() => !isAlive(pid)), 5000)
      }), 60_000)
  }
})

const old = (() => {
  const path = "/usr/bin/node"
  return existsSync(path) && /^v(\d|1\d|20)\./.test(execFileSync(path, ["--version"], { encoding: "utf8" }))
    ? path
    : undefined
})()
if (old === undefined) {
  console.log("skipped: the answer to an old Node.js, because this machine has none at /usr/bin/node")
}

describe("without a gateway", () => {
  it.skipIf(old === undefined)("says which Node.js it needs", () => {
    const bin = fileURLToPath(new URL("../bin/portolan.js", import.meta.url))
    const { status, stderr } = spawnSync(old ?? "", [bin, "status"], { encoding: "utf8" })
    assert.strictEqual(status, 1)
    assert.match(stderr, /^portolan needs Node\.js 22\.19 or newer; this is .*\n$/)
  })

  it.live("says in one line how to start one", () =>
    Effect.gen(function*() {
      for (const args of [["status"], ["services"], ["instances"], ["tools"], ["call", "x"]]) {
        const { code, stderr, stdout } = yield* portolan([...args, "--url", "http://127.0.0.1:1"])
        assert.deepStrictEqual([code, stdout], [1, ""])
        assert.strictEqual(
          stderr,
          "no gateway answers at http://127.0.0.1:1: start one with `portolan up`, or name another in PORTOLAN_URL\n"
        )
      }
      const nowhere = yield* portolan(["status", "--url", "nowhere"])
      assert.deepStrictEqual([nowhere.code, nowhere.stderr], [
        2,
        "address of the gateway: expected an http(s) URL, got nowhere\n"
      ])
    }), 60_000)

  it.live("refuses wrong usage with 2", () =>
    Effect.gen(function*() {
      for (
        const args of [["stauts"], ["status", "--nope"], ["call"], ["up", "--port", "x"], ["up", "--port", "70000"]]
      ) {
        const { code, stderr, stdout } = yield* portolan(args)
        assert.strictEqual(code, 2, `${args.join(" ")}: ${stdout}${stderr}`)
        assert.notInclude(stderr, "    at ")
      }
      assert.include((yield* portolan(["stauts"])).stderr, "status")
      for (const args of [["--help"], ["--version"], ["call", "--help"]]) {
        assert.strictEqual((yield* portolan(args)).code, 0)
      }
    }), 60_000)

  it.live("checks configurations", () =>
    Effect.gen(function*() {
      const cwd = yield* directory({
        "portolan.yaml": "gateway: {port: 1}\n",
        "bad.yaml": "gateway:\n  prot: 1\nregistries:\n  - type: fiel\n"
      })
      const good = yield* portolan(["validate"], { cwd })
      assert.deepStrictEqual([good.code, good.stdout], [0, "portolan.yaml: no mistakes; registries: 0, servers: 0\n"])
      const bad = yield* portolan(["validate", "--config", "bad.yaml"], { cwd })
      assert.strictEqual(bad.code, 2)
      assert.deepStrictEqual(bad.stderr.split("\n"), [
        "bad.yaml:2:3: gateway.prot: unknown key; did you mean \"port\"?",
        "bad.yaml:4:11: registries[0].type: expected one of file, consul, redis, etcd, kubernetes, dns-sd, network-scan, " +
        "documents, memory; did you mean \"file\"?",
        ""
      ])
      const json = yield* portolan(["validate", "--config", "bad.yaml", "--json"], { cwd })
      assert.strictEqual(json.code, 2)
      assert.deepInclude(JSON.parse(json.stdout).mistakes[0], { path: "gateway.prot", line: 2, column: 3 })
      const started = yield* portolan(["up", "--config", "bad.yaml"], { cwd })
      assert.deepStrictEqual([started.code, started.stderr], [2, bad.stderr])
      assert.strictEqual((yield* portolan(["validate", "--config", "none.yaml"], { cwd })).code, 2)
      const schema = yield* portolan(["config", "schema"])
      assert.strictEqual(JSON.parse(schema.stdout).title, "Portolan configuration")
    }), 60_000)

  it.live("says in one line that the port is taken", () =>
    Effect.gen(function*() {
      const port = yield* Effect.acquireRelease(
        Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
          const holder = createServer().listen(0, "127.0.0.1", () => {
            const address = holder.address()
            resume(Effect.succeed({
              port: typeof address === "object" && address !== null ? address.port : 0,
              close: () => holder.close()
            }))
          })
        }),
        ({ close }) => Effect.sync(close)
      )
      const cwd = yield* directory({ "portolan.yaml": "" })
      const { code, stderr } = yield* portolan(["up", "--port", String(port.port)], { cwd })
      assert.deepStrictEqual([code, stderr], [
        1,
        `port ${port.port} on 127.0.0.1 is in use: stop what listens there, or choose another port\n`
      ])
    }), 60_000)
})
