import { assert, describe, it } from "@effect/vitest"
import * as Catalog from "@portolan/core/Catalog"
import { Health } from "@portolan/core/Health"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import { Registries } from "@portolan/core/Registries"
import * as Registry from "@portolan/core/Registry"
import { Router } from "@portolan/core/Router"
import * as Changes from "@portolan/gateway/rest/Changes"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Answer, instance } from "./fleet.ts"
import { instances, problem, record, type Rest, rest, until } from "./rest.ts"

const Page = Schema.Struct({ items: Schema.Array(Changes.Change), nextCursor: Schema.optionalKey(Schema.String) })
const decode = Schema.decodeUnknownSync(Page, { onExcessProperty: "error" })
const page = (answer: Answer) => decode(answer.json)

const told = (get: Rest["get"], query = "") =>
  Effect.map(
    get(`/changes${query}`),
    (answer) =>
      page(answer).items.map(({ instance, source, reason, status, type }) =>
        [type, instance ?? source, ...status === undefined ? [] : [status], reason].join(" ")
      )
  )

/** A call of the service, which this instance fails. */
const call = (failing?: string) =>
  Effect.flatMap(Router, (router) =>
    Effect.exit(router.route(
      { target: { service: "weather" }, repeatable: false },
      ({ id }) =>
        id === failing
          ? Effect.fail({ error: "no", phase: "answered", blame: "instance", reason: "refused" } as const)
          : Effect.void
    )))

describe("changes", () => {
  it.live("tell what happened and why, the newest first", () =>
    rest({}, ({ get, send }) =>
      Effect.gen(function*() {
        yield* send("POST", "/instances", record("maps-1"))
        yield* send("PUT", "/instances/maps-1", record("maps-1", { tags: ["x"], weight: 3 }))
        yield* send("PUT", "/instances/maps-1/mark", { as: "draining", reason: "to be moved" })
        yield* send("PUT", "/instances/maps-1/mark", { as: "draining", reason: "it is late" })
        yield* until(Effect.map(told(get), ([newest]) => newest?.endsWith("it is late") === true))
        yield* send("DELETE", "/instances/maps-1")
        yield* until(Effect.map(told(get), ([newest]) => newest?.startsWith("removed") === true))
        const all = yield* told(get)
        assert.deepEqual(all.filter((line) => line.includes("maps-1")), [
          "removed maps-1 no longer announced by memory",
          // It drains before it goes.
          "updated maps-1 status up → draining",
          "health maps-1 draining marked draining: it is late",
          "health maps-1 draining marked draining: to be moved",
          "updated maps-1 tags, weight 1 → 3",
          "added maps-1 announced by memory"
        ])
      })))

  const late = Registry.make({
    name: "late",
    type: "static",
    list: Effect.succeed(Registry.snapshot([instance("late-1")])),
    watch: Stream.concat(Stream.succeed(Registry.snapshot([instance("late-1")])), Stream.never)
  })

  it.live("go on where a page ended, and can be of one service or source", () =>
    rest({ instances, registries: [late] }, ({ get }) =>
      Effect.gen(function*() {
        yield* until(Effect.map(told(get, "?source=late"), ([newest]) => newest === "added late-1 announced by late"))
        assert.strictEqual((yield* told(get, "?source=late"))[1], "source late connected connected: 1 instance")
        const all = page(yield* get("/changes")).items
        const ids = all.map(({ id }) => id)
        assert.deepEqual(ids, ids.toSorted().toReversed())
        const read: Array<string> = []
        let query = "?limit=2"
        while (true) {
          const { items, nextCursor } = page(yield* get(`/changes${query}`))
          assert.isAtMost(items.length, 2)
          read.push(...items.map(({ id }) => id))
          if (nextCursor === undefined) break
          query = `?limit=2&before=${nextCursor}`
        }
        assert.deepEqual(read, ids)
        const services = new Set(page(yield* get("/changes?service=weather")).items.map(({ service }) => service))
        assert.deepEqual(Array.from(services), ["weather"])
        assert.deepEqual(yield* told(get, "?source=nowhere"), [])
        assert.include(
          problem(yield* get("/changes?before=yesterday"), 400).detail,
          "before: expected the id of a change"
        )
        problem(yield* get("/changes?limit=0"), 400)
      })))

  it.live("tell how an instance is ejected and comes back", () =>
    rest({ instances: [instance("weather-a"), instance("weather-b")] }, ({ get }) =>
      Effect.gen(function*() {
        const circuits = Effect.map(get("/changes?service=weather"), (answer) =>
          page(answer).items.filter(({ type }) =>
            type === "health"
          ).map(({ circuit, instance, previous, status }) =>
            `${instance}: ${previous} → ${status}${circuit === undefined ? "" : `, ${circuit}`}`
          ))
        yield* until(Effect.andThen(call("weather-a"), Effect.map(circuits, ({ length }) => length === 1)))
        assert.deepEqual(yield* circuits, ["weather-a: unknown → unhealthy, open"])
        // Trial calls are taken after about a second.
        yield* until(Effect.andThen(call(), Effect.map(circuits, ({ length }) => length === 3)))
        assert.deepEqual(yield* circuits, [
          "weather-a: unhealthy → unknown",
          "weather-a: unhealthy → unhealthy, half-open",
          "weather-a: unknown → unhealthy, open"
        ])
      })))
})

