import { assert, describe, it } from "@effect/vitest"
import type { Balancer } from "@portolan/core/Balancer"
import { Discovery } from "@portolan/core/Discovery"
import { Health } from "@portolan/core/Health"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import { Registries } from "@portolan/core/Registries"
import type * as Registry from "@portolan/core/Registry"
import { Router } from "@portolan/core/Router"
import { Gateway } from "@portolan/gateway/Gateway"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as fc from "fast-check"
import { type IncomingMessage, request } from "node:http"
import { createGunzip } from "node:zlib"
import { ask, fleet, type FleetOptions, instance } from "./fleet.ts"
import { apply, comparable, empty, watch } from "./watcher.ts"

type Services = Gateway | Registries | Discovery | Health | Router | Balancer

const served = <A, E>(options: FleetOptions, use: (port: number) => Effect.Effect<A, E, Services | Scope.Scope>) =>
  Effect.flatMap(Gateway, ({ port }) =>
    Effect.andThen(
      ask(port, "/readyz").pipe(
        Effect.repeat({ until: ({ status }) => status === 200, schedule: Schedule.spaced("20 millis") }),
        Effect.timeout("10 seconds")
      ),
      Effect.suspend(() => use(port))
    )).pipe(Effect.provide(fleet(options)))

const instances = [instance("weather-a"), instance("weather-b"), instance("db-1")]

/** A call that goes to an instance of the service, and takes so long. */
const call = (service: string, fails = false) =>
  Effect.flatMap(Router, (router) =>
    Effect.exit(router.route(
      { target: { service }, repeatable: false },
      () =>
        fails ? Effect.fail({ error: "no", phase: "answered", blame: "instance", reason: "no" } as const) : Effect.void
    )))

