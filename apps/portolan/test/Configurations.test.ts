/**
 * The forms in which servers are configured, and mistakes in them.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { fileURLToPath } from "node:url"
import { served } from "./mcpServer.ts"
import * as Peers from "./peers.ts"
import { directory, portolan, up } from "./process.ts"

const server = fileURLToPath(new URL("server.mjs", import.meta.url))

describe("a configuration", () => {
  it.live("takes `mcpServers` and `servers`, as editors write them", () =>
    Effect.gen(function*() {
      const { url } = yield* served({ tools: [{ name: "echo" }] })
      const cwd = yield* directory({
        "portolan.yaml": [
          "\uFEFF# A byte order mark and comments are fine",
          "mcpServers:",
          `  desktop: { command: "${process.execPath}", args: ["${server}"] }`,
          `  cursor: { url: "${url}" }`,
          "servers:",
          `  code: { type: http, url: "${url}" }`,
          ""
        ].join("\n")
      })
      const running = yield* up([], { cwd })
      const peer = yield* Peers.stateless(running.url)
      for (const service of ["desktop", "cursor", "code"]) {
        const text = Peers.textOf(yield* Effect.promise(() => peer.call(`${service}__echo`, { text: "echo" })))
        assert.strictEqual(text, "echo", service)
      }
    }), 30_000)

  it.live(
    "with an unknown key or a wrong type is refused with line and column, and status 2",
    () =>
      Effect.gen(function*() {
        const cwd = yield* directory({
          "portolan.yaml":
            "gateway:\n  port: many\nmcpServers:\n  a:\n    comand: node\nhealth:\n  interval: 5 parsecs\n"
        })
        const { code, stderr, stdout } = yield* portolan(["up"], { cwd })
        assert.deepStrictEqual([code, stdout], [2, ""])
        const lines = stderr.trimEnd().split("\n")
        for (
          const start of [
            "portolan.yaml:2:9: gateway.port: ",
            "portolan.yaml:5:5: mcpServers.a.comand: unknown key; did you mean \"command\"?",
            "portolan.yaml:7:13: health.interval: "
          ]
        ) {
          assert.isTrue(lines.some((line) => line.startsWith(start)), `${start} in\n${stderr}`)
        }
        assert.notInclude(stderr, "    at ")
      }),
    30_000
  )

  it.live("is shown with the origin of each setting and without secrets", () =>
    Effect.gen(function*() {
      const cwd = yield* directory({
        "portolan.yaml": [
          "gateway: { port: 7421, token: \"${TOKEN}\" }",
          "telemetry: { otlp: { url: \"http://user:hush-url@127.0.0.1:4318\", headers: { x-tenant: hush-header } } }",
          "registries:",
          "  - { type: consul, name: dc1, url: \"http://127.0.0.1:8500\", token: hush-registry }",
          "  - { type: memory }",
          "mcpServers:",
          "  notes: { command: node, env: { PIN: hush-env } }",
          ""
        ].join("\n")
      })
      const env = { TOKEN: "hush-token" }
      const { code, stderr, stdout } = yield* portolan(["config", "show"], { cwd, env })
      assert.deepStrictEqual([code, stderr], [0, ""])
      assert.match(stdout, /^SETTING +VALUE +FROM\n/)
      assert.match(stdout, /^gateway\.port +7421 +file$/m)
      assert.match(stdout, /^gateway\.host +127\.0\.0\.1 +default$/m)
      assert.match(stdout, /^gateway\.token +\*\*\* +file$/m)
      assert.isTrue(stdout.endsWith("registries: dc1 (consul), memory\nservers: notes\n"), stdout)
      const json = yield* portolan(["config", "show", "--json"], { cwd, env })
      const shown = JSON.parse(json.stdout)
      assert.deepInclude(shown.settings, { path: "gateway.port", value: 7421, origin: "file" })
      assert.deepStrictEqual([shown.registries.length, shown.servers], [2, ["notes"]])
      assert.notInclude(stdout + json.stdout, "hush")

      const broken = yield* directory({ "portolan.yaml": "gateway: { prot: 1 }\n" })
      const refused = yield* portolan(["config", "show"], { cwd: broken })
      assert.deepStrictEqual([refused.code, refused.stdout], [2, ""])
      assert.include(refused.stderr, "portolan.yaml:1:12: gateway.prot: unknown key; did you mean \"port\"?")
    }), 30_000)
})
