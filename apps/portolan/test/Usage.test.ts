/**
 * What is said of a wrong command line, to people and to programs.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { portolan } from "./process.ts"

const wrong = [
  [["stauts"], "unknown command \"stauts\"; did you mean \"status\"?"],
  [["registre", "x"], "unknown command \"registre\"; did you mean \"register\"?"],
  [["config", "scheme"], "unknown command \"scheme\"; did you mean \"schema\"?"],
  [["status", "--jsno"], "unknown flag --jsno; did you mean \"--json\"?"],
  [["call", "x", "--arsg", "{}"], "unknown flag --arsg; did you mean \"--args\"?"],
  [["call", "x", "--tiemout=3s"], "unknown flag --tiemout; did you mean \"--timeout\"?"],
  [["mark", "x", "drainin"], "as: expected one of up, draining, down, got \"drainin\"; did you mean \"draining\"?"],
  [["up", "--verbose"], "unknown flag --verbose"],
  [["status", "--token"], "--token: needs a value"],
  [["call"], "missing required argument: tool"],
  [["call", "x", "--timeout", "3"], "--timeout: expected a duration such as 250ms, 30s or 5m, got \"3\""]
] as const

describe("a wrong command line", () => {
  it.live("is told in a line that names what was meant, and where help is", () =>
    Effect.gen(function*() {
      for (const [args, said] of wrong) {
        const { code, stderr, stdout } = yield* portolan(args)
        assert.deepStrictEqual([code, stdout], [2, ""], args.join(" "))
        const [first, second, ...rest] = stderr.split("\n")
        assert.strictEqual(first, said)
        assert.match(second ?? "", /^see `portolan( \w+)* --help`$/)
        assert.deepStrictEqual(rest, [""])
      }
    }), 120_000)

  it.live("is told as JSON where JSON is asked for", () =>
    Effect.gen(function*() {
      for (const [args, message] of [wrong[0], wrong[6]]) {
        const { code, stderr, stdout } = yield* portolan([...args, "--json"])
        assert.deepStrictEqual([code, stdout], [2, ""])
        assert.deepStrictEqual(JSON.parse(stderr), { error: { message, status: 2 } })
      }
      const nobody = yield* portolan(["status", "--json", "--url", "http://127.0.0.1:1"])
      assert.deepStrictEqual([nobody.code, nobody.stdout], [1, ""])
      assert.deepInclude(JSON.parse(nobody.stderr).error, { status: 1 })
      assert.include(JSON.parse(nobody.stderr).error.message, "no gateway answers at http://127.0.0.1:1")
      // A command's own flag of that name is not ours.
      const own = yield* portolan(["register", "x", "--", "no-such-program", "--json"])
      assert.strictEqual(own.stderr, "say where it is reached: give either --url or --endpoint\n")
    }), 120_000)

  it.live("may name the gateway before the command", () =>
    Effect.gen(function*() {
      for (
        const [args, code, said] of [
          [["--url", "http://127.0.0.1:1", "status"], 1, "no gateway answers at http://127.0.0.1:1:"],
          [
            ["--json", "--token=t", "--url=http://127.0.0.1:1", "status"],
            1,
            "no gateway answers at http://127.0.0.1:1:"
          ],
          [
            ["--log-level", "info", "--url", "http://127.0.0.1:1", "refresh", "x"],
            1,
            "no gateway answers at http://127.0.0.1:1:"
          ],
          [["--url", "http://127.0.0.1:1", "deregister", "x"], 1, "no gateway answers at http://127.0.0.1:1:"],
          // Its own `--url` is the address of the instance.
          [["--url", "http://127.0.0.1:1", "register", "x"], 2, "say where it is reached"],
          [["--url", "http://127.0.0.1:1", "up"], 2, "unknown flag --url"],
          [["--url", "http://127.0.0.1:1"], 2, "unknown flag --url"],
          [["watch", "--topics", ","], 2, "--topics: expected catalog, health, figures, sources, got \"\""]
        ] as const
      ) {
        const ran = yield* portolan(args)
        assert.deepStrictEqual([ran.code, ran.stdout], [code, ""], args.join(" "))
        assert.include(ran.stderr, said, args.join(" "))
      }
    }), 120_000)

  it.live("shows help where it is asked for, on standard output", () =>
    Effect.gen(function*() {
      for (
        const [args, said] of [
          [[], "SUBCOMMANDS|Look:"],
          [["--help"], "completions +Print a script"],
          [["register", "--help"], "portolan register weather --url .* -- node server\\.js"],
          [["watch", "-h"], "--topics"]
        ] as const
      ) {
        const { code, stderr, stdout } = yield* portolan(args)
        assert.deepStrictEqual([code, stderr], [0, ""])
        assert.match(stdout, new RegExp(said))
      }
    }), 120_000)
})