describe("events", () => {
  it.live("begin with a snapshot, go on with what changes, and beat", () =>
    served({ instances }, (port) =>
      Effect.gen(function*() {
        const watcher = yield* watch(port)
        const first = yield* watcher.until(() => true)
        assert.strictEqual(watcher.status(), 200)
        assert(first.event === "snapshot")
        assert.deepEqual(first.data.catalog?.map(({ id }) => id), ["db-1", "weather-a", "weather-b"])
        assert.strictEqual(first.data.health?.length, 3)
        assert.deepEqual(first.data.sources?.map(({ name }) => name), ["memory"])
        assert.deepInclude(first.data.figures?.totals, {
          calls: 4,
          failures: 5,
          failovers: 6,
          inFlight: 3,
          sessions: 1,
          streams: 2
        })
        assert.strictEqual(first.data.revision, first.id)
        const body = JSON.stringify({ as: "down", reason: "gone fishing" })
        const headers = { "content-type": "application/json" }
        yield* ask(port, "/api/v1/instances/db-1/mark", { method: "PUT", headers, body })
        const told = yield* watcher.until(({ event }) => event === "health")
        assert(told.event === "health")
        assert.deepInclude(told.data.changes.find(({ id }) => id === "db-1"), { service: "db", source: "memory" })
        assert.deepInclude(told.data.changes.find(({ id }) => id === "db-1")?.health, {
          status: "down",
          reason: "marked down: gone fishing"
        })
        yield* call("weather")
        yield* call("weather", true)
        const figures = yield* watcher.until((event) =>
          event.event === "figures" &&
          event.data.rows.some((row) => row.type === "service" && row.service === "weather" && row.calls === 2)
        )
        assert(figures.event === "figures")
        const row = figures.data.rows.find((row) => row.type === "service")
        assert.deepInclude(row, { service: "weather", failures: 1, inFlight: 0 })
        assert.strictEqual(figures.data.totals.attempts, 2)
        assert.strictEqual(figures.data.totals.failedAttempts, 1)
        const beat = yield* watcher.until(({ event }) => event === "beat")
        assert.isDefined(beat.id)
      })))

  it.live("tell when an instance is ejected, tried, and back", () =>
    served({ instances }, (port) =>
      Effect.gen(function*() {
        const watcher = yield* watch(port, "?topics=health")
        yield* watcher.until(() => true)
        let fails = true
        const calling = yield* Effect.suspend(() => call("weather", fails)).pipe(
          Effect.andThen(Effect.sleep("20 millis")),
          Effect.forever,
          Effect.forkChild({ startImmediately: true })
        )
        let ejected: string | undefined
        const told = (of: string | undefined) =>
          watcher.until((event) =>
            event.event === "health" && event.data.changes.some(({ health, id }) => {
              if (health.circuit?.state === "open") {
                ejected = id
                assert.isAbove(Date.parse(health.circuit.until), Date.parse(health.changedAt))
              }
              return id === ejected && health.circuit?.state === of
            })
          )
        yield* told("open")
        fails = false
        yield* told("half-open")
        yield* told(undefined)
        yield* Fiber.interrupt(calling)
      })))

  it.live("tell only what was asked for", () =>
    served({ instances }, (port) =>
      Effect.gen(function*() {
        const watcher = yield* watch(port, "?topics=sources,figures")
        const first = yield* watcher.until(() => true)
        assert(first.event === "snapshot")
        assert.hasAllKeys(first.data, ["at", "revision", "figures", "sources"])
        const registries = yield* Registries
        yield* registries.add(yield* MemoryRegistry.make({ name: "late", instances: [instance("late-1")] }))
        const told = yield* watcher.until(({ event }) => event !== "beat")
        assert.strictEqual(told.event, "sources")
        yield* watcher.until(({ event }) => event === "beat")
        assert.isFalse(watcher.events.some(({ event }) => event === "catalog" || event === "health"))
        for (const topics of ["catalog,helth", "", "catalog,"]) {
          const wrong = yield* ask(port, `/api/v1/events?topics=${topics}`)
          assert.strictEqual(wrong.status, 400)
          assert.include(wrong.text, "topics: expected some of catalog, health, figures, sources")
        }
      })))

  it.live("go on where a watcher was, or say why not", () =>
    served({ instances }, (port) =>
      Effect.gen(function*() {
        const registries = yield* Registries
        const model = empty()
        const before = yield* watch(port)
        apply(model, yield* before.until(() => true))
        before.close()
        yield* registries.add(yield* MemoryRegistry.make({ name: "late", instances: [instance("late-1")] }))
        const after = yield* watch(port, "", { "last-event-id": model.revision })
        const next = yield* after.until(({ event }) => event === "catalog")
        assert.isFalse(after.events.some(({ event }) => event === "snapshot" || event === "resync"))
        assert(next.event === "catalog")
        assert.deepInclude(next.data.changes[0], { type: "added" })

        const other: ReadonlyArray<readonly [string, string]> = [
          ["abcdefg.1", "started anew"],
          ["what?", "no revision"],
          [model.revision.replace(/\d+$/, "999999"), "too long ago"]
        ]
        for (const [id, reason] of other) {
          const lost = yield* watch(port, "", { "last-event-id": id })
          const told = yield* lost.until(() => true)
          assert(told.event === "resync")
          assert.include(told.data.reason, reason)
          assert.strictEqual((yield* lost.until(() => true)).event, "snapshot")
        }
      })))

  it.live("refuse one watcher more than there may be, and free the places of those who left", () =>
    served({ instances }, (port) =>
      Effect.gen(function*() {
        const watchers = yield* Effect.forEach(Array.from({ length: 64 }), () => watch(port))
        yield* Effect.forEach(watchers, (watcher) => watcher.until(() => true))
        const refused = yield* ask(port, "/api/v1/events")
        assert.strictEqual(refused.status, 503)
        assert.strictEqual(refused.headers["content-type"], "application/problem+json")
        // One frame for all.
        assert.strictEqual(new Set(watchers.map(({ events }) => JSON.stringify(events[0]))).size, 1)
        watchers[0]?.close()
        yield* ask(port, "/api/v1/events?topics=wrong").pipe(
          Effect.andThen(watch(port)),
          Effect.flatMap((watcher) => Effect.exit(watcher.until(() => true))),
          Effect.repeat({ until: Exit.isSuccess, schedule: Schedule.spaced("50 millis") }),
          Effect.timeout("10 seconds")
        )
      })))

  it.live("end, and are not cut, when the gateway ends", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(fleet({ instances }), scope)
      const { port } = Context.get(context, Gateway)
      const all = yield* Effect.forkChild(ask(port, "/api/v1/events"), { startImmediately: true })
      // It came later, so that the other is there too.
      yield* (yield* watch(port)).until(() => true)
      yield* Scope.close(scope, Exit.void)
      const answer = yield* Effect.timeout(Fiber.join(all), "5 seconds")
      assert.include(answer.text, "event: snapshot")
    }))

  it.live("are compressed for those that take that, and end as they should", () =>
    Effect.gen(function*() {
      const many = Array.from({ length: 2_000 }, (_, at) =>
        instance(`service${at % 60}-${at}`, {
          region: `region-${at % 4}`,
          tags: ["prod", "team-a"],
          endpoint: { transport: "streamable-http", url: `http://10.0.${at >> 8}.${at & 255}:8080/mcp` }
        }))
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(fleet({ instances: many }), scope)
      const { port } = Context.get(context, Gateway)
      yield* (yield* watch(port)).until((event) => event.event === "snapshot" && event.data.catalog?.length === 2_000)
      const response = yield* Effect.callback<IncomingMessage, Error>((resume) => {
        const headers = { "accept-encoding": "br;q=1.0, gzip;q=0.8" }
        request({ host: "127.0.0.1", port, path: "/api/v1/events", headers, agent: false }, (incoming) =>
          resume(Effect.succeed(incoming))).on("error", (error) =>
            resume(Effect.fail(error))).end()
      })
      assert.strictEqual(response.headers["content-encoding"], "gzip")
      assert.include(response.headers["vary"], "Accept-Encoding")
      let text = ""
      let size = 0
      const unzipped = response.on("data", (chunk: Buffer) => size += chunk.byteLength).pipe(createGunzip())
      const ended = yield* Deferred.make<void, Error>()
      unzipped.setEncoding("utf8").on("data", (chunk: string) => text += chunk)
        .on("end", () => Deferred.doneUnsafe(ended, Exit.void))
        .on("error", (error) => Deferred.doneUnsafe(ended, Exit.fail(error)))
      const came = (part: string) =>
        Effect.sync(() => text.includes(part)).pipe(
          Effect.repeat({ until: (held) => held, schedule: Schedule.spaced("5 millis") }),
          Effect.timeout("10 seconds")
        )
      // The snapshot, and what comes after it, without waiting for more.
      yield* came("event: beat")
      const snapshot = Buffer.byteLength(text)
      assert.isBelow(size, 250_000, `of ${snapshot} bytes`)
      assert.isBelow(size, snapshot / 4)
      yield* Scope.close(scope, Exit.void)
      yield* Effect.timeout(Deferred.await(ended), "10 seconds")
    }), 30_000)

  it.live("cost a watcher that doesn't read its events, and the gateway no memory", () => {
    const many = Array.from(
      { length: 500 },
      (_, at) => instance(`many-${at}`, { metadata: { text: "x".repeat(4000) } })
    )
    return served({ instances: many }, (port) =>
      Effect.gen(function*() {
        const registries = yield* Registries
        const slow = yield* watch(port)
        yield* slow.until(({ event }) => event === "snapshot")
        slow.pause()
        const fast = yield* watch(port, "?topics=catalog")
        yield* fast.until(({ event }) => event === "snapshot")
        // Far more than the log holds and the sockets take.
        const scope = yield* Scope.make()
        yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
        for (let round = 0; round < 40; round++) {
          const name = `round-${round}`
          const added = many.slice(0, 100).map((one) => ({ ...one, id: `${one.id}-${round}` }))
          const own = yield* Scope.fork(scope)
          yield* Effect.gen(function*() {
            yield* registries.add(yield* MemoryRegistry.make({ name, instances: added }))
          }).pipe(Scope.provide(own))
          yield* fast.until((event) =>
            event.event === "catalog" && event.data.changes.some((change) => change.type === "added")
          )
          yield* Scope.close(own, Exit.void)
          yield* fast.until((event) =>
            event.event === "catalog" && event.data.changes.some((change) => change.type === "removed")
          )
        }
        assert.isFalse(fast.events.some(({ event }) => event === "resync"))
        const seen = slow.events.length
        slow.resume()
        const told = yield* slow.until(({ event }) => event === "resync")
        assert(told.event === "resync")
        assert.include(told.data.reason, "too slow")
        const model = empty()
        const fresh = yield* slow.until(({ event }) => event === "snapshot")
        apply(model, fresh)
        assert.strictEqual(model.catalog.size, 500)
        assert.isAbove(slow.events.length, seen)
        // In all it got two snapshots and what the sockets had room for, not all that happened.
        assert.isBelow(slow.text().length, fast.text().length * 0.75)
      }))
  }, 60_000)
})

