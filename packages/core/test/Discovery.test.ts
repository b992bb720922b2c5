import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Catalog from "../src/Catalog.ts"
import * as Discovery from "../src/Discovery.ts"
import * as Registries from "../src/Registries.ts"
import * as Registry from "../src/Registry.ts"
import {
  adding,
  count,
  error,
  fleet,
  following,
  ids,
  instance,
  live,
  put,
  removed,
  scripted,
  state,
  tell
} from "./fixtures/scripted.ts"

const { alive, delta, snapshot } = Registry

const groups = (...groups: ReadonlyArray<string>): Registry.Groups => ({ _tag: "Groups", groups })

describe("sessions", () => {
  it.effect("publishes a snapshot and its deltas, and the state of the source", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(2))])
      const discovery = yield* adding(script)
      assert.deepStrictEqual(ids(discovery.catalog()), ["scripted/i1", "scripted/i2"])
      assert.include(state(discovery), { state: "connected", instances: 2, reconnects: 0, lastError: undefined })
      yield* script.emit(delta([put(instance("i3")), removed("i1")]))
      yield* TestClock.adjust("50 millis")
      assert.deepStrictEqual(ids(discovery.catalog()), ["scripted/i2", "scripted/i3"])
    }).pipe(Effect.provide(live())))

  it.effect("is ready when the first snapshots are in the catalog, and not before", () =>
    Effect.gen(function*() {
      const [slow, fast] = [scripted({ name: "slow" }), scripted({ name: "fast" })]
      slow.first = Effect.as(Effect.sleep("5 seconds"), [snapshot(fleet(1))])
      const discovery = yield* adding(slow, fast)
      const fiber = yield* Effect.forkChild(Effect.map(discovery.ready, () => count(discovery)), {
        startImmediately: true
      })
      yield* TestClock.adjust("4 seconds")
      assert.isUndefined(fiber.pollUnsafe())
      assert.strictEqual(state(discovery, "slow").state, "connecting")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(fiber), 1)
    }).pipe(Effect.provide(live())))

  it.effect("is ready at once without registries", () =>
    Effect.flatMap(Discovery.Discovery, (discovery) => discovery.ready).pipe(Effect.provide(live())))

  it.effect("a lost session leaves the last known state, stale, and its rejoin gives only what is different", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(4))])
      const discovery = yield* adding(script)
      const follower = yield* following(discovery)
      script.first = Effect.fail(error("connection refused"))
      yield* script.fail("connection reset")
      yield* TestClock.adjust("10 seconds")
      assert.include(state(discovery), { state: "stale", lastError: "connection refused" })
      assert.strictEqual(count(discovery), 4)
      const entry = HashMap.getUnsafe(discovery.catalog().entries, Catalog.key("scripted", "i1"))
      assert.deepStrictEqual(Catalog.staleSince(discovery.catalog(), entry), Option.some(state(discovery).since))
      assert.deepStrictEqual(follower.take(), [])

      script.first = Effect.succeed([snapshot(fleet(4, 2))])
      yield* TestClock.adjust("4 seconds")
      assert.include(state(discovery), { state: "connected", reconnects: 1, lastError: undefined })
      assert.deepStrictEqual(follower.take(), ["Added scripted/i5", "Removed scripted/i1"])
      assert.deepStrictEqual(Catalog.staleSince(discovery.catalog(), entry), Option.none())
    }).pipe(Effect.provide(live())))

  it.effect("a defect in an adapter is a lost session, and harms no other source", () =>
    Effect.gen(function*() {
      const [bad, good] = [scripted({ name: "bad" }), scripted({ name: "good" })]
      bad.first = Effect.die(new Error("boom"))
      good.first = Effect.succeed([snapshot(fleet(1))])
      const discovery = yield* adding(bad, good)
      assert.include(state(discovery, "bad"), { state: "connecting", lastError: "boom" })
      assert.deepStrictEqual(ids(discovery.catalog()), ["good/i1"])
      bad.first = Effect.succeed([snapshot(fleet(1, 2))])
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(ids(discovery.catalog()), ["bad/i2", "good/i1"])
    }).pipe(Effect.provide(live())))

  it.effect("a session that begins with a change, or with a group out of the blue, is refused", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([delta([put(instance("i1"))])])
      const discovery = yield* adding(script)
      assert.match(state(discovery).lastError ?? "", /change before its first snapshot/)
      script.first = Effect.succeed([snapshot(fleet(1), [], "a")])
      yield* TestClock.adjust("30 seconds")
      assert.match(state(discovery).lastError ?? "", /group "a" before/)
      assert.strictEqual(count(discovery), 0)
    }).pipe(Effect.provide(live())))

  it.effect("a registry that is removed takes its entries along and closes its session", () =>
    Effect.gen(function*() {
      const [first, second] = [scripted({ name: "first" }), scripted({ name: "second" })]
      first.first = Effect.succeed([snapshot(fleet(2))])
      const discovery = yield* adding(first)
      const registries = yield* Registries.Registries
      second.first = Effect.succeed([snapshot(fleet(2, 3))])
      const scope = yield* Scope.make()
      yield* Scope.provide(registries.add(second.registry), scope)
      yield* TestClock.adjust("100 millis")
      assert.strictEqual(count(discovery), 4)
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(ids(discovery.catalog()), ["first/i1", "first/i2"])
      assert.isFalse(discovery.catalog().sources.has("second"))
      assert.isFalse(second.open())
      assert.isTrue(first.open())
    }).pipe(Effect.provide(live())))

  it.effect("the end of Discovery ends its sessions and its subscribers", () =>
    Effect.gen(function*() {
      const script = scripted()
      const fiber = yield* Effect.gen(function*() {
        const discovery = yield* adding(script)
        assert.isTrue(script.open())
        return yield* Effect.forkDetach(Stream.runDrain(discovery.updates), { startImmediately: true })
      }).pipe(Effect.provide(live()))
      assert.isFalse(script.open())
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(fiber)))
    }))
})

