/** What a single real Redis does to a registry: messages that are lost, keys that expire, data that are gone. */
import { assert, describe, it } from "@effect/vitest"
import * as Announcement from "@portolan/core/Announcement"
import * as RedisRegistry from "@portolan/redis/RedisRegistry"
import * as FaultProxy from "@portolan/testkit/FaultProxy"
import * as Redis from "@portolan/tooling/backends/Redis"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as RedisBackend from "./RedisBackend.ts"
import { instance, watch } from "./Watched.ts"

const unavailable = await Effect.runPromise(Redis.unavailable)
if (unavailable !== undefined) console.log(`redis skipped: ${unavailable}`)

const start = Effect.fnUntraced(function*(config: Redis.RedisOptions["config"] = {}) {
  const node = yield* Redis.single({ config: { ...RedisBackend.config, ...config } })
  return { node, backend: yield* RedisBackend.single(node) }
})

const requests = (backend: RedisBackend.RedisBackend) => backend.requests ?? Effect.die("nothing is counted")

/** What is only found by what is told, not by reading everything again. */
const never = { every: "1 hour" } as const

const text = (n: number, seq = 0) => JSON.stringify(instance(n, seq))
const keyOf = (n: number) => RedisBackend.keyOf(instance(n))

const until = (what: string, holds: Effect.Effect<boolean, unknown>) =>
  Effect.gen(function*() {
    while (!(yield* holds)) yield* Effect.sleep(20)
  }).pipe(Effect.timeoutOrElse({ duration: "15 seconds", orElse: () => Effect.die(new Error(`never ${what}`)) }))

const now = Effect.clockWith((clock) => clock.currentTimeMillis)

