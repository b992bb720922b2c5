/**
 * Laws of announcing: what a server announces through core is there, comes back, and goes in order.
 *
 * @since 0.1.0
 */
import * as Announcement from "@portolan/core/Announcement"
import type * as Registry from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { type Bench, type Broken, hold, type Law } from "./Law.ts"
import { asked, registrarOf, shown } from "./Leases.ts"
import { discover, type View, within } from "./Watching.ts"

const now = Effect.clockWith((clock) => clock.currentTimeMillis)

/** A running announcement with a scope of its own: closing it is the graceful end of the process. */
const announce = Effect.fnUntraced(function*(
  bench: Bench,
  registry: Registry.Registry,
  view: View,
  instance: ServiceInstance,
  ttl: number = bench.times.ttl
): Effect.fn.Return<Effect.Effect<void>, Broken, Scope.Scope> {
  yield* registrarOf(registry)
  const scope = yield* Scope.fork(yield* Effect.scope)
  yield* asked(
    "announce",
    Announcement.announce(registry, instance, {
      ttl,
      drain: bench.times.drain,
      deadline: bench.times.shutdown
    }).pipe(Scope.provide(scope))
  )
  yield* view.until("the announced record", (view) => shown(view, instance))
  return Scope.close(scope, Exit.void)
})

/** Asks the backend itself, past every view, until it has the record; answers how long that took. */
const back = Effect.fnUntraced(function*(
  bench: Bench,
  registry: Registry.Registry,
  instance: ServiceInstance
): Effect.fn.Return<number, Broken> {
  const from = yield* now
  const there = Effect.map(
    asked("list", registry.list),
    ({ instances }) => instances.some((found) => found.id === instance.id && found.status !== "down")
  )
  yield* within(
    Effect.gen(function*() {
      while (!(yield* there)) yield* Effect.sleep(20)
    }),
    bench.times.visible,
    () => "the record was not announced again"
  )
  return (yield* now) - from
})

const reannounced: Law = {
  id: "G15",
  title: "a record that is deleted behind its process is back within a heartbeat",
  needs: ["lease"],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const view = yield* discover(bench, registry)
    const instance = bench.instance(1)
    yield* Effect.asVoid(announce(bench, registry, view, instance))
    yield* bench.controls.remove(instance)
    const took = yield* back(bench, registry, instance)
    const heartbeat = bench.times.ttl / 3
    yield* hold(
      took <= heartbeat + bench.times.slack,
      () => `back after ${took} ms, with a heartbeat of ${heartbeat} ms and ${bench.times.slack} ms of slack`
    )
    yield* view.until("the record again", (view) => shown(view, instance))
  })
}

const reannouncedAfterWipe: Law = {
  id: "G8b",
  title: "what was announced is announced again after the backend lost its data",
  needs: ["lease", "wipe", "wipeBackend", "stopBackend", "startBackend"],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const view = yield* discover(bench, registry)
    const instance = bench.instance(1)
    yield* Effect.asVoid(announce(bench, registry, view, instance))
    yield* bench.controls.stopBackend
    yield* bench.controls.wipeBackend
    yield* Effect.sleep(bench.times.outage)
    yield* bench.controls.startBackend
    const took = yield* back(bench, registry, instance)
    // Three seconds is the longest wait between two attempts.
    const longest = bench.times.ttl / 3 + 3000 + bench.times.slack
    yield* hold(took <= longest, () => `back after ${took} ms, more than ${longest} ms`)
    yield* view.connected
    yield* view.until("the record again", (view) => shown(view, instance))
  })
}

// So long that no record is gone because its time is over.
const longLived = (bench: Bench) => bench.times.ttl + bench.times.visible * 3

/** Closes, and holds that the record drains, then goes, and is not left behind. */
const leaves = Effect.fnUntraced(function*(
  bench: Bench,
  registry: Registry.Registry,
  view: View,
  instance: ServiceInstance,
  close: Effect.Effect<void>
): Effect.fn.Return<void, Broken> {
  const from = view.log().length
  const closing = yield* Effect.forkChild(close)
  yield* view.until(
    "the draining record",
    () =>
      view.log().slice(from).some(({ change }) =>
        change._tag === "Updated" && change.entry.instance.status === "draining"
      )
  )
  yield* view.until("the removal", (view) => !shown(view, instance))
  yield* within(Fiber.join(closing), bench.times.shutdown + bench.times.slack, () => "closing did not end")
  const { instances } = yield* asked("list", registry.list)
  yield* hold(
    !instances.some(({ id }) => id === instance.id),
    () => "the backend still has the record of a process that ended"
  )
})

const graceful: Law = {
  id: "G16",
  title: "a process that ends drains visibly, then its record is removed",
  needs: ["lease"],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const view = yield* discover(bench, registry)
    const instance = bench.instance(1)
    const close = yield* announce(bench, registry, view, instance, longLived(bench))
    yield* leaves(bench, registry, view, instance, close)
  })
}

const gracefulSlow: Law = {
  id: "G16b",
  title: "so it does when the backend is slow",
  needs: ["lease", "slowWrites"],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const view = yield* discover(bench, registry)
    const instance = bench.instance(1)
    const close = yield* announce(bench, registry, view, instance, longLived(bench))
    yield* bench.controls.slowWrites(Duration.millis(bench.times.shutdown / 8))
    yield* leaves(bench, registry, view, instance, close)
    yield* bench.controls.slowWrites(Duration.zero)
  })
}

const boundedEnd: Law = {
  id: "G16c",
  title: "a lost backend can't hang the end of a process",
  needs: ["lease", "stopBackend", "startBackend"],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const view = yield* discover(bench, registry)
    const close = yield* announce(bench, registry, view, bench.instance(1))
    yield* bench.controls.stopBackend
    yield* within(
      close,
      bench.times.shutdown + bench.times.slack,
      () => "closing an announcement hung on a backend that is away"
    )
    yield* bench.controls.startBackend
    yield* bench.controls.remove(bench.instance(1))
  })
}

export const laws: ReadonlyArray<Law> = [reannouncedAfterWipe, reannounced, graceful, gracefulSlow, boundedEnd]