describe("pace of sessions", () => {
  const gaps = (times: ReadonlyArray<number>) => times.slice(1).map((time, index) => time - (times[index] ?? 0))

  it.effect("a source that was never connected is tried at random waits of 30 s at most", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.fail(error("refused"))
      yield* adding(script)
      yield* TestClock.adjust("1 hour")
      const waits = gaps(script.begun).slice(10)
      assert.isAtLeast(waits.length, 60)
      assert.isAtMost(Math.max(...waits), 30_000)
      // Full jitter: uniform from nothing to the cap, so all of it is used.
      assert.isAtLeast(Math.max(...waits), 20_000)
      assert.isAtMost(Math.min(...waits), 10_000)
    }).pipe(Effect.provide(live())))

  it.effect("a source that was connected once is tried at random waits of 3 s at most", () =>
    Effect.gen(function*() {
      const script = scripted()
      const discovery = yield* adding(script)
      script.first = Effect.fail(error("refused"))
      yield* script.fail("gone")
      yield* TestClock.adjust("10 minutes")
      assert.isAtMost(Math.max(...gaps(script.begun).slice(1)), 3_000)
      assert.isAtLeast(Math.max(...gaps(script.begun)), 2_000)
      assert.strictEqual(state(discovery).state, "stale")
    }).pipe(Effect.provide(live())))

  it.effect("sessions that end at once are ten a second at most", () =>
    Effect.gen(function*() {
      const script = scripted()
      yield* adding(script)
      script.first = Effect.suspend(() => script.end).pipe(Effect.as([]))
      yield* script.end
      const begun = script.begun.length
      for (let second = 0; second < 10; second++) {
        const before = script.begun.length
        yield* TestClock.adjust("1 second")
        assert.isAtMost(script.begun.length - before, 10)
      }
      assert.isAtLeast(script.begun.length - begun, 4)
      assert.isAtLeast(Math.min(...gaps(script.begun)), 100)
    }).pipe(Effect.provide(live())))

  it.effect("a healthy stretch makes the back-off short again", () =>
    Effect.gen(function*() {
      const script = scripted()
      yield* adding(script)
      script.first = Effect.fail(error("refused"))
      yield* script.fail("gone")
      yield* TestClock.adjust("1 minute")
      script.first = Effect.succeed([snapshot([])])
      yield* TestClock.adjust("15 seconds")
      assert.isTrue(script.open())
      const before = script.begun.length
      yield* script.fail("gone again")
      yield* TestClock.adjust("100 millis")
      assert.strictEqual(script.begun.length, before + 1)
    }).pipe(Effect.provide(live())))
})