describe.skipIf(unavailable !== undefined)(
  unavailable === undefined ? "a real Redis" : `a real Redis [skipped: ${unavailable}]`,
  () => {
    it.live("R1 who joins while nobody listens is found when somebody does", () =>
      Effect.gen(function*() {
        const { backend } = yield* start()
        yield* backend.add(instance(1))
        const catalog = yield* watch({ ...backend.options, ...never })
        yield* catalog.shows("weather-1 #0")
        // In one step, so that nobody listens yet when the second is written, and nothing is published of it.
        yield* Effect.promise(() =>
          backend.neighbour.multi().call("CLIENT", "KILL", "TYPE", "pubsub").set(keyOf(2), text(2)).exec()
        )
        yield* catalog.shows("weather-1 #0", "weather-2 #0")
        assert.deepStrictEqual(catalog.log, ["Added weather-1", "Added weather-2"])
      }))

    it.live("R1 a message that is lost is made good by the next reading of everything", () =>
      Effect.gen(function*() {
        const { backend, node } = yield* start()
        const catalog = yield* watch({ ...backend.options, every: "200 millis" })
        yield* node.cli("SET", keyOf(1), text(1))
        yield* catalog.shows("weather-1 #0")
        yield* node.cli("SET", keyOf(1), text(1, 1))
        yield* catalog.shows("weather-1 #1")
        yield* node.cli("DEL", keyOf(1))
        yield* catalog.shows()
        assert.strictEqual(catalog.source()?.reconnects, 0)
      }))

    it.live("R2 no setting of Redis is touched, and none is needed", () =>
      Effect.gen(function*() {
        const { backend, node } = yield* start()
        const catalog = yield* watch({ ...backend.options, ...never })
        yield* backend.add(instance(1))
        yield* catalog.shows("weather-1 #0")
        yield* backend.remove(instance(1))
        yield* catalog.shows()
        assert.strictEqual(yield* node.cli("CONFIG", "GET", "notify-keyspace-events"), "notify-keyspace-events")
        assert.notMatch(yield* node.cli("INFO", "commandstats"), /cmdstat_config\|set/)
      }))

    it.live("R2 where Redis tells of its keys, programs that publish nothing are seen at once", () =>
      Effect.gen(function*() {
        const { backend, node } = yield* start({ "notify-keyspace-events": "KA" })
        const catalog = yield* watch({ ...backend.options, ...never })
        yield* node.cli("SET", keyOf(1), text(1))
        yield* catalog.shows("weather-1 #0")
        yield* node.cli("SET", keyOf(1), text(1, 1))
        yield* catalog.shows("weather-1 #1")
        yield* node.cli("RENAME", keyOf(1), keyOf(2))
        yield* catalog.until(() => catalog.log.some((line) => line.startsWith("Removed weather-1")))
        yield* node.cli("DEL", keyOf(2))
        yield* catalog.shows()
        // A removal that Redis tells of is proven: self-preservation holds none of them.
        const fleet = [1, 2, 3, 4, 5, 6]
        yield* node.cli("MSET", ...fleet.flatMap((n) => [keyOf(n), text(n)]))
        yield* catalog.until(() => catalog.shown().length === fleet.length)
        yield* node.cli("DEL", ...fleet.map(keyOf))
        yield* catalog.shows()
      }))

    it.live("R3 R12 a record ends when Redis says that its time is over, whatever the clock and without an event", () =>
      Effect.gen(function*() {
        const { backend, node } = yield* start({ "enable-debug-command": "local", "notify-keyspace-events": "KEA" })
        yield* node.cli("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        const anHourAhead: Clock.Clock = yield* Effect.clockWith((clock) =>
          Effect.succeed(Object.create(clock, {
            currentTimeMillisUnsafe: { value: () => clock.currentTimeMillisUnsafe() + 3_600_000 },
            currentTimeMillis: { value: Effect.map(clock.currentTimeMillis, (millis) => millis + 3_600_000) }
          }))
        )
        const catalog = yield* watch({ ...backend.options, ...never }).pipe(
          Effect.provideService(Clock.Clock, anHourAhead)
        )
        yield* catalog.connected
        const from = yield* now
        yield* node.cli("SET", keyOf(1), text(1), "PX", "1500")
        yield* node.cli("PUBLISH", "portolan:changes", JSON.stringify({ id: "weather-1" }))
        yield* catalog.shows("weather-1 #0")
        yield* catalog.shows()
        const took = (yield* now) - from
        assert.isAtLeast(took, 1500)
        assert.isBelow(took, 3500)
      }))

    it.live("R8 what was announced is back within a heartbeat when Redis is flushed, and the catalog keeps it", () =>
      Effect.gen(function*() {
        const { backend, node } = yield* start()
        const registry = yield* RedisRegistry.make({ ...backend.options, name: "announcer" })
        const announcer = yield* Announcement.announcer(registry, { ttl: "3 seconds", drain: 0 })
        yield* Effect.forEach([1, 2, 3, 4, 5, 6], (n) => announcer.announce(instance(n)))
        const catalog = yield* watch({ ...backend.options, every: "200 millis" })
        yield* catalog.until(() => catalog.shown().length === 6)
        const from = yield* now
        yield* node.cli("FLUSHALL")
        yield* until("announced again", Effect.map(node.cli("DBSIZE"), (size) => size === "6"))
        // A heartbeat, and some slack for a busy machine.
        assert.isBelow((yield* now) - from, 2000)
        yield* catalog.until(() => catalog.source()?.held === 0)
        assert.deepStrictEqual(catalog.log.filter((line) => line.startsWith("Removed")), [])
        assert.strictEqual(catalog.source()?.reconnects, 0)
      }))

    it.live("R9 no record is missed while Redis moves its keys about", () =>
      Effect.gen(function*() {
        const { backend, node } = yield* start()
        const many = Array.from({ length: 500 }, (_, n) => instance(n))
        yield* Effect.forEach(many, backend.add, { concurrency: 50, discard: true })
        const catalog = yield* watch({ ...backend.options, every: "50 millis" })
        yield* catalog.until(() => catalog.shown().length === many.length)
        // Grows the table many times over and shrinks it again, while it is read over and over.
        const write = "for i = 1, 2000 do redis.call('SET', ARGV[1] .. ':' .. i, '') end"
        const clear = "for i = 1, 2000 do redis.call('DEL', ARGV[1] .. ':' .. i) end"
        for (const script of [write, clear]) {
          for (let n = 0; n < 20; n++) yield* node.cli("EVAL", script, "0", `${n}`)
        }
        yield* backend.add(instance(900))
        yield* catalog.until(() => catalog.shown().length === many.length + 1)
        assert.deepStrictEqual(catalog.log.filter((line) => line.startsWith("Removed")), [])
      }))

    it.live("R10 keys that expire while they are read harm nobody", () =>
      Effect.gen(function*() {
        const { backend } = yield* start()
        yield* backend.add(instance(0))
        const catalog = yield* watch({ ...backend.options, every: "20 millis" }, { grace: "100 millis" })
        yield* catalog.shows("weather-0 #0")
        for (let seq = 0; seq < 2000; seq++) {
          const n = 1 + seq % 100
          yield* Effect.promise(() => backend.neighbour.set(keyOf(n), text(n, seq), "PX", 1 + seq % 50))
        }
        yield* catalog.shows("weather-0 #0")
        assert.strictEqual(catalog.source()?.reconnects, 0)
        assert.notInclude(catalog.log, "Removed weather-0")
      }))

    it.live("R11 nothing is written after its process gave up", () =>
      Effect.gen(function*() {
        const { node } = yield* start()
        const proxy = yield* FaultProxy.make(node)
        const scope = yield* Scope.make()
        const announce = Effect.gen(function*() {
          const registry = yield* RedisRegistry.make({ ...RedisBackend.user, url: `redis://127.0.0.1:${proxy.port}` })
          yield* Announcement.announce(registry, instance(1), { ttl: "3 seconds", deadline: "500 millis" })
        })
        yield* Scope.provide(announce, scope)
        assert.strictEqual(yield* node.cli("EXISTS", keyOf(1)), "1")
        yield* proxy.refuse
        yield* node.cli("FLUSHALL")
        // Long enough for writes to be tried, and kept back, again and again.
        yield* Effect.sleep("1500 millis")
        yield* Scope.close(scope, Exit.void)
        yield* proxy.restore
        const { accepted } = proxy.connections()
        yield* Effect.sleep("1 second")
        assert.strictEqual(proxy.connections().accepted, accepted)
        assert.strictEqual(yield* node.cli("EXISTS", keyOf(1)), "0")
      }))

    it.live("R7 a Redis that hangs is noticed, and followed again when it goes on", () =>
      Effect.gen(function*() {
        const { backend, node } = yield* start()
        yield* backend.add(instance(1))
        const catalog = yield* watch(backend.options)
        yield* catalog.shows("weather-1 #0")
        yield* node.pause
        yield* catalog.until(() => catalog.source()?.state === "stale")
        // Each command has its deadline: nobody waited until the whole session was taken for silent.
        assert.strictEqual(catalog.source()?.lastError, "no answer within 3000 ms")
        assert.deepStrictEqual(catalog.shown(), ["weather-1 #0"])
        yield* node.resume
        yield* catalog.until(() => catalog.source()?.state === "connected")
        yield* backend.add(instance(2))
        yield* catalog.shows("weather-1 #0", "weather-2 #0")
        assert.deepStrictEqual(catalog.log, ["Added weather-1", "Added weather-2"])
      }))

    it.live("R13 a listener that Redis cuts off for being slow reads everything anew", () =>
      Effect.gen(function*() {
        const { backend, node } = yield* start({ "client-output-buffer-limit": "pubsub 64kb 16kb 1" })
        const proxy = yield* FaultProxy.make(node)
        const catalog = yield* watch({ ...RedisBackend.user, url: `redis://127.0.0.1:${proxy.port}` })
        yield* catalog.connected
        yield* proxy.stall
        // More than all buffers on the way hold.
        const flood = "x".repeat(1_000_000)
        const listeners = Effect.map(
          Effect.promise(() => backend.neighbour.pubsub("NUMSUB", "portolan:changes")),
          ([, count]) => Number(count)
        )
        yield* until(
          "cut off",
          Effect.andThen(
            Effect.promise(() => backend.neighbour.publish("portolan:changes", flood)),
            Effect.map(listeners, (count) => count === 0)
          )
        )
        yield* backend.add(instance(1))
        yield* proxy.restore
        yield* catalog.shows("weather-1 #0")
        assert.deepStrictEqual(catalog.log, ["Added weather-1"])
      }))

    it.live("messages that nobody can read and keys of other types harm nobody", () =>
      Effect.gen(function*() {
        const { backend, node } = yield* start({ "notify-keyspace-events": "KEA" })
        const catalog = yield* watch({ ...backend.options, ...never })
        yield* catalog.connected
        for (const message of ["", "{", "null", "[]", "{\"id\":7}", "{\"id\":null}", "{\"id\":\"\"}"]) {
          yield* node.cli("PUBLISH", "portolan:changes", message)
        }
        yield* node.cli("LPUSH", "portolan:instance:list", "1")
        yield* backend.add(instance(1))
        yield* catalog.shows("weather-1 #0")
        yield* catalog.until(() => catalog.source()?.rejected.length === 1)
        assert.strictEqual(catalog.source()?.rejected[0]?.id, "list")
        assert.strictEqual(catalog.source()?.reconnects, 0)
        yield* node.cli("DEL", "portolan:instance:list")
        yield* catalog.until(() => catalog.source()?.rejected.length === 0)
      }))

    it.live("a quiet watch reads five thousand records in a few requests", () =>
      Effect.gen(function*() {
        const { backend, node } = yield* start()
        const fill =
          `for i = 1, 5000 do redis.call('SET', KEYS[1] .. i, (string.gsub(ARGV[1], 'weather%-1', 'weather-' .. i)), 'PX', 600000) end`
        yield* node.cli("EVAL", fill, "1", "portolan:instance:weather-", text(1))
        const catalog = yield* watch({ ...backend.options, every: "2 seconds" })
        yield* catalog.until(() => catalog.shown().length === 5000)
        const before = yield* requests(backend)
        yield* Effect.sleep("5 seconds")
        const asked = (yield* requests(backend)) - before
        // Everything is read two or three times, and less often by default.
        assert.isBelow(asked, 5 + 3 * 10)
      }))

    it.live("five hundred leases are renewed in a few round trips, of which nothing is told", () =>
      Effect.gen(function*() {
        const { backend } = yield* start()
        const registrar = Option.getOrThrow((yield* RedisRegistry.make(backend.options)).registrar)
        const options = { ttl: Duration.seconds(30), incarnation: "one" }
        const leases = yield* Effect.forEach(
          Array.from({ length: 500 }, (_, n) => instance(n)),
          (each) => registrar.put(each, options),
          { concurrency: 50 }
        )
        const catalog = yield* watch({ ...backend.options, ...never, name: "watcher" })
        yield* catalog.until(() => catalog.shown().length === leases.length)
        const updates = catalog.log.length
        const before = yield* requests(backend)
        assert.deepStrictEqual(yield* registrar.renew(leases), [])
        assert.isBelow((yield* requests(backend)) - before, 30)
        yield* backend.add(instance(900))
        yield* catalog.until(() => catalog.shown().length === leases.length + 1)
        assert.lengthOf(catalog.log, updates + 1)
      }))
  }
)
