/**
 * Laws of load: slow subscribers, cancellation, storms, flapping, no hot loop.
 *
 * @since 0.1.0
 */
import type * as Catalog from "@portolan/core/Catalog"
import type * as Registry from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HashMap from "effect/HashMap"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"
import * as Waiting from "../internal/Waiting.ts"
import { type Bench, type Broken, difference, hold, type Law } from "./Law.ts"
import { discover, fence, raw, type View, within } from "./Watching.ts"

const now = Effect.clockWith((clock) => clock.currentTimeMillis)

const storm = Effect.fnUntraced(
  function*(bench: Bench, writes: number): Effect.fn.Return<ReadonlyArray<ServiceInstance>, Broken> {
    const last = new Map<number, ServiceInstance>()
    for (let seq = 0; seq < writes; seq++) {
      const n = 1 + seq % 5
      const instance = bench.instance(n, seq)
      yield* last.has(n) ? bench.controls.update(instance) : bench.controls.add(instance)
      last.set(n, instance)
      yield* Effect.yieldNow
    }
    return Array.from(last.values())
  }
)

const slowSubscriber: Law = {
  id: "G12",
  title: "a subscriber that stands still holds up nobody, holds no memory, and gets the newest state when it goes on",
  needs: [],
  run: Effect.fnUntraced(function*(bench) {
    const view = yield* discover(bench, yield* bench.registry)
    yield* bench.controls.add(bench.instance(99))
    yield* view.equals(() => [bench.instance(99)])

    const seen: Array<Catalog.CatalogUpdate> = []
    const waiting = Waiting.make()
    const gate = yield* Latch.make()
    yield* view.discovery.updates.pipe(
      Stream.runForEach((update) =>
        Effect.suspend(() => {
          seen.push(update)
          waiting.notify()
          return gate.await
        })
      ),
      Effect.forkScoped
    )
    yield* waiting.until(() => seen.length === 1)
    const before = view.updates()
    const last = yield* storm(bench, bench.sizes.storm)
    yield* view.equals(() => [...last, bench.instance(99)])
    const revision = view.discovery.catalog().revision
    const missed = view.updates() - before
    yield* gate.open
    yield* within(
      waiting.until(() => seen.at(-1)!.catalog.revision >= revision),
      bench.times.visible,
      () => `the slow subscriber is at revision ${seen.at(-1)!.catalog.revision}, not ${revision}`
    )
    // One value may have been on its way when the subscriber stopped.
    yield* hold(seen.length <= 3, () => `the slow subscriber had ${seen.length - 1} of ${missed} updates kept for it`)
    const told = new Map(Array.from(HashMap.values(seen[0]!.catalog.entries), (entry) => [entry.key, entry.instance]))
    for (const { changes } of seen.slice(1)) {
      for (const { _tag, entry } of changes) {
        if (_tag === "Removed") told.delete(entry.key)
        else told.set(entry.key, entry.instance)
      }
    }
    yield* hold(
      difference(told.values(), view.instances()) === "",
      () => `the changes told to the slow subscriber don't add up: ${difference(told.values(), view.instances())}`
    )
  })
}

const resources = () => {
  const counts = new Map<string, number>()
  for (const type of process.getActiveResourcesInfo()) counts.set(type, (counts.get(type) ?? 0) + 1)
  return counts
}

/** What is open more than before, as `Timeout +1`; empty when nothing is. */
const leaked = Effect.fnUntraced(function*(
  bench: Bench,
  before: ReadonlyMap<string, number>,
  open: number
): Effect.fn.Return<string, Broken> {
  const more = Array.from(resources()).flatMap(([type, count]) => {
    const extra = count - (before.get(type) ?? 0)
    return extra > 0 ? [`${type} +${extra}`] : []
  })
  if (bench.has("open")) {
    const extra = (yield* bench.controls.open) - open
    if (extra > 0) more.push(`open +${extra}`)
  }
  return more.join(", ")
})

