import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import type * as Catalog from "../src/Catalog.ts"
import * as Registry from "../src/Registry.ts"
import * as ServiceInstance from "../src/ServiceInstance.ts"
import { adding, error, instance, live, put, removed, scripted } from "./fixtures/scripted.ts"

// What can happen to a registry. `x0` to `x7` are its ids; hosts are shared by all, so that endpoints coincide.
const number = fc.nat(7)
const how = fc.constantFrom("deregistered" as const, "expired" as const, "unknown" as const)
const record = fc.record({ id: number, host: fc.nat(1), weight: fc.nat(2) })
const step = fc.record({
  source: fc.nat(2),
  act: fc.oneof(
    fc.record({ do: fc.constant("put" as const), records: fc.array(record, { minLength: 1, maxLength: 3 }) }),
    fc.record({ do: fc.constant("remove" as const), id: number, how }),
    fc.record({
      do: fc.constant("replace" as const),
      records: fc.array(record, { maxLength: 8 }),
      expired: fc.array(number)
    }),
    fc.record({ do: fc.constant("fail" as const), away: fc.nat(20) }),
    fc.record({ do: fc.constant("end" as const) }),
    fc.record({ do: fc.constant("refresh" as const) })
  ),
  wait: fc.constantFrom(0, 0, 0, 1, 10, 60, 40_000)
})

type Step = typeof step extends fc.Arbitrary<infer A> ? A : never

const make = ({ host, id, weight }: { readonly id: number; readonly host: number; readonly weight: number }) =>
  instance(`x${id}`, {
    service: `s${id % 3}`,
    endpoint: { transport: "streamable-http", url: `http://host${host}.test/mcp` },
    weight,
    tags: weight === 0 ? [] : ["heavy"]
  })

/** The merged view, by the words of the design. */
const oracle = (truths: ReadonlyArray<ReadonlyMap<string, ServiceInstance.ServiceInstance>>) => {
  const entries = new Map<
    string,
    { readonly instance: ServiceInstance.ServiceInstance; readonly alsoIn: Array<string> }
  >()
  truths.forEach((truth, index) => {
    for (const [id, instance] of truth) {
      const winner = [0, 1, 2].slice(0, index).map((earlier) => entries.get(`r${earlier}/${id}`)).find((entry) =>
        entry !== undefined && ServiceInstance.endpointKey(entry.instance) === ServiceInstance.endpointKey(instance)
      )
      if (winner === undefined) entries.set(`r${index}/${id}`, { instance, alsoIn: [] })
      else winner.alsoIn.push(`r${index}`)
    }
  })
  return new Map(Array.from(entries).sort(([a], [b]) => a < b ? -1 : 1))
}

const view = (catalog: Catalog.Catalog) =>
  new Map<string, unknown>(
    Array.from(
      HashMap.values(catalog.entries),
      ({ alsoIn, instance, source }): [string, unknown] => [`${source}/${instance.id}`, { instance, alsoIn }]
    ).sort(([a], [b]) => a < b ? -1 : 1)
  )

/** A subscriber that knows the catalog by the changes alone, and checks that they tell all of it. */
const replaying = (updates: Stream.Stream<Catalog.CatalogUpdate>, pause: number) => {
  const known = new Map<Catalog.InstanceKey, Catalog.CatalogEntry>()
  let first = true
  let revision = -1
  const replay = ({ catalog, changes }: Catalog.CatalogUpdate) => {
    assert.isAbove(catalog.revision, revision)
    revision = catalog.revision
    if (first) { for (const [key, entry] of catalog.entries) known.set(key, entry) }
    first = false
    for (const change of changes) {
      const { key } = change.entry
      if (change._tag === "Added") assert.isFalse(known.has(key), "added what was there")
      if (change._tag === "Updated") assert.strictEqual(known.get(key), change.previous)
      if (change._tag === "Removed") assert.strictEqual(known.get(key), change.entry)
      if (change._tag === "Removed") known.delete(key)
      else known.set(key, change.entry)
    }
    assert.strictEqual(known.size, HashMap.size(catalog.entries))
    for (const [key, entry] of catalog.entries) assert.strictEqual(known.get(key), entry)
  }
  return Effect.forkScoped(
    Stream.runForEach(updates, (update) => Effect.andThen(Effect.sync(() => replay(update)), Effect.sleep(pause))),
    { startImmediately: true }
  )
}

const program = Effect.fnUntraced(function*(authoritative: boolean, steps: ReadonlyArray<Step>) {
  const truths = [0, 1, 2].map(() => new Map<string, ServiceInstance.ServiceInstance>())
  const scripts = truths.map((truth, index) => {
    const script = scripted({ name: `r${index}`, authoritative })
    script.first = Effect.sync(() => [Registry.snapshot(Array.from(truth.values()))])
    script.list = Effect.sync(() => Registry.snapshot(Array.from(truth.values())))
    return script
  })
  const discovery = yield* adding(...scripts)
  const fast = yield* replaying(discovery.updates, 0)
  const slow = yield* replaying(discovery.updates, 777)
  for (const { act, source, wait } of steps) {
    const [script, truth] = [scripts[source], truths[source]]
    if (script === undefined || truth === undefined) continue
    const say = (event: Registry.RegistryEvent) => script.open() ? script.emit(event) : Effect.void
    switch (act.do) {
      case "put": {
        const records = act.records.map(make)
        for (const one of records) truth.set(one.id, one)
        yield* say(Registry.delta(records.map(put)))
        break
      }
      case "remove": {
        truth.delete(`x${act.id}`)
        yield* say(Registry.delta([removed(`x${act.id}`, act.how)]))
        break
      }
      case "replace": {
        truth.clear()
        for (const one of act.records.map(make)) truth.set(one.id, one)
        const expired = act.expired.map((number) => `x${number}`)
        yield* say({ ...Registry.snapshot(Array.from(truth.values())), expired })
        break
      }
      case "fail": {
        const { first } = script
        if (!script.open()) break
        script.first = Effect.fail(error("away"))
        yield* script.fail("lost")
        yield* TestClock.adjust(`${act.away} seconds`)
        script.first = first
        break
      }
      case "end": {
        if (script.open()) yield* script.end
        break
      }
      case "refresh":
        yield* discovery.refresh(`r${source}`)
    }
    yield* TestClock.adjust(wait)
  }
  for (let second = 0; second < 70; second++) {
    for (const script of scripts) if (script.open()) yield* script.emit(Registry.alive)
    yield* TestClock.adjust("1 second")
  }
  assert.deepStrictEqual(view(discovery.catalog()), new Map<string, unknown>(oracle(truths)))
  for (const fiber of [fast, slow]) assert.isUndefined(fiber.pollUnsafe())
})

describe("model", () => {
  for (const authoritative of [true, false]) {
    it(`whatever happens to the registries (${authoritative ? "" : "not "}authoritative), the view ends as the truth`, () =>
      fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40 }), (steps) =>
          program(authoritative, steps).pipe(
            Effect.scoped,
            Effect.provide(live()),
            Effect.provide(TestClock.layer()),
            Effect.provide(Logger.layer([])),
            Effect.runPromise
          )),
        { numRuns: 100 }
      ))
  }
})
