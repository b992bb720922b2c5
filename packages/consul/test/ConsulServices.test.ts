/** What a session of services does with answers that a real Consul gives too rarely. */
import { assert, describe, it } from "@effect/vitest"
import * as ConsulRegistry from "@portolan/consul/ConsulRegistry"
import type { RegistryEvent } from "@portolan/core/Registry"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Catalogs from "./Catalogs.ts"
import * as ScriptedConsul from "./ScriptedConsul.ts"

const a = ScriptedConsul.entry("a")
const b = ScriptedConsul.entry("b")
const services = { consul: [], weather: ["mcp"] }

type Script = Parameters<typeof ScriptedConsul.make>[0]

/** A script for each path; the service is always there and no check is critical, unless it says so. */
const scripted = (scripts: Readonly<Record<string, Script>>) =>
  ScriptedConsul.make((query, earlier) => {
    const script = scripts[query.path]
    if (script !== undefined) return script(query, earlier)
    if (query.index !== undefined) return undefined
    return query.path === "health/state/critical"
      ? { index: 1, body: [] }
      : query.path === "catalog/services"
      ? { index: 3, body: services }
      : { index: 7, body: query.path.startsWith("catalog/service/") ? [] : [a] }
  })

/** Answers in turn, then waits. */
const inTurn = (...answers: ReadonlyArray<ScriptedConsul.Answer>): Script => (_, earlier) => answers[earlier.length]

const indexesOf = (queries: ReadonlyArray<ScriptedConsul.Query>, path: string) =>
  queries.filter((query) => query.path === path).map(({ index }) => index)

/** A running session, and what it said so far. */
const session = (options: ConsulRegistry.ConsulRegistryOptions) =>
  Effect.gen(function*() {
    const registry = yield* ConsulRegistry.make(options)
    const said: Array<RegistryEvent> = []
    yield* registry.watch.pipe(
      Stream.runForEach((event) => Effect.sync(() => void said.push(event))),
      Effect.forkScoped
    )
    return said
  })

