/**
 * The lists of a gateway, their conditions, and what is said where nothing meets them.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { gateway, registry } from "./fleet.ts"
import { served } from "./mcpServer.ts"
import { portolan } from "./process.ts"

const fleet = Effect.gen(function*() {
  const weather = yield* served({ tools: [{ name: "get_forecast" }, { name: "get_alerts" }] })
  const memory = yield* served({ tools: [{ name: "read_graph" }] })
  const services = [
    ["weather-1", "weather", weather.url, {
      region: "eu",
      tags: ["prod"],
      version: "1.4.0",
      capabilities: ["x.alerts"]
    }],
    ["weather-2", "weather", weather.url, { region: "us", version: "1.3.0" }],
    ["memory-1", "memory", memory.url, { tags: ["prod"], metadata: { team: "a b" } }],
    ["db-tools", "db", "nowhere", {}]
  ] as const
  const text = registry(
    ...services.map(([id, service, url, more]) => ({
      id,
      service,
      endpoint: { transport: "streamable-http", url },
      ...more
    }))
  )
  const running = yield* gateway({ registries: [{ type: "file", name: "local", path: "fleet.json" }] }, {
    "fleet.json": text
  })
  return (...args: ReadonlyArray<string>) => portolan(args, { env: { PORTOLAN_URL: running.url } })
})

const first = (text: string) => text.trimEnd().split("\n").slice(1).map((line) => line.split(/ +/)[0])

describe("lists", () => {
  it.live("take conditions", () =>
    Effect.gen(function*() {
      const ask = yield* fleet
      for (
        const [command, found] of [
          [["instances"], ["memory-1", "weather-1", "weather-2"]],
          [["instances", "service=weather", "region=eu"], ["weather-1"]],
          [["instances", "version=>=1.3 <1.4"], ["weather-2"]],
          [["instances", "metadata.team=a b"], ["memory-1"]],
          [["instances", "tag=prod", "id!=memory-*"], ["weather-1"]],
          [["services"], ["memory", "weather"]],
          [["services", "region=us"], ["weather"]],
          [["tools"], ["memory__read_graph", "weather__get_alerts", "weather__get_forecast"]],
          [["tools", "forecast"], ["weather__get_forecast"]],
          [["tools", "alerts", "region=us"], ["weather__get_alerts"]],
          [["tools", "get", "region=us"], ["weather__get_alerts", "weather__get_forecast"]],
          [["tools", "--service", "memory"], ["memory__read_graph"]]
        ] as const
      ) {
        const people = yield* ask(...command)
        assert.deepStrictEqual([people.code, people.stderr], [0, ""], command.join(" "))
        assert.deepStrictEqual(first(people.stdout), [...found], command.join(" "))
      }
      const json = yield* ask("tools", "forecast", "--json")
      assert.deepInclude(JSON.parse(json.stdout)[0], { name: "weather__get_forecast", service: "weather" })
    }), 120_000)

  it.live("say which name was meant where nothing is found, and how to see more", () =>
    Effect.gen(function*() {
      const ask = yield* fleet
      for (
        const [command, said] of [
          [["instances", "service=weathr"], "no instance meets these conditions; did you mean \"weather\"?\n"],
          [["instances", "id=memory-2"], "no instance meets these conditions; did you mean \"memory-1\"?\n"],
          [["instances", "source=locla"], "no instance meets these conditions; did you mean \"local\"?\n"],
          [["services", "service=wether"], "no service meets these conditions; did you mean \"weather\"?\n"],
          [["tools", "--service", "memroy"], "no tool meets these conditions; did you mean \"memory\"?\n"],
          [["tools", "alerts", "region=mars"], "no tool meets these conditions; `portolan tools` lists all\n"],
          [["tools", "sunshine"], "no tool meets these conditions; `portolan tools` lists all\n"],
          [["instances", "region=mars"], "no instance meets these conditions; `portolan instances` lists all\n"]
        ] as const
      ) {
        const { code, stderr, stdout } = yield* ask(...command)
        assert.deepStrictEqual([code, stdout, stderr], [0, "", said], command.join(" "))
        assert.strictEqual((yield* ask(...command, "--json")).stdout, "[]\n")
      }
      const wrong = yield* ask("instances", "servce=weather")
      assert.deepStrictEqual([wrong.code, wrong.stdout], [2, ""])
      assert.include(wrong.stderr, "servce")
      const unknown = yield* ask("call", "get_forecast")
      assert.strictEqual(unknown.code, 1)
      assert.include(unknown.stderr, "weather__get_forecast")
    }), 120_000)

  it.live("tell of rejected records and of nothing at all", () =>
    Effect.gen(function*() {
      const ask = yield* fleet
      const { stdout } = yield* ask("status")
      assert.match(
        stdout,
        /local +file +connected .* 3 .*1 rejected: "db-tools" endpoint\.url: expected an http\(s\) URL/
      )
      const empty = yield* gateway({})
      const nothing = (...args: ReadonlyArray<string>) => portolan([...args, "--url", empty.url])
      assert.include((yield* nothing("status")).stdout, "no registries and no servers: name some in portolan.yaml")
      for (const what of ["service", "instance", "tool"]) {
        const found = yield* nothing(`${what}s`)
        assert.deepStrictEqual([found.code, found.stdout], [0, ""])
        assert.match(found.stderr, new RegExp(`^no ${what}s: nothing is announced; .*portolan.yaml\n$`))
      }
    }), 120_000)
})
