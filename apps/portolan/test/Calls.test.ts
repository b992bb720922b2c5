/**
 * `call`: arguments from a file, a limit of time, progress.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { gateway, metric } from "./fleet.ts"
import { background, portolan, until } from "./process.ts"

const server = fileURLToPath(new URL("server.mjs", import.meta.url))

const calls = Effect.gen(function*() {
  const { cwd, url } = yield* gateway({
    mcpServers: { svc: { command: process.execPath, args: [server, "progress"] } }
  }, {
    "args.json": "{\"text\":\"from a file\"}",
    "list.json": "[]"
  })
  return {
    cwd,
    url,
    call: (args: ReadonlyArray<string>, input?: string) =>
      portolan(["call", ...args], { cwd, env: { PORTOLAN_URL: url }, ...(input === undefined ? {} : { input }) })
  }
})

describe("call", () => {
  it.live("takes arguments from a file or standard input", () =>
    Effect.gen(function*() {
      const { call, cwd } = yield* calls
      const file = yield* call(["svc__echo", "--args-file", "args.json"])
      assert.deepInclude(file, { code: 0, stdout: "from a file\n", stderr: "" })
      const input = yield* call(["svc__echo", "--args-file", "-"], "{\"text\":\"from input\"}")
      assert.deepInclude(input, { code: 0, stdout: "from input\n", stderr: "" })
      for (
        const [args, said] of [
          [["--args-file", "none.json"], /^--args-file: can't read it: ENOENT/],
          [["--args-file", Path.join(cwd, "list.json")], /^--args-file .*list\.json: expected a JSON object\n$/],
          [["--args-file", "args.json", "--args", "{}"], /^--args and --args-file: give one of them\n$/]
        ] as const
      ) {
        const { code, stderr, stdout } = yield* call(["svc__echo", ...args])
        assert.deepStrictEqual([code, stdout], [2, ""])
        assert.match(stderr, said)
      }
    }), 120_000)

  it.live("waits no longer than it may", () =>
    Effect.gen(function*() {
      const { call } = yield* calls
      const start = performance.now()
      const late = yield* call(["svc__wait", "--args", "{\"ms\":60000}", "--timeout", "300ms"])
      assert.deepInclude(late, { code: 1, stdout: "", stderr: "svc__wait: no answer within 300ms; it was cancelled\n" })
      assert.isBelow(performance.now() - start, 15_000)
      const soon = yield* call(["svc__wait", "--args", "{\"ms\":10}", "--timeout", "30s"])
      assert.deepInclude(soon, { code: 0, stdout: "waited\n" })
    }), 120_000)

  it.live("is cancelled by Ctrl-C", () =>
    Effect.gen(function*() {
      const { url } = yield* calls
      const running = yield* background(["call", "svc__wait", "--args", "{\"ms\":60000}", "--url", url])
      const inFlight = metric({ url }, "portolan_mcp_calls_in_flight")
      yield* until(Effect.map(inFlight, (count) => count === 1), 20_000)
      running.kill("SIGINT")
      assert.deepInclude(yield* running.ended, { code: 130, stdout: "", stderr: "" })
      yield* until(Effect.map(inFlight, (count) => count === 0), 20_000)
    }), 120_000)

  it.live("tells the progress of the tool where that is asked for, and nowhere else", () =>
    Effect.gen(function*() {
      const { call } = yield* calls
      assert.deepInclude(yield* call(["svc__steps"]), { code: 0, stdout: "all steps\n", stderr: "" })
      assert.deepInclude(yield* call(["svc__steps", "--progress"]), {
        code: 0,
        stdout: "all steps\n",
        stderr: "svc__steps  33 %  step 1\nsvc__steps  67 %  step 2\nsvc__steps  100 %  step 3\n"
      })
      const json = yield* call(["svc__steps", "--progress", "--json"])
      assert.deepStrictEqual(JSON.parse(json.stdout).content, [{ type: "text", text: "all steps" }])
    }), 120_000)
})
