/**
 * `login`: a person agrees in a browser, and the token is where the gateway looks for it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { authorizing } from "./authorization.ts"
import { background, directory, portolan, until } from "./process.ts"

const folder = (url: string) =>
  Effect.map(
    directory({
      "portolan.json": JSON.stringify({
        mcpServers: {
          mail: { type: "http", url, auth: { type: "authorization-code", store: "./mail-token.json" } },
          files: { command: "files" }
        }
      })
    }),
    (cwd) => ({ cwd, env: { XDG_STATE_HOME: cwd, XDG_CONFIG_HOME: cwd, XDG_DATA_HOME: cwd, HOME: cwd } })
  )

const opened = (said: string) => /https?:\S+\/authorize\?\S+/.exec(said)?.[0]

describe("login", () => {
  it.live("stores the token of whoever agrees", () =>
    Effect.gen(function*() {
      const { url } = yield* authorizing()
      const at = yield* folder(url)
      const running = yield* background(["login", "mail"], at)
      yield* until(Effect.sync(() => opened(running.out()) !== undefined), 20_000)
      assert.match(running.out(), /^Open this address in a browser and agree:\n\n {2}http/)
      yield* Effect.promise(() => fetch(opened(running.out()) ?? ""))
      const { code, stderr, stdout } = yield* running.ended
      assert.deepStrictEqual([code, stderr], [0, ""])
      const [, file = ""] = /mail: authorised; the token is in (\S+), and it is renewed without you\n$/.exec(stdout) ??
        []
      assert.include(Fs.readFileSync(Path.resolve(at.cwd, file), "utf8"), "the-access-token")
      assert.notInclude(stdout, "the-access-token")
    }), 120_000)

  it.live("says what became of it otherwise", () =>
    Effect.gen(function*() {
      const { url } = yield* authorizing({ refuse: true })
      const at = yield* folder(url)
      const running = yield* background(["login", "mail", "--json"], at)
      yield* until(Effect.sync(() => running.out().includes("\n")), 20_000)
      yield* Effect.promise(() => fetch(JSON.parse(running.out()).open))
      const { code, stderr } = yield* running.ended
      assert.strictEqual(code, 1)
      assert.match(JSON.parse(stderr).error.message, /^mail: authorisation refused: access_denied/)
      const late = yield* portolan(["login", "mail", "--timeout", "100ms"], at)
      assert.deepInclude(late, { code: 1, stderr: "mail: nobody came back from the browser in time\n" })
      for (
        const [server, said] of [
          ["mial", "portolan.json has no server \"mial\"; did you mean \"mail\"?\n"],
          ["files", "files needs no login: its `auth` in portolan.json isn't of type authorization-code\n"]
        ] as const
      ) assert.deepInclude(yield* portolan(["login", server], at), { code: 2, stdout: "", stderr: said })
    }), 120_000)
})
