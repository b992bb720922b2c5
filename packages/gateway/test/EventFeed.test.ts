import { assert, describe, it } from "@effect/vitest"
import type * as Catalog from "@portolan/core/Catalog"
import { Health } from "@portolan/core/Health"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import { Registries } from "@portolan/core/Registries"
import * as EventFeed from "@portolan/gateway/rest/EventFeed"
import { topics } from "@portolan/gateway/rest/Events"
import { Views } from "@portolan/gateway/rest/Views"
import { McpEndpoint } from "@portolan/mcp/relay/McpEndpoint"
import { Upstreams } from "@portolan/mcp/upstream/Upstreams"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { endpoint, instance, toolCatalog, upstreams } from "./fleet.ts"

/** A feed over three instances, and how often it asked for figures. */
const feeding = (options: EventFeed.EventFeedOptions = {}, connections = upstreams) => {
  const asked = { times: 0 }
  const figures = () => {
    asked.times++
    return { sessions: asked.times, streams: 0, callsInFlight: 0, calls: 0, failedCalls: 0, failovers: 0 }
  }
  const layer = EventFeed.layer(options).pipe(
    Layer.provideMerge(Views.layer),
    Layer.provideMerge(toolCatalog),
    Layer.provideMerge(Layer.succeed(McpEndpoint, McpEndpoint.of({ ...endpoint, figures }))),
    Layer.provideMerge(
      Layer.succeed(Upstreams, connections)
    ),
    Layer.provideMerge(Layer.effectDiscard(Effect.gen(function*() {
      const registries = yield* Registries
      yield* registries.add(yield* MemoryRegistry.make({ instances: ["a-1", "a-2", "b-1"].map((id) => instance(id)) }))
    }))),
    Layer.provideMerge(Portolan.layer())
  )
  return { asked, layer }
}

/** A connection that takes bytes when the test says so. */
const connect = (lastEventId?: string, stalled?: () => void) =>
  Effect.gen(function*() {
    const feed = yield* EventFeed.EventFeed
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
    const pull = yield* Scope.provide(
      Stream.toPull(yield* feed.open({ topics: new Set(topics), lastEventId, stalled })),
      scope
    )
    let text = ""
    /** What there is to take, until it would wait. */
    const take = Effect.gen(function*() {
      let taken = ""
      while (true) {
        const fiber = yield* Effect.forkChild(pull, { startImmediately: true })
        yield* Effect.yieldNow
        const exit = fiber.pollUnsafe()
        if (exit === undefined) {
          fiber.interruptUnsafe()
          break
        }
        for (const bytes of yield* exit) taken += Buffer.from(bytes).toString("utf8")
      }
      text += taken
      return Array.from(taken.matchAll(/^event: (\w+)$/gm), ([, name]) => name)
    })
    return {
      take,
      id: () => Array.from(text.matchAll(/^id: (.+)$/gm)).at(-1)?.[1],
      leave: Scope.close(scope, Exit.void)
    }
  })

const mark = (reason: string) =>
  Effect.gen(function*() {
    const health = yield* Health
    const [entry] = (yield* Views).entries()
    assert.isDefined(entry)
    yield* health.override(entry!.key, "down", reason)
    yield* TestClock.adjust("1 second")
    yield* health.override(entry!.key, undefined, "")
    yield* TestClock.adjust("1 second")
  })