const cancellation: Law = {
  id: "G13",
  title: "an interrupted watch is closed at once and leaves nothing behind",
  needs: [],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    yield* bench.controls.add(bench.instance(1))
    const begin = Effect.fnUntraced(function*() {
      const started = Waiting.make()
      let events = 0
      const fiber = yield* Stream.runForEach(registry.watch, () =>
        Effect.sync(() => {
          events++
          started.notify()
        })).pipe(Effect.forkChild)
      yield* within(started.until(() => events > 0), bench.times.visible, () => "a watch said nothing")
      return fiber
    })
    // What a registry keeps for good (a pool, an agent) is open after the first session.
    yield* Effect.flatMap(begin(), Fiber.interrupt)
    yield* Effect.sleep(20)
    const before = resources()
    const open = bench.has("open") ? yield* bench.controls.open : 0
    let fastest = Infinity
    for (let round = 0; round < 3; round++) {
      const fiber = yield* begin()
      const from = yield* now
      yield* within(
        Effect.asVoid(Fiber.interrupt(fiber)),
        bench.times.visible,
        () => "an interrupted watch did not end"
      )
      // The machine may be busy: the fastest of three tells of the registry.
      while ((yield* now) - from < bench.times.cancel && (yield* leaked(bench, before, open)) !== "") {
        yield* Effect.sleep(5)
      }
      fastest = Math.min(fastest, (yield* now) - from)
    }
    yield* hold(
      fastest <= bench.times.cancel,
      () => `closing took ${fastest} ms at best, more than ${bench.times.cancel} ms`
    )
    let left = yield* leaked(bench, before, open)
    for (let waited = 0; left !== "" && waited < 1000; waited += 50) {
      yield* Effect.sleep(50)
      left = yield* leaked(bench, before, open)
    }
    yield* hold(left === "", () => `left behind after three interrupted watches: ${left}`)
  })
}

const debounced: Law = {
  id: "G19",
  title: "a storm of changes is published once per debounce window, and its end always",
  needs: [],
  run: Effect.fnUntraced(function*(bench) {
    const view = yield* discover(bench, yield* bench.registry, { debounce: bench.times.debounce })
    yield* view.connected
    const updates = view.updates()
    const from = yield* now
    const last = yield* storm(bench, bench.sizes.storm)
    yield* view.equals(() => last)
    const windows = Math.ceil(((yield* now) - from) / bench.times.debounce)
    const published = view.updates() - updates
    // The first goes at once; the state of the source may come between.
    yield* hold(
      published <= windows + 3,
      () => `${published} updates in ${windows} windows of ${bench.times.debounce} ms`
    )
  })
}

const damped: Law = {
  id: "G20",
  title: "an instance that flaps is not removed before the damping is over, and nothing is added late",
  needs: ["push"],
  run: Effect.fnUntraced(function*(bench) {
    const damping = bench.times.damping
    const view = yield* discover(bench, yield* bench.registry, { damping })
    const flapping = bench.instance(1)
    yield* bench.controls.add(flapping)
    yield* view.equals(() => [flapping])
    const from = view.log().length
    let longest = 0
    for (let round = 0; round < 4; round++) {
      const began = yield* now
      yield* bench.controls.remove(flapping)
      yield* Effect.sleep(damping / 6)
      yield* bench.controls.add(flapping)
      longest = Math.max(longest, (yield* now) - began)
      yield* Effect.sleep(damping / 6)
    }
    const asked = yield* now
    const marker = yield* fence(bench, view, 99)
    const shown = view.log().find(({ change }) => change.entry.instance.id === marker.id)!.at
    yield* hold(shown - asked < damping, () => `an addition was held back for ${shown - asked} ms`)
    const removals = view.log().slice(from).filter(({ change }) => change._tag === "Removed")
    // A backend that took so long to write that the instance was really away tells nothing.
    yield* hold(
      removals.length === 0 || longest >= damping / 2,
      () => `a flapping instance was removed ${removals.length} times`
    )
    const gone = yield* now
    yield* bench.controls.remove(flapping)
    yield* view.equals(() => [marker])
    const removed = view.log().findLast(({ change }) => change._tag === "Removed")!.at
    yield* hold(
      removed - gone >= damping * 0.9,
      () => `removed after ${removed - gone} ms, before the damping of ${damping} ms`
    )
  })
}

