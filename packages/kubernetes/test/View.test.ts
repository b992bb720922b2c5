import { assert, describe, it } from "@effect/vitest"
import * as Leases from "@portolan/core/Leases"
import type * as Registry from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import { type Kind, View } from "../src/internal/view.ts"
import { type Endpoint, service, slice } from "./Watched.ts"

const viewOf = (leases = Leases.make()) =>
  new View({ portName: undefined, instances: "endpoints", leases, groups: new WeakMap() })

let version = 0
/** As a server has it. */
const stored = ({ metadata, ...rest }: ReturnType<typeof service>) => ({
  ...rest,
  metadata: { ...metadata, uid: metadata.name, resourceVersion: String(++version) }
})

/** What core makes of the events: the instances of each group. */
const told = (known: Map<string, ReadonlyArray<ServiceInstance>>, events: ReadonlyArray<Registry.RegistryEvent>) => {
  for (const event of events) {
    if (event._tag === "Snapshot") known.set(event.group ?? "", event.instances)
    else if (event._tag === "Groups") {
      for (const key of known.keys()) if (!event.groups.includes(key)) known.delete(key)
      for (const key of event.groups) if (!known.has(key)) known.set(key, [])
    }
  }
  return known
}
const ids = (known: ReadonlyMap<string, ReadonlyArray<ServiceInstance>>) =>
  Array.from(known.values()).flat().map(({ id, status }) => `${id} ${status}`).sort()

/** Lets time go by, as a session does. */
const wait = Effect.fnUntraced(function*(leases: Leases.Leases, view: View, ms: number) {
  const events: Array<Registry.RegistryEvent> = []
  const session = yield* leases.listen(Stream.never).pipe(
    Stream.runForEach(() => Effect.sync(() => events.push(...view.newsInTime()))),
    Effect.forkChild({ startImmediately: true })
  )
  yield* TestClock.adjust(ms)
  yield* Fiber.interrupt(session)
  return events
})

const names = ["weather", "climate"]
const endpoint: fc.Arbitrary<Endpoint> = fc.record({
  address: fc.constantFrom("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"),
  ready: fc.boolean()
})
const operation = fc.oneof(
  fc.record({ kind: fc.constant<Kind>("services"), name: fc.constantFrom(...names), deleted: fc.boolean() }),
  fc.record({
    kind: fc.constant<Kind>("endpointslices"),
    name: fc.constantFrom("a", "b", "c"),
    of: fc.constantFrom(...names),
    endpoints: fc.array(endpoint, { maxLength: 3 }),
    deleted: fc.boolean()
  })
)

describe("the view of a cluster", () => {
  it("whatever happens in whatever order, what was told comes to what there is", () =>
    fc.assert(fc.asyncProperty(fc.array(operation, { maxLength: 30 }), (operations) =>
      Effect.gen(function*() {
        const leases = Leases.make()
        const view = viewOf(leases)
        const known = told(new Map(), view.everything())
        const truth = new Map<string, { readonly kind: Kind; readonly object: object }>()
        for (const { deleted, kind, name, ...more } of operations) {
          const object = stored("of" in more ? slice(name, more.of, more.endpoints) : service(name))
          assert.isTrue(view.take(kind, object, deleted))
          if (deleted) truth.delete(`${kind}/${name}`)
          else truth.set(`${kind}/${name}`, { kind, object })
          told(known, view.news())
        }
        told(known, yield* wait(leases, view, 1500))
        const fresh = viewOf()
        for (const { kind, object } of truth.values()) fresh.take(kind, object)
        const expected = told(new Map(), fresh.everything())
        assert.deepStrictEqual(ids(known), ids(expected))
        assert.deepStrictEqual(Array.from(known.keys()).sort(), Array.from(expected.keys()).sort())
      }).pipe(Effect.provide(TestClock.layer()), Effect.runPromise))))

  it("K12 endpoints that are moved between slices are never away, in whatever order", () => {
    const slices = ["a", "b", "c"]
    const place = fc.constantFrom(...slices)
    fc.assert(fc.property(fc.tuple(place, place, place), fc.shuffledSubarray(slices, { minLength: 3 }), (to, order) => {
      const view = viewOf()
      const put = (at: ReadonlyArray<string>, name: string) =>
        view.take(
          "endpointslices",
          stored(slice(
            name,
            "weather",
            at.flatMap((slice, n) => slice === name ? [{ address: `10.0.0.${n}`, ready: n > 0 }] : [])
          ))
        )
      view.take("services", stored(service("weather")))
      for (const name of slices) put(["a", "a", "a"], name)
      const known = told(new Map(), view.everything())
      const before = ids(known)
      for (const name of order) {
        put(to, name)
        assert.deepStrictEqual(ids(told(known, view.news())), before)
      }
    }))
  })

  it("a Service that comes back begins anew: what it had before isn't on its way", () => {
    const view = viewOf()
    view.take("services", stored(service("weather")))
    view.take("endpointslices", stored(slice("a", "weather", [{ address: "10.0.0.1" }])))
    const known = told(new Map(), view.everything())
    view.take("services", stored(service("weather")), true)
    assert.deepStrictEqual(ids(told(known, view.news())), [])
    view.take("endpointslices", stored(slice("a", "weather", [])))
    view.take("services", stored(service("weather")))
    assert.deepStrictEqual(ids(told(known, view.news())), [])
  })

  it("an object of Kubernetes that can't be read is rejected by its name, and no object at all is refused", () => {
    const view = viewOf()
    view.take("services", stored(service("weather")))
    view.take("endpointslices", stored(slice("weather-a", "weather", [{ address: "10.0.0.1" }])))
    view.take("endpointslices", { ...stored(slice("weather-b", "weather", [])), endpoints: "none" })
    const [, snapshot] = view.everything()
    assert.deepStrictEqual(snapshot?._tag === "Snapshot" ? snapshot.rejected.map(({ id }) => id) : [], [
      "mcp/weather-b"
    ])
    assert.strictEqual(snapshot?._tag === "Snapshot" ? snapshot.instances.length : 0, 1)
    for (const nothing of [undefined, null, 1, "x", [], {}, { metadata: {} }]) {
      assert.isFalse(view.take("services", nothing))
    }
  })

  it("what is wrong about a whole Service is wrong about each of its endpoints", () => {
    const view = viewOf()
    const two = { ports: [{ name: "http", port: 3000 }, { name: "metrics", port: 3001 }] }
    view.take("services", stored(service("weather")))
    view.take("endpointslices", stored(slice("a", "weather", [{ address: "10.0.0.1" }])))
    view.everything()
    const reason = "port: none of http, metrics is named mcp: set portName to the one that is meant"
    view.take("endpointslices", stored(slice("a", "weather", [{ address: "10.0.0.1" }], two)))
    for (const [event] of [view.news(), view.everything().slice(1)]) {
      assert.deepStrictEqual(event?._tag === "Snapshot" ? event.rejected : [], [
        { id: "mcp/weather", reason },
        { id: "mcp/10.0.0.1:3000", reason }
      ])
    }
  })

  it("the API server's own Service is none", () => {
    const view = viewOf()
    view.take(
      "services",
      stored(service("kubernetes", { namespace: "default", ports: [{ name: "https", port: 443 }] }))
    )
    assert.deepStrictEqual(view.everything(), [{ _tag: "Groups", groups: [] }])
  })
})