describe("silence", () => {
  it.effect("a silent session is begun anew, which is no staleness and no event", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(2))])
      const discovery = yield* adding(script)
      const follower = yield* following(discovery)
      const { since } = state(discovery)
      yield* TestClock.adjust("28 seconds")
      assert.strictEqual(script.begun.length, 1)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(script.begun.length, 2)
      assert.include(state(discovery), { state: "connected", since, reconnects: 0, lastError: undefined })
      assert.deepStrictEqual(follower.take(), [])
    }).pipe(Effect.provide(live())))

  it.effect("a session that is alive goes on, and heartbeats are no events", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(2))])
      const discovery = yield* adding(script)
      const follower = yield* following(discovery)
      for (let beat = 0; beat < 10; beat++) {
        yield* TestClock.adjust("20 seconds")
        yield* script.emit(alive)
        assert.strictEqual(state(discovery).lastHeard, yield* Effect.clockWith((clock) => clock.currentTimeMillis))
      }
      assert.strictEqual(script.begun.length, 1)
      assert.deepStrictEqual(follower.updates, [])
    }).pipe(Effect.provide(live())))

  it.effect("a new session that gives nothing within the connect time-out makes the source stale", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(2))])
      const discovery = yield* adding(script)
      script.first = Effect.succeed([])
      yield* TestClock.adjust("39 seconds")
      assert.strictEqual(state(discovery).state, "connected")
      yield* TestClock.adjust("2 seconds")
      assert.include(state(discovery), { state: "stale", instances: 2, lastError: "no answer within 10000 ms" })
      assert.strictEqual(count(discovery), 2)
    }).pipe(Effect.provide(live())))

  it.effect("a registry may set its own time-out, or none", () =>
    Effect.gen(function*() {
      const quick = scripted({ name: "quick", idleTimeout: Option.some(Duration.seconds(1)) })
      const quiet = scripted({ name: "quiet", idleTimeout: Option.some(Duration.infinity) })
      yield* adding(quick, quiet)
      yield* TestClock.adjust("10 seconds")
      assert.isAtLeast(quick.begun.length, 9)
      assert.strictEqual(quiet.begun.length, 1)
    }).pipe(Effect.provide(live())))
})

