/**
 * Laws of reading: snapshot first, no gap, no duplicates, order, bad records, scope.
 *
 * @since 0.1.0
 */
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Waiting from "../internal/Waiting.ts"
import { type Bench, Broken, difference, hold, type Law, seqOf, show } from "./Law.ts"
import { discover, fence, lines, raw, within } from "./Watching.ts"

const addAll = (bench: Bench, instances: ReadonlyArray<ServiceInstance>) =>
  Effect.forEach(instances, bench.controls.add, { discard: true })

const range = (bench: Bench, count: number) => Array.from({ length: count }, (_, index) => bench.instance(index + 1))

const snapshotFirst: Law = {
  id: "G1",
  title: "a watch begins with what there is, once",
  needs: [],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const truth: Array<ServiceInstance> = []
    for (const more of [[], range(bench, 3)]) {
      yield* addAll(bench, more)
      truth.push(...more)
      const listed = yield* Effect.mapError(
        registry.list,
        (error) => new Broken({ reason: `list failed: ${error.message}` })
      )
      yield* hold(difference(listed.instances, truth) === "", () => `list: ${difference(listed.instances, truth)}`)
      const session = yield* raw(bench, registry)
      yield* session.until("its first snapshot", session.begun)
      yield* hold(
        difference(session.instances(), truth) === "",
        () => `the first snapshot with ${truth.length} instances: ${difference(session.instances(), truth)}`
      )
      yield* session.end
    }
    const view = yield* discover(bench, registry)
    yield* view.discovery.ready.pipe((ready) => within(ready, bench.times.visible, () => "discovery was never ready"))
    yield* view.equals(() => truth)
    const marker = yield* fence(bench, view, 9)
    const added = lines(view, 0)
    const expected = [...truth, marker].map((instance) => `Added ${instance.id}`)
    yield* hold(
      added.length === expected.length && expected.every((line) => added.includes(line)),
      () => `each instance must be added exactly once, published were: ${added.join(", ")}`
    )
  })
}

const lateSubscriber: Law = {
  id: "G2",
  title: "a late subscriber gets the current set and nothing of the past",
  needs: [],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const view = yield* discover(bench, registry)
    const instance = (seq: number) => bench.instance(1, seq)
    yield* bench.controls.add(instance(0))
    for (let seq = 1; seq <= 10; seq++) yield* bench.controls.update(instance(seq))
    yield* view.equals(() => [instance(10)])
    const first = yield* Stream.runHead(view.discovery.updates)
    const update = Option.getOrUndefined(first)
    yield* hold(
      update !== undefined && update.changes.length === 0,
      () => "the first value of a late subscriber holds changes"
    )
    yield* hold(
      update !== undefined && HashMap.size(update.catalog.entries) === 1,
      () => "the first value of a late subscriber is not the current catalog"
    )
    const seen: Array<string> = []
    const late = yield* raw(bench, registry, (_, instances) => instances.forEach((found) => seen.push(show(found))))
    yield* late.equals(() => [instance(10)])
    yield* hold(
      seen.every((line) => line === show(instance(10))),
      () => `a late session told of the past: ${Array.from(new Set(seen)).join(", ")}`
    )
  })
}

const noGap: Law = {
  id: "G3",
  title: "no change is lost between the snapshot and the first delta",
  needs: [],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const truth = new Map<string, ServiceInstance>()
    const waiting = Waiting.make()
    const total = bench.sizes.storm
    let written = 0
    // The sessions begin while the writer is at work, not before or after it.
    const write = Effect.tap(() => {
      written++
      waiting.notify()
      return Effect.yieldNow
    })
    const writer = yield* Effect.gen(function*() {
      // No id is written again later: what a session missed stays wrong.
      for (let n = 0; n < total / 4; n++) {
        const last = bench.instance(1000 + n, 2)
        yield* write(bench.controls.add(bench.instance(1000 + n, 0)))
        yield* write(bench.controls.update(bench.instance(1000 + n, 1)))
        yield* write(bench.controls.remove(bench.instance(1000 + n, 1)))
        if (n % 2 === 0) continue
        yield* write(bench.controls.add(last))
        truth.set(last.id, last)
      }
    }).pipe(Effect.forkChild)
    const sessions = []
    for (const share of [0.1, 0.4, 0.7]) {
      yield* Effect.raceFirst(waiting.until(() => written >= total * share), Fiber.join(writer))
      sessions.push(yield* raw(bench, registry))
    }
    const view = yield* discover(bench, registry)
    yield* Fiber.join(writer)
    const marker = yield* fence(bench, view, 99)
    const all = () => [...truth.values(), marker]
    for (const session of sessions) yield* session.equals(all)
    yield* view.equals(all)
  })
}

const noDuplicates: Law = {
  id: "G4",
  title: "writing the same again changes nothing",
  needs: [],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const view = yield* discover(bench, registry)
    const instances = range(bench, 3)
    yield* addAll(bench, instances)
    yield* view.equals(() => instances)
    const from = view.log().length
    for (let times = 0; times < bench.sizes.rewrites; times++) yield* bench.controls.update(instances[times % 3]!)
    const marker = yield* fence(bench, view, 99)
    const published = lines(view, from)
    yield* hold(
      published.length === 1 && published[0] === `Added ${marker.id}`,
      () => `rewriting equal records published ${published.join(", ")}`
    )
  })
}

