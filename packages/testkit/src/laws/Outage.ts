/**
 * Laws of loss: what the catalog shows while the backend is away, and what it publishes when it is back.
 *
 * @since 0.1.0
 */
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type Bench, Broken, difference, hold, type Law } from "./Law.ts"
import { discover, fence, lines, type View, within } from "./Watching.ts"

const fill = Effect.fnUntraced(
  function*(bench: Bench, view: View, count: number): Effect.fn.Return<ReadonlyArray<ServiceInstance>, Broken> {
    const instances = Array.from({ length: count }, (_, index) => bench.instance(index + 1))
    yield* Effect.forEach(instances, bench.controls.add, { discard: true })
    yield* view.equals(() => instances)
    return instances
  }
)

const served = (view: View, instances: ReadonlyArray<ServiceInstance>, when: string) =>
  Effect.suspend(() =>
    hold(difference(view.instances(), instances) === "", () => `${when}: ${difference(view.instances(), instances)}`)
  )

/** Takes the backend away for the time of an outage; `blind` happens in the middle of it. */
const outage = Effect.fnUntraced(function*(
  bench: Bench,
  view: View,
  instances: ReadonlyArray<ServiceInstance>,
  blind: Effect.Effect<unknown, Broken> = Effect.void
): Effect.fn.Return<void, Broken> {
  yield* bench.controls.stopBackend
  yield* view.until("a stale source", (view) => view.source()?.state === "stale")
  yield* served(view, instances, "as the backend went")
  yield* blind
  yield* Effect.sleep(bench.times.outage)
  yield* served(view, instances, "while the backend was away")
  yield* bench.controls.startBackend
  yield* view.connected
})

const only = (view: View, from: number, expected: ReadonlyArray<string>, when: string) =>
  Effect.suspend(() => {
    const published = Array.from(lines(view, from)).sort()
    return hold(
      published.join() === Array.from(expected).sort().join(),
      () => `${when} the catalog published ${published.join(", ") || "nothing"} instead of ${expected.join(", ")}`
    )
  })

const unchanged: Law = {
  id: "G6",
  title: "an outage without change: served and marked stale throughout, nothing published",
  needs: ["stopBackend", "startBackend"],
  run: Effect.fnUntraced(function*(bench) {
    const view = yield* discover(bench, yield* bench.registry)
    const instances = yield* fill(bench, view, 3)
    const from = view.log().length
    yield* outage(bench, view, instances)
    const marker = yield* fence(bench, view, 99)
    yield* only(view, from, [`Added ${marker.id}`], "after an outage without change")
    yield* hold((view.source()?.reconnects ?? 0) > 0, () => "the source counts no reconnect")
    yield* hold(view.source()?.lastError === undefined, () => "the source still tells its last error")
  })
}

const cut: Law = {
  id: "G6b",
  title: "connections that are reset are replaced, nothing published",
  needs: ["cutConnections"],
  run: Effect.fnUntraced(function*(bench) {
    const view = yield* discover(bench, yield* bench.registry)
    yield* fill(bench, view, 3)
    const from = view.log().length
    yield* bench.controls.cutConnections
    const marker = yield* fence(bench, view, 99)
    yield* view.connected
    yield* only(view, from, [`Added ${marker.id}`], "after a reset")
  })
}

const restarted: Law = {
  id: "G6c",
  title: "the backend's process restarts with its data: nothing published",
  needs: ["restartBackend"],
  run: Effect.fnUntraced(function*(bench) {
    const view = yield* discover(bench, yield* bench.registry)
    yield* fill(bench, view, 3)
    const from = view.log().length
    yield* bench.controls.restartBackend
    yield* view.connected
    const marker = yield* fence(bench, view, 99)
    yield* only(view, from, [`Added ${marker.id}`], "after a restart")
  })
}

const changedBlind: Law = {
  id: "G7",
  title: "an outage with changes: exactly the true changes are published",
  needs: ["stopBackend", "startBackend"],
  run: Effect.fnUntraced(function*(bench) {
    const view = yield* discover(bench, yield* bench.registry)
    const instances = yield* fill(bench, view, 4)
    const from = view.log().length
    const joined = bench.instance(5)
    const altered = bench.instance(2, 1)
    yield* outage(
      bench,
      view,
      instances,
      bench.controls.remove(instances[0]!).pipe(
        Effect.andThen(bench.controls.add(joined)),
        Effect.andThen(bench.controls.update(altered))
      )
    )
    const marker = yield* fence(bench, view, 99)
    const now = [altered, instances[2]!, instances[3]!, joined, marker]
    yield* view.equals(() => now)
    yield* only(
      view,
      from,
      [`Removed ${instances[0]!.id}`, `Added ${joined.id}`, `Updated ${altered.id}`, `Added ${marker.id}`],
      "after a blind change"
    )
  })
}