describe("groups", () => {
  it.effect("a source is connected when each group has been heard; each snapshot replaces its group", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([groups("a", "b"), snapshot([instance("a1"), instance("a2")], [], "a")])
      const discovery = yield* adding(script)
      assert.strictEqual(state(discovery).state, "connecting")
      yield* script.emit(snapshot([instance("b1")], [], "b"))
      assert.include(state(discovery), { state: "connected", instances: 3 })
      yield* script.emit(snapshot([instance("a2")], [], "a"))
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(ids(discovery.catalog()), ["scripted/a2", "scripted/b1"])
      yield* script.emit(groups("b"))
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(ids(discovery.catalog()), ["scripted/b1"])
      yield* script.emit(groups())
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(ids(discovery.catalog()), [])
    }).pipe(Effect.provide(live())))

  it.effect("no groups at all is a snapshot of nothing", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([groups()])
      const discovery = yield* adding(script)
      assert.include(state(discovery), { state: "connected", instances: 0 })
    }).pipe(Effect.provide(live())))

  it.effect("an instance that moves to another group is never gone", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([
        groups("a", "b"),
        snapshot([instance("x")], [], "a"),
        snapshot([], [], "b")
      ])
      const discovery = yield* adding(script)
      const follower = yield* following(discovery)
      yield* script.emit(snapshot([instance("x")], [], "b"), snapshot([], [], "a"))
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(ids(discovery.catalog()), ["scripted/x"])
      assert.deepStrictEqual(follower.take(), [])
    }).pipe(Effect.provide(live())))

  it.effect("of two groups with one id the one that has it keeps it, and the other has it next", () =>
    Effect.gen(function*() {
      const script = scripted({ groupOf: ({ service }) => service })
      const [inA, inB] = [instance("x", { service: "a" }), instance("x", { service: "b" })]
      const services = () => Array.from(HashMap.values(discovery.catalog().entries), ({ instance }) => instance.service)
      const rejected = () => state(discovery).rejected.map(({ id, reason }) => `${id}: ${reason}`)
      const first = [groups("a", "b"), snapshot([inA], [], "a"), snapshot([inB], [], "b")]
      script.first = Effect.succeed(first)
      const discovery = yield* adding(script)
      const say = (...events: ReadonlyArray<Registry.RegistryEvent>) =>
        Effect.andThen(script.emit(...events), TestClock.adjust("100 millis"))
      assert.deepStrictEqual(services(), ["a"])
      assert.deepStrictEqual(rejected(), ["b/x: id: group \"a\" has it too"])
      // In whichever order a new session speaks of them.
      script.first = Effect.succeed([groups("a", "b"), snapshot([inB], [], "b"), snapshot([inA], [], "a")])
      yield* script.fail("gone")
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(services(), ["a"])
      for (const all of [[inA, inB], [inB, inA]]) {
        script.list = Effect.succeed(snapshot(all))
        yield* discovery.refresh()
        assert.deepStrictEqual(services(), ["a"])
        assert.deepStrictEqual(rejected(), ["b/x: id: group \"a\" has it too"])
      }
      const follower = yield* following(discovery)
      yield* say(snapshot([], [], "a"))
      assert.deepStrictEqual(services(), ["b"])
      assert.deepStrictEqual(follower.take(), ["Updated scripted/x"])
      assert.deepStrictEqual(rejected(), [])
      yield* say(snapshot([inA], [], "a"))
      assert.deepStrictEqual(services(), ["b"])
      yield* say(groups("a"))
      assert.deepStrictEqual(services(), ["a"])
      yield* say(groups("a", "b"), snapshot([inB], [], "b"), snapshot([], [], "b"))
      assert.deepStrictEqual(rejected(), [])
      yield* say(snapshot([], [], "a"))
      assert.deepStrictEqual(services(), [])
    }).pipe(Effect.provide(live())))

  it.effect("what is held in one group is free for another", () =>
    Effect.gen(function*() {
      const script = scripted()
      const fleet = Array.from({ length: 6 }, (_, number) => instance(`i${number}`, { service: "a" }))
      script.first = Effect.succeed([groups("a", "b"), snapshot(fleet, [], "a"), snapshot([], [], "b")])
      const discovery = yield* adding(script)
      yield* script.emit({ ...snapshot([], [], "a"), expired: fleet.map(({ id }) => id) })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(state(discovery).held, 6)
      yield* script.emit(snapshot([instance("i0", { service: "b" })], [], "b"))
      yield* TestClock.adjust("100 millis")
      assert.strictEqual(state(discovery).held, 5)
      const entry = HashMap.getUnsafe(discovery.catalog().entries, Catalog.key("scripted", "i0"))
      assert.strictEqual(entry.instance.service, "b")
    }).pipe(Effect.provide(live())))

  it.effect("after a rejoin, what a lost group and a changed group no longer have is gone", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([
        groups("a", "b"),
        snapshot([instance("a1"), instance("a2"), instance("a3")], [], "a"),
        snapshot([instance("b1")], [], "b")
      ])
      const discovery = yield* adding(script)
      script.first = Effect.succeed([groups("a")])
      yield* script.fail("gone")
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(count(discovery), 4)
      yield* script.emit(snapshot([instance("a1"), instance("a2")], [], "a"))
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(ids(discovery.catalog()), ["scripted/a1", "scripted/a2"])
    }).pipe(Effect.provide(live())))
})