// What happens to a fleet: each in a way that leaves the others possible.
const happening = fc.oneof(
  fc.record({ type: fc.constant("put" as const), id: fc.nat(5), tag: fc.nat(3) }),
  fc.record({ type: fc.constant("remove" as const), id: fc.nat(5) }),
  fc.record({
    type: fc.constant("mark" as const),
    id: fc.nat(5),
    as: fc.constantFrom("up" as const, "down" as const, "draining" as const)
  }),
  fc.record({ type: fc.constant("call" as const), fails: fc.boolean() }),
  fc.record({ type: fc.constant("registry" as const), id: fc.nat(2) }),
  fc.record({ type: fc.constant("lose" as const), id: fc.nat(2) }),
  fc.record({ type: fc.constant("reconnect" as const) }),
  fc.record({ type: fc.constant("wait" as const), ms: fc.constantFrom(0, 30, 120) })
)

describe("a watcher that applies every event", () => {
  it.live("knows what a fresh snapshot tells", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(fc.array(happening, { minLength: 5, maxLength: 25 }), (happenings) =>
          Effect.runPromise(
            served({}, (port) =>
              Effect.gen(function*() {
                const registries = yield* Registries
                const health = yield* Health
                const discovery = yield* Discovery
                const registry = registries.members()[0]!.registry
                const registrar = Option.getOrThrow(registry.registrar)
                const leases = new Map<number, Registry.Lease>()
                const others = new Map<number, Scope.Closeable>()
                const model = empty()
                let watcher = yield* watch(port)
                let applied = 0
                const catchUp = () => {
                  for (; applied < watcher.events.length; applied++) apply(model, watcher.events[applied]!)
                }
                for (const each of happenings) {
                  switch (each.type) {
                    case "put": {
                      const record = instance(`weather-${each.id}`, { tags: [String(each.tag)] })
                      leases.set(
                        each.id,
                        yield* registrar.put(record, { ttl: Duration.minutes(10), incarnation: "one" })
                      )
                      break
                    }
                    case "remove": {
                      const lease = leases.get(each.id)
                      if (lease !== undefined) yield* registrar.remove(lease)
                      break
                    }
                    case "mark": {
                      const entry = Array.from(HashMap.values(discovery.catalog().entries))
                        .find(({ instance: { id } }) => id === `weather-${each.id}`)
                      if (entry !== undefined) {
                        yield* health.override(entry.key, each.as === "up" ? undefined : each.as, "so")
                      }
                      break
                    }
                    case "call": {
                      yield* call("weather", each.fails)
                      break
                    }
                    case "registry": {
                      if (others.has(each.id)) break
                      const scope = yield* Scope.fork(yield* Effect.scope)
                      others.set(each.id, scope)
                      yield* Effect.gen(function*() {
                        const name = `other-${each.id}`
                        yield* registries.add(
                          yield* MemoryRegistry.make({ name, instances: [instance(`other-${each.id}`)] })
                        )
                      }).pipe(Scope.provide(scope))
                      break
                    }
                    case "lose": {
                      const scope = others.get(each.id)
                      others.delete(each.id)
                      if (scope !== undefined) yield* Scope.close(scope, Exit.void)
                      break
                    }
                    case "reconnect": {
                      catchUp()
                      watcher.close()
                      watcher = yield* watch(port, "", model.revision === "" ? {} : { "last-event-id": model.revision })
                      applied = 0
                      break
                    }
                    case "wait":
                      yield* Effect.sleep(each.ms)
                  }
                }
                // Both are asked until nothing moves any more.
                const fresh = empty()
                yield* Effect.gen(function*() {
                  const snapshot = yield* Effect.scoped(
                    Effect.flatMap(watch(port), (other) => other.until(({ event }) => event === "snapshot"))
                  )
                  apply(fresh, snapshot)
                  catchUp()
                  return JSON.stringify(comparable(model)) === JSON.stringify(comparable(fresh))
                }).pipe(
                  Effect.repeat({ until: (same) => same, schedule: Schedule.spaced("50 millis") }),
                  Effect.timeoutOption("5 seconds")
                )
                assert.deepEqual(comparable(model), comparable(fresh))
              }))
              .pipe(Effect.scoped)
          )),
        {
          numRuns: 25,
          examples: [[[
            { type: "registry", id: 2 },
            { type: "reconnect" },
            { type: "lose", id: 2 },
            { type: "registry", id: 0 },
            { type: "wait", ms: 0 },
            { type: "registry", id: 2 },
            { type: "call", fails: false },
            { type: "lose", id: 0 }
          ]]]
        }
      )
    ), 120_000)
})