const order: Law = {
  id: "G5",
  title: "the changes of one instance are never seen reordered, a batch is seen whole",
  needs: ["order"],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const id = bench.instance(1).id
    const seen: Array<number> = []
    const partial: Array<number> = []
    const batch = [bench.instance(11), bench.instance(12), bench.instance(13)]
    const session = yield* raw(bench, registry, (_, instances) => {
      const found = instances.get(id)
      if (found !== undefined) seen.push(seqOf(found))
      const together = batch.filter((instance) => instances.has(instance.id)).length
      if (together !== 0 && together !== batch.length) partial.push(together)
    })
    const view = yield* discover(bench, registry)
    yield* session.until("its first snapshot", session.begun)
    // Gives a registry in this process the time to tell each step.
    const step = Effect.tap(() => Effect.sleep(1))
    let seq = 0
    for (let round = 0; round < 10; round++) {
      yield* step(bench.controls.add(bench.instance(1, seq++)))
      for (let times = 0; times < 3; times++) yield* step(bench.controls.update(bench.instance(1, seq++)))
      yield* step(bench.controls.remove(bench.instance(1, seq)))
    }
    if (bench.has("batch")) yield* bench.controls.batch(batch)
    const marker = yield* fence(bench, view, 99)
    const expected = [...(bench.has("batch") ? batch : []), marker]
    yield* session.equals(() => expected)
    yield* view.equals(() => expected)
    const published = view.log().filter(({ change }) => change.entry.instance.id === id && change._tag !== "Removed")
      .map(({ change }) => seqOf(change.entry.instance))
    for (const [where, versions] of [["the session", seen], ["the catalog", published]] as const) {
      yield* hold(
        versions.every((version, index) => index === 0 || version >= versions[index - 1]!),
        () => `${where} went back: ${versions.join(" ")}`
      )
    }
    yield* hold(
      partial.length === 0,
      () => `the session showed ${partial[0]} of the ${batch.length} records of a batch`
    )
    const updates = new Set(
      view.log().filter(({ change }) => batch.some((instance) => instance.id === change.entry.instance.id)).map((
        { update }
      ) => update)
    )
    yield* hold(updates.size <= 1, () => `the catalog took ${updates.size} updates to show a batch`)
  })
}

const badRecord: Law = {
  id: "G11",
  title: "a record that can't be decoded harms no other",
  needs: ["corrupt"],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const view = yield* discover(bench, registry)
    const instances = range(bench, 10)
    yield* addAll(bench, instances)
    yield* view.equals(() => instances)
    const from = view.log().length
    yield* bench.controls.corrupt(instances[0]!)
    yield* view.until("the bad record among the rejected", (view) => (view.source()?.rejected.length ?? 0) > 0)
    const marker = yield* fence(bench, view, 99)
    yield* hold(
      lines(view, from).join() === `Added ${marker.id}`,
      () => `a record went bad and the catalog published ${lines(view, from).join(", ")}; its last good form must stay`
    )
    // A new reader never saw its good form.
    const session = yield* raw(bench, registry)
    yield* session.equals(() => [...instances.slice(1), marker])
    yield* bench.controls.update(bench.instance(1, 7))
    yield* view.equals(() => [bench.instance(1, 7), ...instances.slice(1), marker])
    yield* view.until("no rejected record", (view) => view.source()?.rejected.length === 0)
  })
}

const garbage: Law = {
  id: "G11b",
  title: "an answer that can't be decoded at all keeps what was known",
  needs: ["garble", "ungarble"],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const view = yield* discover(bench, registry)
    const instances = range(bench, 10)
    yield* addAll(bench, instances)
    yield* view.equals(() => instances)
    const from = view.log().length
    yield* bench.controls.garble
    yield* view.until("a stale source", (view) => view.source()?.state === "stale")
    yield* hold(lines(view, from).length === 0, () => `garbage published ${lines(view, from).join(", ")}`)
    yield* bench.controls.ungarble
    yield* view.connected
    const marker = yield* fence(bench, view, 99)
    yield* hold(
      lines(view, from).join() === `Added ${marker.id}`,
      () => `after garbage the catalog published ${lines(view, from).join(", ")}`
    )
  })
}

const scope: Law = {
  id: "G18",
  title: "a service never sees the instances of one whose name begins alike",
  needs: [],
  run: Effect.fnUntraced(function*(bench) {
    const registry = yield* bench.registry
    const view = yield* discover(bench, registry)
    const short = bench.instance(1, 0, "foo")
    const long = bench.instance(2, 0, "foobar")
    yield* bench.controls.add(short)
    yield* bench.controls.add(long)
    if (bench.has("outside")) yield* bench.controls.outside(bench.instance(3, 0, "foo"))
    yield* view.equals(() => [short, long])
    const members = (service: string) => {
      const found = HashMap.get(view.catalog().services, service)
      return Option.isNone(found) ? [] : Array.from(HashMap.values(found.value.entries), (entry) => entry.instance)
    }
    yield* hold(difference(members("foo"), [short]) === "", () => `service foo: ${difference(members("foo"), [short])}`)
    yield* hold(
      difference(members("foobar"), [long]) === "",
      () => `service foobar: ${difference(members("foobar"), [long])}`
    )
    yield* bench.controls.remove(short)
    const marker = yield* fence(bench, view, 99)
    yield* view.equals(() => [long, marker])
  })
}

export const laws: ReadonlyArray<Law> = [
  snapshotFirst,
  lateSubscriber,
  noGap,
  noDuplicates,
  order,
  badRecord,
  garbage,
  scope
]
