/**
 * Laws of writing: leases run out in time, and a record is removed only by its own process.
 *
 * @since 0.1.0
 */
import type * as Registry from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type Bench, Broken, hold, type Law } from "./Law.ts"
import { discover, fence, lines, type View } from "./Watching.ts"

/** The writing side, which the law needs. */
export const registrarOf = (registry: Registry.Registry): Effect.Effect<Registry.Registrar, Broken> =>
  Option.match(registry.registrar, {
    onNone: () =>
      Effect.fail(new Broken({ reason: "the registry has no registrar; list `lease` in lacks if it is read-only" })),
    onSome: Effect.succeed
  })

/** Names the operation that failed. */
export const asked = <A>(what: string, effect: Effect.Effect<A, Registry.RegistryError>) =>
  Effect.mapError(effect, (error) => new Broken({ reason: `${what} failed: ${error.message}` }))

/** Whether the catalog shows it. A backend may keep an expired record for a while, as long as it says that it is down. */
export const shown = (view: View, instance: ServiceInstance) =>
  view.instances().some((found) => found.id === instance.id && found.status !== "down")

const clock = (bench: Bench): Effect.Effect<number, Broken> =>
  bench.has("now") ? bench.controls.now : Effect.clockWith((clock) => clock.currentTimeMillis)

const ttl: Law = {
  id: "G14",
  title: "a record without renewal is gone when its TTL is over, and not before",
  needs: ["lease"],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const registrar = yield* registrarOf(registry)
    const view = yield* discover(bench, registry)
    const instance = bench.instance(1)
    const before = yield* clock(bench)
    const lease = yield* asked(
      "put",
      registrar.put(instance, { ttl: Duration.millis(bench.times.ttl), incarnation: "first" })
    )
    const granted = Duration.toMillis(lease.ttl)
    const late = bench.times.lapse + bench.times.slack
    const after = yield* clock(bench)
    yield* view.until("the record", (view) => shown(view, instance))
    yield* view.until("the expiry", (view) => !shown(view, instance), granted + late + bench.times.visible)
    const gone = yield* clock(bench)
    yield* hold(
      gone >= before + granted - 20,
      () => `gone ${gone - before} ms after it was written, before its TTL of ${granted} ms`
    )
    yield* hold(
      gone <= after + granted + late,
      () => `gone ${gone - after} ms after it was written, with a TTL of ${granted} ms and ${late} ms of slack`
    )
  })
}

const renewed: Law = {
  id: "G14b",
  title: "a record that is renewed outlives its TTL, and renewing changes nothing",
  needs: ["lease"],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const registrar = yield* registrarOf(registry)
    const view = yield* discover(bench, registry)
    const instance = bench.instance(1)
    const lease = yield* asked(
      "put",
      registrar.put(instance, { ttl: Duration.millis(bench.times.ttl), incarnation: "first" })
    )
    yield* view.until("the record", (view) => shown(view, instance))
    const from = view.log().length
    const granted = Duration.toMillis(lease.ttl)
    const end = (yield* clock(bench)) + granted * 1.5
    while ((yield* clock(bench)) < end) {
      yield* Effect.sleep(granted / 4)
      const lost = yield* asked("renew", registrar.renew([lease]))
      yield* hold(lost.length === 0, () => `a renewal said that the lease is lost: ${lost[0]?.reason}`)
    }
    const marker = yield* fence(bench, view, 99)
    yield* hold(
      lines(view, from).join() === `Added ${marker.id}`,
      () => `renewing published ${lines(view, from).join(", ")}`
    )
    yield* asked("remove", registrar.remove(lease))
    yield* view.until("the removal", (view) => !shown(view, instance))
  })
}

const lost: Law = {
  id: "G15b",
  title: "a renewal tells which records are gone",
  needs: ["lease"],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const registrar = yield* registrarOf(registry)
    const view = yield* discover(bench, registry)
    const options: Registry.LeaseOptions = { ttl: Duration.millis(bench.times.ttl * 10), incarnation: "first" }
    const kept = yield* asked("put", registrar.put(bench.instance(1), options))
    const gone = yield* asked("put", registrar.put(bench.instance(2), options))
    yield* view.equals(() => [kept.instance, gone.instance])
    yield* bench.controls.remove(gone.instance)
    yield* view.equals(() => [kept.instance])
    const told = yield* asked("renew", registrar.renew([kept, gone]))
    yield* hold(
      told.map(({ lease }) => lease.instance.id).join() === gone.instance.id,
      () =>
        `renewing a kept and a deleted record said lost: ${
          told.map(({ lease }) => lease.instance.id).join(" ") || "none"
        }`
    )
    yield* asked("remove", registrar.remove(kept))
    yield* view.equals(() => [])
  })
}

const incarnations: Law = {
  id: "G17",
  title: "the end of an old process doesn't remove the record of the new one with its id",
  needs: ["lease"],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const registrar = yield* registrarOf(registry)
    const view = yield* discover(bench, registry)
    const time = Duration.millis(bench.times.ttl * 10)
    const old = yield* asked("put", registrar.put(bench.instance(1, 1), { ttl: time, incarnation: "first" }))
    yield* view.equals(() => [bench.instance(1, 1)])
    const current = yield* asked("put", registrar.put(bench.instance(1, 2), { ttl: time, incarnation: "second" }))
    yield* view.equals(() => [bench.instance(1, 2)])
    const from = view.log().length
    yield* asked("remove", registrar.remove(old))
    const marker = yield* fence(bench, view, 99)
    yield* hold(
      lines(view, from).join() === `Added ${marker.id}`,
      () => `the old process's end published ${lines(view, from).join(", ")}`
    )
    const told = yield* asked("renew", registrar.renew([old, current]))
    yield* hold(
      told.length === 1 && told[0]?.lease.incarnation === "first" && told[0].taken,
      () =>
        `renewing the old and the new lease said lost: ${
          told.map(({ lease, taken }) => `${lease.incarnation}${taken ? " (taken)" : ""}`).join(" ") || "none"
        }`
    )
    yield* asked("remove", registrar.remove(current))
    yield* view.equals(() => [marker])
    const free = yield* asked("renew", registrar.renew([old]))
    yield* hold(
      free.length === 1 && free[0]?.taken === false,
      () => "a renewal of the old lease didn't say that its record is gone"
    )
  })
}

export const laws: ReadonlyArray<Law> = [ttl, renewed, lost, incarnations]