/** A registry that counts its sessions and lists. */
const counted = (registry: Registry.Registry) => {
  const asked = { sessions: 0, lists: 0 }
  return {
    asked,
    registry: {
      ...registry,
      list: Effect.suspend(() => {
        asked.lists++
        return registry.list
      }),
      watch: Stream.suspend(() => {
        asked.sessions++
        return registry.watch
      })
    }
  }
}

// Ten a second, and the handful that a beginning may take.
const allowed = (millis: number) => Math.ceil(millis / 100) + 5

const quiet: Law = {
  id: "G21",
  title: "a quiet backend is asked at most ten times a second",
  needs: [],
  run: Effect.fnUntraced(function*(bench) {
    const { asked, registry } = counted(yield* bench.registry)
    const view = yield* discover(bench, registry)
    yield* bench.controls.add(bench.instance(1))
    yield* view.equals(() => [bench.instance(1)])
    const before = { ...asked }
    const requests = bench.has("requests") ? yield* bench.controls.requests : 0
    const from = yield* now
    yield* Effect.sleep(bench.times.quiet)
    const limit = allowed((yield* now) - from)
    yield* hold(
      asked.sessions - before.sessions === 0,
      () => `${asked.sessions - before.sessions} new sessions while nothing happened`
    )
    yield* hold(asked.lists - before.lists <= limit, () => `${asked.lists - before.lists} lists while nothing happened`)
    if (bench.has("requests")) {
      const more = (yield* bench.controls.requests) - requests
      yield* hold(more <= limit, () => `${more} requests in ${bench.times.quiet} ms while nothing happened`)
    }
  })
}

const backoff: Law = {
  id: "G21b",
  title: "a lost backend is asked at most ten times a second",
  needs: ["stopBackend", "startBackend"],
  run: Effect.fnUntraced(function*(bench) {
    const { asked, registry } = counted(yield* bench.registry)
    // The waits of the default: scaled ones would prove nothing.
    const view = yield* discover(bench, registry)
    yield* view.connected
    yield* bench.controls.stopBackend
    yield* view.until("a stale source", (view) => view.source()?.state === "stale")
    const before = asked.sessions
    const requests = bench.has("requests") ? yield* bench.controls.requests : 0
    const from = yield* now
    yield* Effect.sleep(bench.times.quiet)
    const limit = allowed((yield* now) - from)
    yield* hold(
      asked.sessions - before <= limit,
      () => `${asked.sessions - before} sessions tried in ${bench.times.quiet} ms`
    )
    if (bench.has("requests")) {
      const more = (yield* bench.controls.requests) - requests
      yield* hold(more <= limit, () => `${more} requests in ${bench.times.quiet} ms to a backend that is away`)
    }
    yield* bench.controls.startBackend
    yield* view.connected
  })
}

/** Every interruption closes what its session opened, also under Discovery. */
const closedScope: Law = {
  id: "G13b",
  title: "the end of discovery ends every session",
  needs: ["open"],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    yield* Effect.scoped(
      Effect.flatMap(raw(bench, registry), (session) => session.until("its first snapshot", session.begun))
    )
    const before = yield* bench.controls.open
    yield* Effect.scoped(Effect.flatMap(discover(bench, registry), (view: View) => view.connected))
    const closed = Effect.gen(function*() {
      while ((yield* bench.controls.open) > before) yield* Effect.sleep(10)
    })
    yield* within(closed, bench.times.visible, () => "sessions were left open after discovery ended")
  })
}

export const laws: ReadonlyArray<Law> = [slowSubscriber, cancellation, closedScope, debounced, damped, quiet, backoff]