describe("records", () => {
  it.effect("a record that is written again as it was is no event", () =>
    Effect.gen(function*() {
      const script = scripted()
      const one = instance("i1", { metadata: { a: 1, b: { c: [1, 2] } } })
      script.first = Effect.succeed([snapshot([one])])
      const discovery = yield* adding(script)
      const follower = yield* following(discovery)
      for (let time = 0; time < 100; time++) {
        yield* script.emit(
          delta([put(instance("i1", { metadata: { b: { c: [1, 2] }, a: 1 } }))]),
          snapshot([{ ...one }])
        )
        yield* TestClock.adjust("100 millis")
      }
      assert.deepStrictEqual(follower.updates, [])
      yield* script.emit(delta([put(instance("i1", { metadata: { a: 2 } }))]))
      assert.deepStrictEqual(follower.take(), ["Updated scripted/i1"])
    }).pipe(Effect.provide(live())))

  it.effect("a record that went bad is reported and keeps its last good form until it is removed", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([
        snapshot(fleet(2), [{ id: "i3", reason: "endpoint.url: expected an http(s) URL" }])
      ])
      const discovery = yield* adding(script)
      assert.deepStrictEqual(state(discovery).rejected, [{ id: "i3", reason: "endpoint.url: expected an http(s) URL" }])
      yield* script.emit(delta([{ _tag: "Reject", rejected: { id: "i1", reason: "bad" } }]))
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(state(discovery).rejected.map(({ id }) => id), ["i3", "i1"])
      assert.strictEqual(count(discovery), 2)
      // Missing from a later snapshot and rejected there: it is still there, though bad.
      yield* script.emit(snapshot([instance("i2")], [{ id: "i1", reason: "still bad" }]))
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(state(discovery).rejected, [{ id: "i1", reason: "still bad" }])
      assert.strictEqual(count(discovery), 2)
      yield* script.emit(delta([removed("i1")]))
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(state(discovery).rejected, [])
      assert.deepStrictEqual(ids(discovery.catalog()), ["scripted/i2"])
    }).pipe(Effect.provide(live())))

  it.effect("the second of two records with one id is reported", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot([instance("i1"), instance("i1", { version: "2.0.0" })])])
      const discovery = yield* adding(script)
      assert.deepStrictEqual(state(discovery).rejected, [{ id: "i1", reason: "id: another record has it too" }])
      assert.strictEqual(
        HashMap.getUnsafe(discovery.catalog().entries, Catalog.key("scripted", "i1")).instance.version,
        "0.0.0"
      )
    }).pipe(Effect.provide(live())))

  const dangerous = [
    instance("process", { endpoint: { transport: "stdio", command: "rm" } }),
    instance("header", {
      endpoint: { transport: "streamable-http", url: "http://evil.test", headers: { authorization: { env: "TOKEN" } } }
    }),
    instance("file", {
      endpoint: { transport: "sse", url: "http://evil.test", headers: { a: { file: "/etc/passwd" } } }
    }),
    { ...instance("nul"), id: "nul\u0000" },
    instance("key", {
      endpoint: { transport: "websocket", url: "wss://evil.test", tls: { cert: "/etc/c.pem", key: "/etc/k.pem" } }
    }),
    instance("token", {
      endpoint: { transport: "sse", url: "http://evil.test", auth: { type: "authorization-code", store: "/etc/x" } }
    })
  ]

  it.effect("what could start a process or give away a secret is taken from a trusted registry only", () =>
    Effect.gen(function*() {
      const [limited, full] = [scripted({ name: "limited" }), scripted({ name: "full", trust: "full" })]
      limited.first = Effect.succeed([snapshot([...dangerous, instance("good")])])
      full.first = Effect.succeed([snapshot([...dangerous, instance("fine")])])
      const discovery = yield* adding(limited, full)
      assert.deepStrictEqual(
        ids(discovery.catalog()),
        ["full/file", "full/fine", "full/header", "full/key", "full/process", "full/token", "limited/good"]
      )
      const reasons = state(discovery, "limited").rejected.map(({ reason }) => reason)
      assert.lengthOf(reasons, 6)
      assert.match(reasons[0] ?? "", /endpoint\.transport: stdio.*trust: full/)
      assert.match(reasons[1] ?? "", /endpoint\.headers\.authorization.*trust: full/)
      assert.match(reasons[2] ?? "", /endpoint\.headers\.a:/)
      assert.match(reasons[4] ?? "", /endpoint\.tls\.cert: .*trust: full/)
      assert.match(reasons[5] ?? "", /endpoint\.auth: .*trust: full/)
      assert.lengthOf(state(discovery, "full").rejected, 1)
    }).pipe(Effect.provide(live())))

  it.effect("a good record that turns dangerous keeps its good form", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot([instance("i1")])])
      const discovery = yield* adding(script)
      yield* script.emit(delta([put(instance("i1", { endpoint: { transport: "stdio", command: "rm" } }))]))
      yield* TestClock.adjust("100 millis")
      const entry = HashMap.getUnsafe(discovery.catalog().entries, Catalog.key("scripted", "i1"))
      assert.strictEqual(entry.instance.endpoint.transport, "streamable-http")
      assert.lengthOf(state(discovery).rejected, 1)
    }).pipe(Effect.provide(live())))
})

