/**
 * The commands that change something in a running gateway, and what `watch` tells of it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { freePort, gateway, record, registry } from "./fleet.ts"
import { served } from "./mcpServer.ts"
import { background, directory, portolan, until } from "./process.ts"

const program = fileURLToPath(new URL("announced.mjs", import.meta.url))

const fleet = (configuration: object = {}) =>
  Effect.gen(function*() {
    const server = yield* served({ tools: [{ name: "echo" }] })
    const running = yield* gateway(
      { registries: [{ type: "file", name: "local", path: "fleet.json" }, { type: "memory" }], ...configuration },
      { "fleet.json": registry(record("weather-1", server.url), record("memory-1", server.url)) }
    )
    const env = { PORTOLAN_URL: running.url }
    const health = (id: string) =>
      Effect.promise(async () => {
        const response = await fetch(`${running.url}/api/v1/instances/${id}`)
        if (response.status === 404) return "gone"
        const view: { readonly health: { readonly status: string; readonly reason: string } } = JSON.parse(
          await response.text()
        )
        return `${view.health.status}: ${view.health.reason}`
      })
    return { ...running, server, env, health, ask: (...args: ReadonlyArray<string>) => portolan(args, { env }) }
  })

describe("mark", () => {
  it.live("takes an instance out of service and puts it back", () =>
    Effect.gen(function*() {
      const { ask, health } = yield* fleet()
      const before = yield* health("weather-1")
      const draining = yield* ask("mark", "weather-1", "draining", "--reason", "new kernel")
      assert.deepInclude(draining, { code: 0, stdout: "weather-1: marked draining\n", stderr: "" })
      assert.strictEqual(yield* health("weather-1"), "draining: marked draining: new kernel")
      assert.match((yield* ask("instances", "health=draining")).stdout, /weather-1 .*draining .*new kernel/)
      const down = yield* ask("mark", "weather-1", "down", "--source", "local", "--json")
      assert.deepInclude(JSON.parse(down.stdout), { status: "down" })
      assert.deepInclude(yield* ask("mark", "weather-1", "up"), { code: 0, stdout: "weather-1: mark removed\n" })
      yield* until(Effect.map(health("weather-1"), (now) => now.split(":")[0] === before.split(":")[0]), 10_000)

      const unknown = yield* ask("mark", "wether-1", "down")
      assert.deepStrictEqual([unknown.code, unknown.stdout], [1, ""])
      assert.match(unknown.stderr, /^[^\n]*wether-1[^\n]*did you mean "?weather-1"?\?\n$/)
      const json = yield* ask("mark", "wether-1", "down", "--json")
      assert.include(JSON.parse(json.stderr).error.message, "weather-1")
    }), 120_000)
})

describe("refresh", () => {
  it.live("reads registries again, and knows their names", () =>
    Effect.gen(function*() {
      const { ask } = yield* fleet()
      const all = yield* ask("refresh")
      assert.deepStrictEqual([all.code, all.stderr], [0, ""])
      assert.match(all.stdout, /^SOURCE .*\n(.*\n)*local +file +connected .* 2 /)
      const one = yield* ask("refresh", "local", "--json")
      assert.deepStrictEqual(JSON.parse(one.stdout).map(({ name }: { readonly name: string }) => name), ["local"])
      const unknown = yield* ask("refresh", "lcoal")
      assert.strictEqual(unknown.code, 1)
      assert.match(unknown.stderr, /^[^\n]*lcoal[^\n]*local[^\n]*\n$/)
    }), 120_000)
})

describe("status", () => {
  it.live("tells of a configuration file that has mistakes now", () =>
    Effect.gen(function*() {
      const { ask, cwd } = yield* fleet()
      const file = Path.join(cwd, "portolan.json")
      const good = Fs.readFileSync(file, "utf8")
      const shows = (text: RegExp) => until(Effect.map(ask("status"), ({ stdout }) => text.test(stdout)), 30_000)
      assert.notInclude((yield* ask("status")).stdout, "portolan.json")
      Fs.writeFileSync(file, good.replace("registries", "registres"))
      yield* shows(
        /portolan\.json has mistakes; what was read .* ago stays in use:\n {2}.*registres: unknown key; did you/
      )
      Fs.writeFileSync(file, good)
      yield* until(Effect.map(ask("status"), ({ stdout }) => !stdout.includes("mistakes")), 30_000)
    }), 120_000)
})

describe("the token", () => {
  it.live("is needed where the gateway has one, and is never shown", () =>
    Effect.gen(function*() {
      const { ask, env, url } = yield* fleet({ gateway: { token: "s3cret-token" } })
      const mark = ["mark", "weather-1", "down"]
      assert.deepInclude(yield* ask(...mark), {
        code: 1,
        stdout: "",
        stderr: `${url} needs its token: give it with --token or PORTOLAN_TOKEN\n`
      })
      const wrong = yield* portolan(mark, { env: { ...env, PORTOLAN_TOKEN: "other-token" } })
      assert.deepInclude(wrong, { code: 1, stderr: `${url} refuses the token of --token or PORTOLAN_TOKEN\n` })
      assert.strictEqual((yield* ask(...mark, "--token", "s3cret-token")).code, 0)
      assert.strictEqual((yield* portolan(mark, { env: { ...env, PORTOLAN_TOKEN: "s3cret-token" } })).code, 0)
      // Nothing is announced by whoever may not, and nothing is tried again.
      const refused = yield* ask("register", "x", "--url", "http://127.0.0.1:1/mcp")
      assert.deepInclude(refused, { code: 1, stdout: "" })
      assert.include(refused.stderr, "needs its token")
      assert.notInclude(wrong.stderr + refused.stderr, "-token\n")
    }), 120_000)
})

describe("register through a gateway", () => {
  it.live("drains, then removes the record, then ends the command", () =>
    Effect.gen(function*() {
      const { env, health, url } = yield* fleet()
      const cwd = yield* directory()
      const port = yield* freePort
      const log = Path.join(cwd, "log")
      const flags = ["--id", "ships-1", "--url", `http://127.0.0.1:${port}/mcp`, "--region", "eu"]
      const command = [process.execPath, program, String(port), log]
      const running = yield* background(["register", "ships", ...flags, "--", ...command], { cwd, env })
      yield* until(Effect.map(health("ships-1"), (now) => now !== "gone"), 20_000)
      yield* until(Effect.sync(() => running.err().includes("\n")), 5000)
      assert.strictEqual(running.err(), `announced ships-1 in memory of ${url}, lease 30 s\n`)
      assert.match((yield* portolan(["instances", "region=eu"], { env })).stdout, /ships-1 +ships .*memory/)

      running.kill("SIGTERM")
      const seen: Array<string> = []
      yield* until(
        Effect.map(health("ships-1"), (now) => {
          const [status = ""] = now.split(":")
          if (seen.at(-1) !== status) seen.push(status)
          if (status !== "gone") assert.notInclude(Fs.readFileSync(log, "utf8"), "SIGTERM")
          return status === "gone"
        }),
        10_000
      )
      assert.deepStrictEqual(seen.slice(-2), ["draining", "gone"])
      assert.strictEqual((yield* running.ended).code, 7)
    }), 120_000)

  it.live("announces again in a gateway that was started anew", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const cwd = yield* directory({
        "portolan.json": JSON.stringify({ gateway: { port }, registries: [{ type: "memory" }] })
      })
      const url = `http://127.0.0.1:${port}`
      const env = { PORTOLAN_URL: url }
      const start = Effect.gen(function*() {
        const running = yield* background(["up", "--json"], { cwd })
        yield* until(Effect.sync(() => running.out().includes("\n")), 20_000)
        return running
      })
      const announced = Effect.map(
        portolan(["instances", "--json"], { env }),
        ({ stdout }) => stdout.includes("ships-1")
      )
      const first = yield* start
      const running = yield* background(
        ["register", "ships", "--id", "ships-1", "--url", "http://10.0.0.7/mcp", "--ttl", "2s"],
        { env, cwd: yield* directory() }
      )
      yield* until(announced, 20_000)
      first.kill("SIGTERM")
      yield* first.ended
      yield* until(Effect.sync(() => running.err().includes("trying again")), 20_000)
      yield* start
      yield* until(announced, 20_000)
      yield* until(Effect.sync(() => running.err().includes("ships-1 is announced again")), 5000)
      running.kill("SIGTERM")
      assert.strictEqual((yield* running.ended).code, 0)
      assert.isFalse(yield* announced)
    }), 90_000)

  it.live("is undone by deregister, which leaves other registries alone", () =>
    Effect.gen(function*() {
      const { ask, env } = yield* fleet()
      const cwd = yield* directory()
      const running = yield* background(
        ["register", "ships", "--id", "ships-1", "--url", "http://10.0.0.7/mcp"],
        { env, cwd }
      )
      yield* until(Effect.sync(() => running.out().includes("announced")), 20_000)
      running.kill("SIGKILL")
      yield* running.ended
      const unknown = yield* ask("deregister", "shisp-1")
      assert.strictEqual(unknown.code, 1)
      assert.match(unknown.stderr, /shisp-1.*did you mean "?ships-1"?\?/)
      const removed = yield* ask("deregister", "ships-1")
      assert.deepStrictEqual([removed.code, removed.stderr], [0, ""])
      assert.match(removed.stdout, /^ships-1: removed from /)
      assert.notInclude((yield* ask("instances")).stdout, "ships-1")
      const other = yield* ask("deregister", "weather-1")
      assert.strictEqual(other.code, 1)
      assert.strictEqual(other.stderr, "no instance in memory has the id weather-1; it is in local\n")
      assert.include((yield* ask("instances")).stdout, "weather-1")
      const taken = yield* ask("register", "x", "--id", "weather-1", "--url", "http://10.0.0.7/mcp")
      assert.strictEqual(taken.code, 1)
      assert.include(taken.stderr, "local")
    }), 120_000)
})

describe("watch of a gateway", () => {
  it.live("sees what is added, marked, changed and removed", () =>
    Effect.gen(function*() {
      const { ask, cwd, env, server } = yield* fleet()
      const watch = yield* background(["watch"], { env })
      const json = yield* background(["watch", "--json"], { env })
      const said = (text: string | RegExp) => until(Effect.sync(() => watch.out().search(text) !== -1), 20_000)
      const put = (...ids: ReadonlyArray<string>) =>
        Fs.writeFileSync(Path.join(cwd, "fleet.json"), registry(...ids.map((id) => record(id, server.url))))
      yield* said(/watching: 2 instances, \d sources?\n/)
      yield* until(Effect.sync(() => json.out().includes("snapshot")), 20_000)

      put("weather-1", "memory-1", "ships-1")
      yield* said(/ {2}\+ ships-1 {2}ships-1 {2}local\n/)
      yield* ask("mark", "weather-1", "down", "--reason", "broken")
      yield* said(/ {2}~ weather-1 {2}weather-1 {2}\w+ → down: marked down: broken\n/)
      put("weather-1", "memory-1")
      yield* said(/ {2}- ships-1 {2}ships-1 {2}local\n/)
      Fs.rmSync(Path.join(cwd, "fleet.json"))
      yield* said(/ {2}\* local {2}file {2}connected → stale/)

      for (const running of [watch, json]) running.kill("SIGINT")
      assert.deepInclude(yield* watch.ended, { code: 0, stderr: "" })
      const { stdout } = yield* json.ended
      const events = stdout.trimEnd().split("\n").map((line) => JSON.parse(line).event)
      assert.strictEqual(events[0], "snapshot")
      for (const name of ["catalog", "health", "sources"]) assert.include(events, name)
    }), 90_000)
})