describe("the log of changes", () => {
  const layer = (kept?: number) =>
    Changes.layer({ kept }).pipe(
      Layer.provideMerge(MemoryRegistry.layer({ name: "first" })),
      Layer.provideMerge(Portolan.layer())
    )

  const many = (count: number) => Array.from({ length: count }, (_, at) => instance(`many-${at}`))

  const until = (holds: (items: ReadonlyArray<Changes.Change>) => boolean) =>
    Effect.gen(function*() {
      const changes = yield* Changes.Changes
      while (!holds(changes.list({ limit: 1_000 }).items)) yield* Effect.sleep("10 millis")
      return changes.list({ limit: 1_000 }).items
    }).pipe(Effect.timeout("10 seconds"))

  it.live("tells what happens to many at once as one change", () =>
    Effect.gen(function*() {
      const registries = yield* Registries
      const scope = yield* Scope.make()
      yield* Effect.gen(function*() {
        yield* registries.add(yield* MemoryRegistry.make({ name: "large", instances: many(500) }))
      }).pipe(Scope.provide(scope))
      const [came] = (yield* until((items) => items.some(({ type }) => type === "added")))
        .filter(({ type }) => type === "added")
      assert.deepInclude(came, { source: "large", reason: "500 instances of many announced" })
      assert.isUndefined(came?.instance)
      yield* Scope.close(scope, Exit.void)
      const gone = (yield* until((items) => items.some(({ type }) => type === "removed")))
        .filter(({ source }) => source === "large")
      assert.isTrue(gone.some(({ reason, type }) => type === "removed" && reason === "500 instances of many gone"))
      assert.isTrue(
        gone.some(({ reason, status, type }) =>
          type === "source" && status === undefined && reason === "no longer asked"
        )
      )
    }).pipe(Effect.provide(layer())))

  it.live("keeps so many and no more", () =>
    Effect.gen(function*() {
      const registries = yield* Registries
      const health = yield* Health
      const changes = yield* Changes.Changes
      yield* registries.add(yield* MemoryRegistry.make({ name: "small", instances: many(1) }))
      yield* until((items) => items.some(({ instance }) => instance === "many-0"))
      for (let mark = 0; mark < 30; mark++) {
        yield* health.override(Catalog.key("small", "many-0"), mark % 2 === 0 ? "down" : "draining", `mark ${mark}`)
      }
      const items = yield* until(([newest]) => newest?.reason.endsWith("mark 29") === true)
      assert.strictEqual(items.length, 10)
      assert.strictEqual(items.at(-1)?.reason, "marked down: mark 20")
      assert.isUndefined(changes.list({ limit: 10 }).nextCursor)
      assert.strictEqual(changes.list({ limit: 9 }).nextCursor, items[8]?.id)
    }).pipe(Effect.provide(layer(10))))
})