const announced = (renewed: string, more: object = {}) =>
  stored(slice("weather-1", "weather", [{ address: "10.0.0.1" }], {
    annotations: {
      "portolan.dev/record": JSON.stringify({
        id: "weather-1",
        service: "weather",
        endpoint: { transport: "streamable-http", url: "http://10.0.0.1:3000/mcp" },
        ...more
      }),
      "portolan.dev/incarnation": "first",
      "portolan.dev/ttl": "2000",
      "portolan.dev/renewed": renewed
    }
  }))

describe("leases of slices", () => {
  const begun = () => {
    const leases = Leases.make()
    const view = viewOf(leases)
    view.take("services", stored(service("weather")))
    view.take("endpointslices", announced("at first"))
    const known = told(new Map(), view.everything())
    return { leases, view, known }
  }

  it.effect("a record that isn't renewed expires, not before its time, and is back when it is renewed", () =>
    Effect.gen(function*() {
      const { known, leases, view } = begun()
      assert.deepStrictEqual(yield* wait(leases, view, 1750), [])
      const [snapshot] = yield* wait(leases, view, 500)
      assert.deepInclude(snapshot, { group: "mcp/weather", instances: [], expired: ["weather-1"] })
      view.take("endpointslices", announced("again"))
      assert.deepStrictEqual(ids(told(known, view.news())), ["weather-1 up"])
    }))

  it.effect("a renewal is no news", () =>
    Effect.gen(function*() {
      const { leases, view } = begun()
      for (let n = 0; n < 5; n++) {
        assert.deepStrictEqual(yield* wait(leases, view, 1500), [])
        view.take("endpointslices", announced(`renewed ${n}`))
        assert.deepStrictEqual(view.news(), [])
      }
    }))

  it("what is announced isn't read again when its Service changes", () => {
    const { view } = begun()
    const instance = () => view.everything().flatMap((event) => event._tag === "Snapshot" ? event.instances : [])[0]
    const before = instance()
    view.take("services", stored(service("weather", { annotations: { "portolan.dev/region": "here" } })))
    assert.isDefined(before)
    assert.strictEqual(instance(), before)
  })

  it.effect("what is written anew without being renewed isn't kept alive by that", () =>
    Effect.gen(function*() {
      const { leases, view } = begun()
      yield* wait(leases, view, 1500)
      view.take("endpointslices", announced("at first", { weight: 2 }))
      view.news()
      assert.strictEqual((yield* wait(leases, view, 1000)).length, 1)
    }))

  it.effect("a view that is made anew knows how old a lease is", () =>
    Effect.gen(function*() {
      const { leases, view } = begun()
      yield* wait(leases, view, 1500)
      const next = viewOf(leases)
      next.take("services", stored(service("weather")))
      next.take("endpointslices", announced("at first"))
      next.complete().everything()
      assert.strictEqual((yield* wait(leases, next, 500)).length, 1)
    }))
})
