/**
 * What a person sees: the command on a real terminal, which `script` of util-linux makes.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn, spawnSync } from "node:child_process"
import { createServer } from "node:net"
import { fileURLToPath } from "node:url"
import { stripVTControlCharacters } from "node:util"
import { widthOf } from "../src/terminal.ts"
import { gateway, registry } from "./fleet.ts"

const bin = fileURLToPath(new URL("../bin/portolan.js", import.meta.url))
const server = fileURLToPath(new URL("server.mjs", import.meta.url))

const lacking = !(spawnSync("script", ["--version"], { encoding: "utf8" }).stdout ?? "").includes("util-linux")
if (lacking) console.log("skipped: the command on a terminal, because this machine has no `script` of util-linux")

/** All that a terminal of this width is sent. */
const onTerminal = (columns: number, args: ReadonlyArray<string>, env: Record<string, string>) =>
  Effect.callback<string>((resume) => {
    const { FORCE_COLOR: _, NO_COLOR: __, ...outside } = process.env
    const command = [process.execPath, bin, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ")
    const child = spawn("script", ["-qefc", `stty cols ${columns} rows 40; exec ${command}`, "/dev/null"], {
      env: { ...outside, TERM: "xterm-256color", SHELL: "/bin/sh", ...env },
      stdio: ["ignore", "pipe", "inherit"]
    })
    let said = ""
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => said += chunk)
    child.once("close", () => resume(Effect.succeed(said)))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

const escape = "\u001b["

describe.skipIf(lacking)("on a terminal", () => {
  it.live(
    "tables fit, whatever the width and the script, and colours follow the environment",
    () =>
      Effect.gen(function*() {
        const endpoint = { transport: "streamable-http", url: "http://127.0.0.1:1/mcp" }
        const running = yield* gateway({ registries: [{ type: "file", name: "地図の登録簿", path: "fleet.json" }] }, {
          "fleet.json": registry(
            { id: "天気予報サーバー-7c9f", service: "天気", version: "1.4.0", endpoint },
            { id: "weather-7c9f4d5b6c-x2lpq", service: "weather-of-the-world", endpoint },
            { id: "🚢-船", service: "ships", endpoint },
            { id: "bad", service: "bad", endpoint: { transport: "streamable-http", url: "nowhere" } }
          )
        })
        const env = { PORTOLAN_URL: running.url }
        for (const columns of [60, 80, 200]) {
          for (const command of ["status", "instances", "services"]) {
            const said = yield* onTerminal(columns, [command], env)
            assert.include(said, escape)
            for (const line of stripVTControlCharacters(said).split(/\r?\n/)) {
              assert.isAtMost(widthOf(line), columns, line)
            }
          }
        }
        const wide = stripVTControlCharacters(yield* onTerminal(200, ["instances"], env))
        for (const id of ["天気予報サーバー-7c9f", "weather-7c9f4d5b6c-x2lpq", "🚢-船"]) {
          assert.include(wide, id)
        }
        const narrow = stripVTControlCharacters(yield* onTerminal(60, ["status"], env))
        assert.include(narrow, "…")
        for (const more of [{ NO_COLOR: "1" }, { TERM: "dumb" }]) {
          assert.notInclude(yield* onTerminal(80, ["status"], { ...env, ...more }), escape)
        }
      }),
    120_000
  )

  it.live("progress is one line that changes, and is gone before the answer", () =>
    Effect.gen(function*() {
      const running = yield* gateway({
        mcpServers: { svc: { command: process.execPath, args: [server, "progress"] } }
      })
      const slow = ["call", "svc__steps", "--args", "{\"ms\":600}"]
      const said = yield* onTerminal(40, slow, { PORTOLAN_URL: running.url })
      assert.match(said, /\r.* svc__steps {2}\d+ % {2}step \d/)
      assert.notInclude(said.slice(0, said.indexOf("all steps")), "\n")
      assert.isTrue(said.endsWith(`\r${escape}2Kall steps\r\n`))
      const dumb = yield* onTerminal(40, ["call", "svc__steps"], { PORTOLAN_URL: running.url, TERM: "dumb" })
      assert.strictEqual(dumb, "all steps\r\n")
    }), 60_000)

  it.live("a scan says how far it is", () =>
    Effect.gen(function*() {
      const server = createServer((socket) => void socket.on("error", () => {}))
      const port = yield* Effect.acquireRelease(
        Effect.callback<number>((resume) => {
          server.listen(0, "127.0.0.1", () => {
            const address = server.address()
            resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
          })
        }),
        () => Effect.sync(() => void server.close())
      )
      const said = yield* onTerminal(80, ["scan", "--ports", String(port), "--identify-timeout", "1s"], {})
      assert.match(said, /\r.* asked 0 of 1 port, 1 open, 0 servers/)
      assert.match(stripVTControlCharacters(said), /\rno server: what took a connection.*\r\n$/)
    }), 60_000)
})