describe("services of a scripted consul", () => {
  it.live("C1 an index that goes back ends the session, and the next one asks from the beginning", () =>
    Effect.gen(function*() {
      const { queries, url } = yield* scripted({
        "catalog/services": inTurn(
          { index: 15, body: services },
          { index: 14, body: services },
          { index: 14, body: services }
        ),
        "health/service/weather": inTurn({ index: 7, body: [a] }, { index: 7, body: [a, b] })
      })
      const catalog = yield* Catalogs.make({ url })
      const lost: Array<string | undefined> = []
      yield* catalog.discovery.updates.pipe(
        Stream.runForEach(() => Effect.sync(() => void lost.push(catalog.source()?.lastError))),
        Effect.forkScoped
      )
      yield* Catalogs.eventually(() => catalog.changes().length === 2)
      assert.deepStrictEqual(indexesOf(queries, "catalog/services").slice(0, 3), [undefined, "15", undefined])
      assert.deepStrictEqual(catalog.changes(), ["Added a", "Added b"])
      assert.include(lost, "Consul's index went back from 15 to 14")
    }))

  it.live("C2 an index of 0 is never sent back", () =>
    Effect.gen(function*() {
      const { queries, url } = yield* scripted({
        "catalog/services": (query) => query.index === undefined ? { index: 0, body: {} } : undefined
      })
      yield* session({ url })
      yield* Catalogs.eventually(() => indexesOf(queries, "catalog/services").length === 2)
      assert.deepStrictEqual(indexesOf(queries, "catalog/services"), [undefined, "1"])
    }))

  it.live("C3 a query that waited in vain says that Consul is there, and nothing is read again", () =>
    Effect.gen(function*() {
      const unchanged = { index: 3, body: services }
      const { queries, url } = yield* scripted({ "catalog/services": inTurn(unchanged, unchanged, unchanged) })
      const said = yield* session({ url })
      yield* Catalogs.eventually(() => said.length === 4)
      assert.deepStrictEqual(said.map(({ _tag }) => _tag), ["Groups", "Snapshot", "Alive", "Alive"])
      assert.strictEqual(queries.filter(({ path }) => path.endsWith("/weather")).length, 1)
    }))

  it.live("C4 an index that grows without a change: nothing is read or published, no hot loop", () =>
    Effect.gen(function*() {
      const { queries, url } = yield* scripted({
        "catalog/services": (_, earlier) => ({ index: 10 + earlier.length, body: services })
      })
      const catalog = yield* Catalogs.make({ url })
      yield* catalog.until(() => catalog.ids() === "a")
      const revision = catalog.discovery.catalog().revision
      // As many as there are for the first second may come at once.
      yield* Catalogs.eventually(() => indexesOf(queries, "catalog/services").length >= 12)
      const before = queries.length
      yield* Effect.sleep("2 seconds")
      assert.isAtMost(queries.length - before, 2 * 2 * 10 + 4)
      assert.strictEqual(queries.filter(({ path }) => path === "health/service/weather").length, 1)
      assert.strictEqual(catalog.discovery.catalog().revision, revision)
    }))

  it.live("C5 an empty answer of an index that went back never empties the catalog", () =>
    Effect.gen(function*() {
      const entries = Array.from({ length: 6 }, (_, n) => ScriptedConsul.entry(String(n)))
      const { url } = yield* scripted({
        "catalog/services": inTurn(
          { index: 400, body: services },
          { index: 1, body: {} },
          // What the next session is told first may be as wrong.
          { index: 1, body: {} },
          { index: 500, body: services }
        ),
        "health/service/weather": (_, earlier) => ({ index: 400 + earlier.length, body: entries })
      })
      const catalog = yield* Catalogs.make({ url })
      yield* catalog.until(() => catalog.source()?.reconnects === 1 && catalog.source()?.held === 0)
      assert.strictEqual(catalog.ids(), "0,1,2,3,4,5")
      assert.deepStrictEqual(catalog.changes().filter((change) => change.startsWith("Removed")), [])
    }))

  for (
    const [title, second] of [
      ["", undefined],
      [", also where the first session to see it ends half-way", { index: 50, status: 500, body: "No cluster leader" }]
    ] as const
  ) {
    it.live(`C5 what is missing after an index went back is held, however little it is${title}`, () =>
      Effect.gen(function*() {
        const entries = (count: number) => Array.from({ length: count }, (_, n) => ScriptedConsul.entry(String(n)))
        const { url } = yield* scripted({
          "catalog/services": ({ index }, earlier) =>
            index === undefined || index === "400"
              ? { index: earlier.length === 0 ? 400 : 50, body: services }
              : undefined,
          "health/service/weather": inTurn(
            { index: 400, body: entries(6) },
            ...(second === undefined ? [] : [second]),
            { index: 50, body: entries(4) }
          )
        })
        const catalog = yield* Catalogs.make({ url })
        yield* catalog.until(() => catalog.source()?.reconnects === 1)
        assert.strictEqual(catalog.source()?.held, 2)
        assert.deepStrictEqual(catalog.changes().filter((change) => change.startsWith("Removed")), [])
      }))
  }

  it.live("C5 what is missing where the index is as it was, is gone", () =>
    Effect.gen(function*() {
      const entries = (count: number) => Array.from({ length: count }, (_, n) => ScriptedConsul.entry(String(n)))
      const { url } = yield* scripted({
        "catalog/services": inTurn(
          { index: 400, body: services },
          { index: 400, status: 500, body: "No cluster leader" },
          { index: 400, body: services }
        ),
        "health/service/weather": inTurn({ index: 400, body: entries(6) }, { index: 400, body: entries(4) })
      })
      const catalog = yield* Catalogs.make({ url })
      yield* catalog.until(() => catalog.source()?.reconnects === 1)
      assert.strictEqual(catalog.source()?.held, 0)
      assert.strictEqual(catalog.ids(), "0,1,2,3")
    }))

  it.live("C7, C8 an error, or a server without leader, ends a session and not the watch", () =>
    Effect.gen(function*() {
      const { url } = yield* scripted({
        "catalog/services": inTurn(
          { index: 1, status: 400, body: "bad request" },
          { index: 1, status: 500, body: "No cluster leader" },
          { index: 1, leader: false, body: {} },
          { index: 1, body: "<html>" },
          { index: 3, body: services }
        )
      })
      const catalog = yield* Catalogs.make({ url })
      yield* catalog.until(() => catalog.ids() === "a")
    }))

  it.live("C7 stale reads go on without a leader, but not for ever", () =>
    Effect.gen(function*() {
      const last = (lastContact: number): Script => () => ({ index: 3, leader: false, lastContact, body: {} })
      const list = (script: Script, stale: boolean) =>
        Effect.gen(function*() {
          const { queries, url } = yield* scripted({ "catalog/services": script })
          const registry = yield* ConsulRegistry.make({ url, stale })
          return { answer: yield* Effect.result(registry.list), modes: queries.map(({ mode }) => mode) }
        })
      const fresh = yield* list(last(20_000), true)
      assert.strictEqual(fresh.answer._tag, "Success")
      assert.deepStrictEqual(fresh.modes, ["stale"])
      const old = yield* list(last(61_000), true)
      assert.include(String(old.answer), "has not heard its leader for over a minute")
      const strict = yield* list(last(0), false)
      assert.include(String(strict.answer), "Consul has no leader")
      assert.deepStrictEqual(strict.modes, ["consistent"])
    }))

  it.effect("C9 a query is given its wait, the sixteenth that Consul adds, and 8 s to answer", () =>
    Effect.gen(function*() {
      const { queries, url } = yield* scripted({})
      const registry = yield* ConsulRegistry.make({ url, wait: "16 seconds" })
      const fiber = yield* Effect.forkScoped(Effect.flip(Stream.runDrain(registry.watch)))
      const asked = Effect.promise(async () => {
        while (indexesOf(queries, "catalog/services").length < 2) await new Promise((done) => setImmediate(done))
      })
      yield* asked
      yield* TestClock.adjust(Duration.sum(Duration.seconds(17), Duration.millis(7900)))
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("200 millis")
      const { message } = yield* Fiber.join(fiber)
      assert.match(message, /^consul: watch: Consul did not answer \S+ within 25000 ms$/)
    }))

  it.live("C13 the same index with other content after a restart is read all the same", () =>
    Effect.gen(function*() {
      const { url } = yield* scripted({
        "catalog/services": inTurn(
          { index: 3, body: services },
          { index: 3, status: 500, body: "rpc error" },
          { index: 3, body: services }
        ),
        "health/service/weather": inTurn({ index: 7, body: [a] }, { index: 7, body: [b] })
      })
      const catalog = yield* Catalogs.make({ url })
      yield* catalog.until(() => catalog.ids() === "b")
    }))

  it.live("H5 a fleet that runs out at once is held, also when Consul forgets it", () =>
    Effect.gen(function*() {
      const ids = ["0", "1", "2", "3", "4", "5"]
      const checks = (Status: string) =>
        ids.map((id) => ({
          Node: "one",
          CheckID: `portolan:${id}:first`,
          Status,
          ServiceID: id,
          ServiceName: "weather"
        }))
      const fleet = (Status: string) =>
        ids.map((id, n) =>
          ScriptedConsul.entry(id, {
            Service: { Meta: { "portolan-incarnation": "first" } },
            Checks: [checks(Status)[n]!]
          })
        )
      let state: "well" | "expired" | "forgotten" = "well"
      const { queries, url } = yield* scripted({
        "catalog/services": () => state === "forgotten" ? { index: 20, body: {} } : { index: 3, body: services },
        "health/state/critical": () =>
          state === "well" ? { index: 1, body: [] } : { index: 8, body: checks("critical") },
        "catalog/service/weather": () => ({ index: state === "well" ? 7 : 8, body: [] }),
        "health/service/weather": () =>
          state === "well" ? { index: 7, body: fleet("passing") } : { index: 8, body: fleet("critical") }
      })
      const catalog = yield* Catalogs.make({ url })
      yield* catalog.until(() => catalog.entries().length === 6)
      state = "expired"
      yield* Catalogs.eventually(() => catalog.source()?.held === 6)
      state = "forgotten"
      // What was answered before is dealt with by then.
      yield* Catalogs.eventually(() =>
        indexesOf(queries, "catalog/services").filter((index) => index === "20").length >= 3
      )
      assert.strictEqual(catalog.source()?.held, 6)
      assert.deepStrictEqual(catalog.changes().filter((change) => change.startsWith("Removed")), [])
    }))

  it.live("a check that turns critical makes its service be read, one of a node all of them", () =>
    Effect.gen(function*() {
      const critical = (ServiceName: string, ServiceID = ServiceName) => [
        { Node: "one", CheckID: "c", ServiceID, ServiceName }
      ]
      const { queries, url } = yield* scripted({
        "catalog/services": inTurn({ index: 3, body: { ...services, climate: ["mcp"] } }),
        "health/state/critical": inTurn(
          { index: 1, body: [] },
          { index: 4, body: critical("weather") },
          // Another check of the node changed, and Consul woke for nothing.
          { index: 5, body: critical("weather") },
          // It is the check of another instance now.
          { index: 6, body: critical("weather", "another") },
          { index: 7, body: critical("") }
        )
      })
      yield* session({ url })
      const asked = () =>
        queries.flatMap(({ path }) =>
          path.startsWith("catalog/service/") ? [path.slice("catalog/service/".length)] : []
        )
      yield* Catalogs.eventually(() => asked().length === 4)
      assert.deepStrictEqual(asked().slice(0, 2), ["weather", "weather"])
      assert.deepStrictEqual(asked().toSorted(), ["climate", "weather", "weather", "weather"])
    }))
})