describe("EventFeed", () => {
  it.effect("asks for nothing while nobody watches", () => {
    const { asked, layer } = feeding()
    return Effect.gen(function*() {
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(asked.times, 0)
      const watcher = yield* connect()
      assert.deepEqual(yield* watcher.take, ["snapshot"])
      const before = asked.times
      yield* TestClock.adjust("10 seconds")
      // Twice a second.
      assert.closeTo(asked.times - before, 20, 2)
      yield* watcher.leave
      yield* TestClock.adjust("31 seconds")
      const after = asked.times
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(asked.times, after)
    }).pipe(Effect.provide(layer))
  })

  it.effect("tells of connections that changed, and asks for no others", () => {
    const asked: Array<string> = []
    const changes: Array<Catalog.InstanceKey> = []
    const { layer } = feeding({}, {
      ...upstreams,
      get: (key) => {
        asked.push(key)
        return {
          key,
          instance: () => instance("a-1"),
          state: () => ({ _tag: "connected", since: changes.length, lastError: undefined, profile: undefined }),
          connect: Effect.never,
          request: () => Effect.never,
          notify: () => Effect.void,
          session: () => undefined,
          follow: () => Effect.never
        }
      },
      revision: () => changes.length,
      changedSince: (revision) => revision < 0 ? undefined : changes.slice(revision)
    })
    return Effect.gen(function*() {
      const watcher = yield* connect()
      yield* watcher.take
      yield* TestClock.adjust("1 minute")
      yield* watcher.take
      asked.length = 0
      yield* TestClock.adjust("1 minute")
      assert.notInclude(yield* watcher.take, "catalog")
      assert.deepStrictEqual(asked, [])
      const [, key] = Array.from((yield* Views).entries(), (entry) => entry.key)
      asked.length = 0
      changes.push(key!, key!)
      yield* TestClock.adjust("500 millis")
      assert.deepStrictEqual((yield* watcher.take).filter((name) => name === "catalog"), ["catalog"])
      // To compare, and to tell.
      assert.deepStrictEqual(asked, [key, key])
    }).pipe(Effect.provide(layer))
  })

  it.effect("beats every two seconds", () => {
    const { layer } = feeding()
    return Effect.gen(function*() {
      const watcher = yield* connect()
      yield* watcher.take
      let beats = 0
      for (let second = 0; second < 20; second++) {
        yield* TestClock.adjust("1 second")
        beats += (yield* watcher.take).filter((name) => name === "beat").length
      }
      assert.closeTo(beats, 10, 1)
    }).pipe(Effect.provide(layer))
  })

  it.effect("lets a watcher go on that comes back within half a minute", () => {
    const { layer } = feeding()
    return Effect.gen(function*() {
      const first = yield* connect()
      yield* first.take
      yield* first.leave
      yield* mark("away")
      yield* TestClock.adjust("20 seconds")
      const back = yield* connect(first.id())
      const missed = yield* back.take
      assert.notInclude(missed, "snapshot")
      assert.includeMembers(missed, ["health"])
      yield* back.leave
      yield* TestClock.adjust("40 seconds")
      const late = yield* connect(back.id())
      assert.deepEqual(yield* late.take, ["resync", "snapshot"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("gives a watcher that is too slow a new snapshot, and holds nothing for it", () => {
    const { layer } = feeding({ log: { frames: 20, bytes: 100_000 }, stall: 1_000_000 })
    return Effect.gen(function*() {
      const slow = yield* connect()
      yield* slow.take
      for (let round = 0; round < 30; round++) yield* mark(`round ${round}`)
      const [first, second, ...rest] = yield* slow.take
      assert.deepEqual([first, second], ["resync", "snapshot"])
      assert.isBelow(rest.length, 3)
      yield* mark("again")
      assert.include(yield* slow.take, "health")
    }).pipe(Effect.provide(layer))
  })

  it.effect("cuts a watcher that takes nothing for a minute", () => {
    const { layer } = feeding()
    return Effect.gen(function*() {
      let cut = 0
      const feed = yield* EventFeed.EventFeed
      const scope = yield* Scope.make()
      const open = (stalled: () => void) =>
        Effect.gen(function*() {
          const stream = yield* feed.open({ topics: new Set(topics), stalled })
          return yield* Scope.provide(Stream.toPull(stream), scope)
        })
      // Takes what there is once, and never again.
      yield* Effect.flatMap(open(() => cut++), (pull) => pull)
      let alive = 0
      const reading = yield* open(() => alive++)
      yield* Effect.forkChild(Effect.ignore(Effect.forever(reading)), { startImmediately: true })
      yield* TestClock.adjust("50 seconds")
      assert.deepEqual([cut, alive], [0, 0])
      yield* TestClock.adjust("20 seconds")
      assert.deepEqual([cut, alive], [1, 0])
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(feed.watchers(), 0)
    }).pipe(Effect.provide(layer))
  })

  it.effect("has no more places than it has", () => {
    const { layer } = feeding({ capacity: 2 })
    return Effect.gen(function*() {
      const feed = yield* EventFeed.EventFeed
      const watchers = [yield* connect(), yield* connect()]
      yield* Effect.forEach(watchers, ({ take }) => take)
      assert.strictEqual(feed.watchers(), 2)
      const refused = yield* Effect.flip(feed.open({ topics: new Set(topics) }))
      assert.strictEqual(refused.status, 503)
      yield* watchers[0]!.leave
      assert.deepEqual(yield* (yield* connect()).take, ["snapshot"])
    }).pipe(Effect.provide(layer))
  })
})