describe("publication", () => {
  it.effect("the first change is published at once, then one per window, and the last state always", () =>
    Effect.gen(function*() {
      const script = scripted()
      const discovery = yield* adding(script)
      const follower = yield* following(discovery)
      yield* script.emit(delta([put(instance("i0"))]))
      assert.strictEqual(follower.updates.length, 1)
      for (let ms = 1; ms <= 1_000; ms++) {
        yield* script.emit(delta([put(instance("i0", { weight: ms }))]))
        yield* TestClock.adjust("1 millis")
      }
      assert.isAtMost(follower.updates.length, 21)
      assert.isAtLeast(follower.updates.length, 19)
      yield* TestClock.adjust("50 millis")
      assert.strictEqual(follower.updates.at(-1)?.changes[0]?.entry.instance.weight, 1_000)
    }).pipe(Effect.provide(live())))

  it.effect("changes that undo each other within a window are none", () =>
    Effect.gen(function*() {
      const script = scripted()
      const discovery = yield* adding(script)
      const follower = yield* following(discovery)
      yield* script.emit(delta([put(instance("i0"))]))
      yield* script.emit(delta([put(instance("i1"))]))
      yield* script.emit(delta([removed("i1")]))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(follower.take(), ["Added scripted/i0"])
    }).pipe(Effect.provide(live())))

  it.effect("a slow subscriber gets the newest state and what differs from the one it had; others don't notice", () =>
    Effect.gen(function*() {
      const script = scripted({ idleTimeout: Option.some(Duration.infinity) })
      script.first = Effect.succeed([snapshot(fleet(3))])
      const discovery = yield* adding(script)
      const follower = yield* following(discovery)
      const seen: Array<Catalog.CatalogUpdate> = []
      yield* Effect.forkScoped(
        Stream.runForEach(
          discovery.updates,
          (update) => Effect.sleep("1 hour").pipe(Effect.map(() => seen.push(update)))
        ),
        { startImmediately: true }
      )
      for (let time = 0; time < 100; time++) {
        yield* script.emit(
          delta([put(instance("i1", { weight: time })), put(instance(`t${time}`)), removed(`t${time - 1}`)])
        )
        yield* TestClock.adjust("1 second")
      }
      yield* script.emit(delta([removed("i2")]))
      assert.strictEqual(follower.updates.length, 101)
      yield* TestClock.adjust("1 hour")
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(seen.length, 2)
      assert.deepStrictEqual(seen[0]?.changes, [])
      assert.deepStrictEqual(
        (seen[1]?.changes ?? []).map(tell).sort(),
        ["Added scripted/t99", "Removed scripted/i2", "Updated scripted/i1"]
      )
      assert.strictEqual(seen[1]?.catalog, discovery.catalog())
    }).pipe(Effect.provide(live())))

  it.effect("a late subscriber begins with what there is", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(3))])
      const discovery = yield* adding(script)
      const first = yield* Stream.runHead(discovery.updates)
      const { catalog, changes } = Option.getOrThrow(first)
      assert.strictEqual(HashMap.size(catalog.entries), 3)
      assert.deepStrictEqual(changes, [])
    }).pipe(Effect.provide(live())))
})

