import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFileSync, spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { hostname, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { directory, isAlive, portolan, until, up } from "./process.ts"

const server = fileURLToPath(new URL("server.mjs", import.meta.url))

const childrenOf = (pid: number): ReadonlyArray<number> =>
  execFileSync("pgrep", ["-P", String(pid)], { encoding: "utf8" }).trim().split("\n").map(Number)

describe("the demo", () => {
  it.live(
    "serves four services, outlives a replica, and leaves nothing behind, nor what killed ones did",
    () =>
      Effect.gen(function*() {
        const cwd = yield* directory()
        const gone = spawnSync(process.execPath, ["-e", "0"]).pid
        const folders = [gone, process.pid].map((pid) =>
          mkdtempSync(join(tmpdir(), `portolan-demo-${hostname()}-${pid}-`))
        )
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => {
            for (const folder of folders) rmSync(folder, { recursive: true, force: true })
          })
        )
        const running = yield* up([], { cwd })
        assert.strictEqual(running.found.services, 4)
        assert.isAbove(running.found.tools, 30)
        const call = (tool: string, args = "{}") => portolan(["call", tool, "--args", args, "--url", running.url])
        const forecast = yield* call("weather__get_forecast", "{\"city\":\"Lisbon\"}")
        assert.deepStrictEqual([forecast.code, forecast.stdout.split("\n")[0]], [0, "Lisbon"])
        assert.deepStrictEqual(folders.map((folder) => existsSync(folder)), [false, true])
        const [work] =
          /\/\S*portolan-demo-[\w.-]+/.exec((yield* call("filesystem__list_allowed_directories")).stdout) ?? []
        assert.isDefined(work)
        // A gateway that is killed can't remove it.
        yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(work ?? "", { recursive: true, force: true })))

        const children = childrenOf(running.pid)
        const replica = children.find((pid) =>
          execFileSync("ps", ["-o", "args=", "-p", String(pid)], { encoding: "utf8" }).includes("weather-a")
        )
        assert.isDefined(replica)
        process.kill(replica ?? 0, "SIGKILL")
        for (let count = 0; count < 5; count++) {
          assert.deepInclude(yield* call("weather__which_replica"), { code: 0, stdout: "weather-b\n" })
        }

        running.kill("SIGKILL")
        yield* running.ended
        yield* until(Effect.sync(() => !children.some(isAlive)), 5000)
      }),
    90_000
  )
})

describe("a registry file", () => {
  it.live("is followed, and what is wrong in it is told", () =>
    Effect.gen(function*() {
      const record = (id: string, service: string) => ({
        id,
        service,
        endpoint: { transport: "stdio", command: process.execPath, args: [server] }
      })
      const cwd = yield* directory({
        "portolan.yaml": "registries:\n  - { type: file, path: ./services.json }\n",
        "services.json": JSON.stringify({
          services: [record("a-1", "a"), {
            id: "broken",
            service: "x",
            endpoint: { transport: "streamable-http", url: "nowhere" }
          }]
        })
      })
      const running = yield* up([], { cwd })
      assert.strictEqual(running.found.tools, 4)
      const ask = (...args: ReadonlyArray<string>) => portolan([...args, "--url", running.url])
      const status = yield* ask("status")
      assert.match(status.stdout, /1 rejected: "broken" endpoint\.url: expected an http\(s\) URL/)

      const file = join(cwd, "services.json")
      writeFileSync(`${file}.new`, JSON.stringify({ services: [record("a-1", "a"), record("b-1", "b")] }))
      renameSync(`${file}.new`, file)
      yield* until(Effect.map(ask("tools"), ({ stdout }) => stdout.includes("b__echo")), 10_000)

      writeFileSync(file, "{ half")
      yield* until(Effect.map(ask("status"), ({ stdout }) => stdout.includes("stale")), 10_000)
      assert.include((yield* ask("call", "b__echo", "--args", "{\"text\":\"still here\"}")).stdout, "still here")

      writeFileSync(file, "{\"services\": []}")
      yield* until(Effect.map(ask("tools"), ({ stdout }) => !stdout.includes("__echo")), 10_000)
    }), 90_000)
})