const wiped: Law = {
  id: "G8",
  title: "a backend that comes back empty is not believed at once",
  needs: ["wipe", "wipeBackend", "stopBackend", "startBackend"],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const view = yield* discover(bench, registry, { grace: bench.times.grace })
    const instances = yield* fill(bench, view, 6)
    yield* outage(bench, view, instances, bench.controls.wipeBackend)
    const back = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
    if (!registry.authoritative) {
      yield* view.until("the removals held", (view) => view.source()?.held === instances.length)
      yield* served(view, instances, "within the grace")
    }
    yield* view.equals(() => [])
    const removed = view.log().filter(({ change }) => change._tag === "Removed")
    yield* hold(
      removed.length === instances.length,
      () => `${removed.length} of ${instances.length} removals published`
    )
    // A little early is the clocks' rounding.
    const early = removed.filter(({ at }) => at < back + bench.times.grace * 0.9 - 50)
    yield* hold(
      registry.authoritative || early.length === 0,
      () => `${early.length} instances were removed before the grace of ${bench.times.grace} ms was over`
    )
  })
}

const provenEmpty: Law = {
  id: "G9",
  title: "a set that is emptied in order is empty at once",
  needs: [],
  run: Effect.fnUntraced(function*(bench) {
    const view = yield* discover(bench, yield* bench.registry, { grace: bench.times.visible * 10 })
    const instances = yield* fill(bench, view, 6)
    yield* Effect.forEach(instances, bench.controls.remove, { discard: true })
    yield* view.equals(() => [])
  })
}

const halfOpen: Law = {
  id: "G10",
  title: "a connection that says nothing any more is given up, and the view resynced",
  needs: ["push", "pauseConnections", "resumeConnections"],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const view = yield* discover(bench, registry, { idleTimeout: bench.times.idle })
    const instances = yield* fill(bench, view, 3)
    yield* bench.controls.pauseConnections
    yield* Effect.addFinalizer(() => Effect.ignore(bench.controls.resumeConnections))
    const joined = bench.instance(4)
    yield* bench.controls.add(joined)
    const reconnects = view.source()?.reconnects ?? 0
    const found = (view: View) => view.instances().some((instance) => instance.id === joined.id)
    yield* view.until(
      "that the silence was noticed",
      (view) => found(view) || view.source()?.state === "stale" || (view.source()?.reconnects ?? 0) > reconnects
    )
    yield* served(view, found(view) ? [...instances, joined] : instances, "after the silence")
    yield* bench.controls.resumeConnections
    yield* view.connected
    yield* view.equals(() => [...instances, joined])
  })
}

const unauthorized: Law = {
  id: "G22",
  title: "credentials that are refused: the view stays, the error is told, new credentials heal it",
  needs: ["revoke", "grant"],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const view = yield* discover(bench, registry)
    const instances = yield* fill(bench, view, 3)
    const from = view.log().length
    yield* bench.controls.revoke
    yield* view.until(
      "a stale source that tells its error",
      (view) => view.source()?.state === "stale" && view.source()?.lastError !== undefined
    )
    yield* served(view, instances, "while the credentials were refused")
    const error = yield* within(
      Stream.runDrain(registry.watch).pipe(
        Effect.flip,
        Effect.mapError(() => new Broken({ reason: "a watch ended well while the credentials were refused" }))
      ),
      bench.times.visible,
      () => "a watch did not fail while the credentials were refused"
    )
    yield* hold(
      error.unauthorized === true,
      () => `the error does not say that it is one of credentials: ${error.message}`
    )
    yield* bench.controls.grant
    yield* view.connected
    const marker = yield* fence(bench, view, 99)
    yield* only(view, from, [`Added ${marker.id}`], "after new credentials")
  })
}

export const laws: ReadonlyArray<Law> = [
  unchanged,
  cut,
  restarted,
  changedBlind,
  wiped,
  provenEmpty,
  halfOpen,
  unauthorized
]