describe("refresh", () => {
  it.effect("reads the registry and is in the catalog when it answers", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(7))])
      const discovery = yield* adding(script)
      script.list = Effect.succeed(snapshot(fleet(2, 7)))
      yield* discovery.refresh()
      // The session is live, so that what the list lacks is gone for sure.
      assert.deepStrictEqual(ids(discovery.catalog()), ["scripted/i7", "scripted/i8"])
    }).pipe(Effect.provide(live())))

  it.effect("what the session says while the list is under way is newer", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(3))])
      const discovery = yield* adding(script)
      script.list = Effect.as(Effect.sleep("1 second"), snapshot(fleet(3)))
      const fiber = yield* Effect.forkChild(discovery.refresh("scripted"), { startImmediately: true })
      yield* script.emit(delta([put(instance("i4")), removed("i1")]))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(ids(discovery.catalog()), ["scripted/i2", "scripted/i3", "scripted/i4"])
    }).pipe(Effect.provide(live())))

  it.effect("what the session rejects while the list is under way is newer too", () =>
    Effect.gen(function*() {
      const script = scripted()
      const discovery = yield* adding(script)
      script.list = Effect.as(Effect.sleep("1 second"), snapshot([instance("i1")]))
      const fiber = yield* Effect.forkChild(discovery.refresh(), { startImmediately: true })
      const rejected = [{ id: "i1", reason: "bad" }, { id: "i2", reason: "bad" }]
      yield* script.emit(delta(rejected.map((rejected) => ({ _tag: "Reject", rejected }))))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(ids(discovery.catalog()), [])
      assert.deepStrictEqual(state(discovery).rejected, rejected)
    }).pipe(Effect.provide(live())))

  it.effect("what only the list knows belongs to its group", () =>
    Effect.gen(function*() {
      const script = scripted({ groupOf: ({ service }) => service })
      const [here, there] = [instance("a1", { service: "a" }), instance("b1", { service: "b" })]
      script.first = Effect.succeed([groups("a", "b"), snapshot([here], [], "a"), snapshot([there], [], "b")])
      const discovery = yield* adding(script)
      script.list = Effect.succeed(snapshot([here, instance("a2", { service: "a" }), there]))
      yield* discovery.refresh()
      assert.strictEqual(count(discovery), 3)
      yield* script.emit(snapshot([there], [], "b"))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(count(discovery), 3)
      yield* script.emit(snapshot([here], [], "a"))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(ids(discovery.catalog()), ["scripted/a1", "scripted/b1"])
    }).pipe(Effect.provide(live())))

  it.effect("a rejection that the list repeats stays with its group", () =>
    Effect.gen(function*() {
      const script = scripted()
      const bad = { id: "a1", reason: "bad" }
      script.first = Effect.succeed([groups("a"), snapshot([], [bad], "a")])
      const discovery = yield* adding(script)
      script.list = Effect.succeed(snapshot([], [bad]))
      yield* discovery.refresh()
      assert.strictEqual(state(discovery).rejected.length, 1)
      yield* script.emit(snapshot([], [], "a"))
      assert.deepStrictEqual(state(discovery).rejected, [])
    }).pipe(Effect.provide(live())))

  it.effect("one that is given up half-way leaves nothing unpublished", () =>
    Effect.gen(function*() {
      const script = scripted()
      const discovery = yield* adding(script)
      const progress = { taken: 0 }
      // Its elements are taken one after the other, in slices.
      const list = new Proxy(fleet(5_000), {
        get: (list, key) => {
          if (key === Symbol.iterator) {
            return function*() {
              for (const instance of list) {
                progress.taken++
                yield instance
              }
            }
          }
          return Reflect.get(list, key)
        }
      })
      script.list = Effect.succeed(snapshot(list))
      const fiber = yield* Effect.forkChild(discovery.refresh(), { startImmediately: true })
      while (progress.taken === 0) yield* Effect.yieldNow
      assert.isBelow(progress.taken, 5_000)
      fiber.interruptUnsafe()
      yield* Fiber.await(fiber)
      for (let turn = 0; turn < 1_000 && count(discovery) === 0; turn++) yield* TestClock.adjust("10 millis")
      assert.strictEqual(count(discovery), 5_000)
    }).pipe(Effect.provide(live())))

  it.effect("tells what can't be read, which name is unknown, and what doesn't answer; the others are read", () =>
    Effect.gen(function*() {
      const [bad, good] = [scripted({ name: "bad" }), scripted({ name: "good" })]
      const discovery = yield* adding(bad, good)
      bad.list = Effect.fail(error("forbidden", "bad"))
      good.list = Effect.succeed(snapshot(fleet(1)))
      const refused = yield* Effect.result(discovery.refresh())
      assert.strictEqual(Result.isFailure(refused) ? refused.failure.message : "", "bad: watch: forbidden")
      assert.strictEqual(count(discovery), 1)
      const unknown = yield* Effect.result(discovery.refresh("nope"))
      assert.match(Result.isFailure(unknown) ? unknown.failure.message : "", /nope: list: no registry.*bad, good/)
      bad.list = Effect.never
      const fiber = yield* Effect.forkChild(Effect.result(discovery.refresh("bad")), { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      const late = yield* Fiber.join(fiber)
      assert.match(Result.isFailure(late) ? late.failure.message : "", /no answer within 10000 ms/)
    }).pipe(Effect.provide(live())))
})
