import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Balancer from "../src/Balancer.ts"
import * as Discovery from "../src/Discovery.ts"
import * as Health from "../src/Health.ts"
import { Candidates, type Sources } from "../src/internal/routing/candidates.ts"
import { noInstance, pick } from "../src/internal/routing/pick.ts"
import { settingsOf } from "../src/internal/routing/settings.ts"
import type * as Router from "../src/Router.ts"
import { Fleet, instance, key, layer } from "./fixtures/Fleet.ts"

const live = Layer.mergeAll(Health.layer({ jitter: 0, ejection: { maxShare: 1 } }), Balancer.layer()).pipe(
  Layer.provideMerge(layer)
)

const target: Router.Target = { service: "weather" }
const request: Router.RouteRequest = { target, name: "weather__get", repeatable: true }
const idsOf = (count: number) => Array.from({ length: count }, (_, index) => `n${index.toString().padStart(3, "0")}`)

/** A world of so many instances, and the candidates of one target in it. */
const world = (count: number, options: Router.RouterOptions = {}) =>
  Effect.gen(function*() {
    const fleet = yield* Fleet
    const health = yield* Health.Health
    const balancer = yield* Balancer.Balancer
    const sources: Sources = {
      discovery: yield* Discovery.Discovery,
      health,
      balancer,
      settings: settingsOf(options)
    }
    const ids = idsOf(count)
    yield* fleet.put(...ids.map((id) => instance(id)))
    const candidates = new Candidates(target, sources)
    const told = (outcome: Health.Outcome) => (...ids: ReadonlyArray<string>) => {
      for (const id of ids) {
        for (let call = 0; call < 3; call++) health.record(key(id), outcome)
      }
    }
    const look = (from: Partial<Router.RouteRequest> = {}) => {
      const asked = { ...request, ...from }
      return pick(candidates.view(asked), asked, { health }, [], balancer.now())
    }
    return {
      fleet,
      health,
      balancer,
      sources,
      ids,
      candidates,
      eject: told({ _tag: "failure", latency: 0, reason: "refused" }),
      busy: told({ _tag: "failure", latency: 0, reason: "busy", retryAfter: 60_000 }),
      view: () => candidates.view(request),
      look,
      picked: (times: number, from: Partial<Router.RouteRequest> = {}) => {
        const seen = new Set<string>()
        for (let call = 0; call < times; call++) {
          const found = look(from)
          if (found !== undefined) seen.add(found.node.instance.id)
        }
        return Array.from(seen).toSorted()
      }
    }
  })

describe("panic", () => {
  for (const [well, panics] of [[49, true], [50, false], [51, false]] as const) {
    it.effect(`H5: ${panics ? "begins" : "doesn't begin"} where ${well} % are routable`, () =>
      Effect.gen(function*() {
        const { eject, ids, look, view } = yield* world(100)
        eject(...ids.slice(well))
        assert.strictEqual(view().routable, panics ? 100 : well)
        assert.strictEqual(look()?.why, panics ? `panic: only ${well} of 100 are healthy` : `peak-ewma of ${well}`)
        assert.lengthOf(view().ejected, 100 - well)
      }).pipe(Effect.provide(live)))
  }

  it.effect("H5: of a small pool only where none is routable", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 1, max: 12 }),
          fc.nat(12),
          fc.constantFrom(0, 0.3, 0.5, 1),
          (count, failing, panicThreshold) =>
            Effect.gen(function*() {
              const { eject, ids, look, view } = yield* world(count, { panicThreshold })
              const well = Math.max(count - failing, 0)
              eject(...ids.slice(well))
              const panics = well === 0 || (count >= 5 && well < panicThreshold * count)
              assert.strictEqual(view().routable, panics ? count : well)
              assert.strictEqual(look()?.why.startsWith("panic"), panics)
            }).pipe(Effect.provide(Layer.provideMerge(live, TestClock.layer())), Effect.runPromise)
        ),
        { numRuns: 60 }
      )
    ))

  it.effect("is over when enough are well again, and doesn't count who drains, is down or weighs nothing", () =>
    Effect.gen(function*() {
      const { eject, fleet, health, ids, view } = yield* world(10)
      eject(...ids.slice(4))
      assert.strictEqual(view().routable, 10)
      yield* health.override(key(ids[4]!), "up", "test")
      assert.strictEqual(view().routable, 5)
      eject(ids[0]!)
      assert.strictEqual(view().routable, 10)
      // Of eight that are left, four are routable.
      yield* health.override(key(ids[8]!), "draining", "test")
      yield* fleet.put(instance(ids[9]!, { weight: 0 }))
      assert.strictEqual(view().routable, 4)
    }).pipe(Effect.provide(live)))

  it.effect("leaves those alone who asked for it", () =>
    Effect.gen(function*() {
      const { busy, candidates, eject, ids, picked, sources, view } = yield* world(6)
      busy(...ids.slice(0, 2))
      eject(...ids.slice(2))
      assert.deepStrictEqual(picked(200), ids.slice(2))
      busy(...ids)
      assert.deepStrictEqual(picked(20), [])
      assert.include(noInstance(candidates, view(), request, sources), {
        _tag: "NoInstance",
        kind: "overloaded",
        retryAfter: 60_000,
        reason: "its instances ask to be left alone (6 unhealthy)"
      })
    }).pipe(Effect.provide(live)))
})

describe("trial calls", () => {
  it.effect("go to one whose time has come, a few at a time, and not before", () =>
    Effect.gen(function*() {
      const { eject, health, ids, look, picked } = yield* world(4)
      eject(ids[0]!)
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(picked(50), ids.slice(1))
      yield* TestClock.adjust("2 millis")
      const trials = Array.from({ length: 50 }, () => look()).filter((picked) => picked?.trial === true)
      assert.lengthOf(trials, 3)
      assert.isTrue(trials.every((picked) => picked?.node.instance.id === ids[0]))
      for (const _ of trials) health.record(key(ids[0]!), { _tag: "success", latency: 0, trial: true })
      assert.notStrictEqual(health.status(key(ids[0]!)), "unhealthy")
      assert.isFalse(Array.from({ length: 50 }, () => look()).some((picked) => picked?.trial === true))
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(picked(200), ids)
    }).pipe(Effect.provide(live)))

  it.effect("are calls that may be repeated, or any where those don't come", () =>
    Effect.gen(function*() {
      const { eject, ids, look } = yield* world(2)
      eject(ids[0]!)
      yield* TestClock.adjust("1500 millis")
      const unrepeatable = () => look({ repeatable: false })?.trial
      assert.isFalse(unrepeatable())
      yield* TestClock.adjust("600 millis")
      assert.isTrue(unrepeatable())
      // Half-open now, it waits again for calls that may be repeated.
      assert.isFalse(unrepeatable())
      assert.isTrue(look()?.trial)
    }).pipe(Effect.provide(live)))

  it.effect("cost a look at a few, however many are ejected", () =>
    Effect.gen(function*() {
      const { balancer, candidates, eject, health, ids, view } = yield* world(1_000)
      eject(...ids.slice(500))
      yield* TestClock.adjust("2 seconds")
      const counts = { circuit: 0, admit: 0 }
      const advisers = {
        health: {
          status: health.status,
          circuit: (of: Balancer.Node["key"]) => {
            counts.circuit++
            return health.circuit(of)
          },
          admit: () => {
            counts.admit++
            return false
          }
        }
      }
      assert.lengthOf(view().ejected, 500)
      for (let call = 0; call < 100; call++) {
        pick(candidates.view(request), request, advisers, [], balancer.now())
        assert.isAtMost(counts.circuit, 4 * (call + 1))
      }
      assert.isAtMost(counts.admit, 400)
    }).pipe(Effect.provide(live)))

  it.effect("come to one that is due, also where others go while it is its turn", () =>
    Effect.gen(function*() {
      for (let count = 2; count < 15; count++) {
        yield* Effect.gen(function*() {
          const { fleet, health, ids, look, view } = yield* world(20)
          view()
          // All but the last one for a long time.
          for (const [index, id] of ids.slice(0, count).entries()) {
            const retryAfter = index === count - 1 ? 2_000 : 60_000
            health.record(key(id), { _tag: "failure", latency: 0, reason: "busy", retryAfter })
            view()
          }
          yield* TestClock.adjust("2 seconds")
          const seen: Array<string> = []
          const trial = () => {
            const found = look()
            if (found?.trial === true) seen.push(found.node.instance.id)
          }
          trial()
          yield* fleet.remove(ids[Math.min(1, count - 2)]!)
          // It takes three at a time.
          for (let call = 0; call < 20; call++) trial()
          assert.deepStrictEqual(seen, [1, 2, 3].map(() => ids[count - 1]), `${count} are out`)
        }).pipe(Effect.provide(live), Effect.provide(TestClock.layer()))
      }
    }))

  it.effect("aren't made where nobody would tell what came of them", () =>
    Effect.gen(function*() {
      const { balancer, candidates, eject, health, ids } = yield* world(2)
      eject(ids[0]!)
      yield* TestClock.adjust("2 seconds")
      const view = candidates.view(request)
      const at = balancer.now()
      for (let call = 0; call < 20; call++) {
        assert.strictEqual(pick(view, request, { health }, [], at, false)?.node.instance.id, ids[1])
      }
      assert.strictEqual(health.circuit(key(ids[0]!))?.state, "open")
    }).pipe(Effect.provide(live)))
})

describe("what is bound to an instance", () => {
  it.effect("is lost where that is gone or takes no calls, and overloaded where it is full", () =>
    Effect.gen(function*() {
      const { balancer, candidates, eject, fleet, health, ids, look, sources, view } = yield* world(2)
      const [own = ""] = ids
      const bound = { ...request, affinity: { instance: key(own), strict: true } }
      const why = () => noInstance(candidates, view(), bound, sources)
      assert.strictEqual(look(bound)?.why, "bound to it")
      yield* health.override(key(own), "draining", "test")
      assert.strictEqual(look(bound)?.node.instance.id, own)
      yield* health.override(key(own), undefined, "test")
      yield* fleet.put(instance(own, { limits: { maxConcurrency: 1 } }))
      const node = look(bound)!.node
      balancer.begin(node)
      assert.isUndefined(look(bound))
      assert.include(why(), { _tag: "NoInstance", kind: "overloaded" })
      balancer.end(node, 1, "success")
      yield* health.override(key(own), "down", "test")
      assert.isUndefined(look(bound))
      assert.include(why(), { _tag: "SessionLost", instance: own })
      yield* health.override(key(own), undefined, "test")
      // An ejection doesn't end what can't go elsewhere.
      eject(own)
      assert.include(look(bound), { why: "bound to it, ejected or not", trial: false })
      assert.notStrictEqual(look({ ...bound, affinity: { ...bound.affinity, strict: false } })?.node.instance.id, own)
      // When its time has come the call is its trial.
      yield* TestClock.adjust("2 seconds")
      assert.include(look(bound), { trial: true })
      yield* fleet.remove(own)
      assert.isUndefined(look(bound))
      assert.include(why(), { _tag: "SessionLost", instance: own })
    }).pipe(Effect.provide(live)))
})

describe("a node is welcomed", () => {
  it.effect("when it joins others, and when it is back: once, whoever looks", () =>
    Effect.gen(function*() {
      const { balancer, fleet, health, ids, sources, view } = yield* world(3)
      const welcomed: Array<string> = []
      const counting: Sources = {
        ...sources,
        balancer: { ...balancer, welcome: (node) => welcomed.push(node.instance.id) }
      }
      const followers = [target, { ...target }, { capabilities: [] }].map((target) => new Candidates(target, counting))
      const looks = () => {
        for (const candidates of followers) {
          for (const strategy of ["p2c", "random"] as const) candidates.view({ ...request, strategy })
        }
        return welcomed.splice(0)
      }
      view()
      // All were new at once: there is nobody to take their place.
      assert.deepStrictEqual(looks(), [])
      yield* fleet.put(instance("new"))
      assert.deepStrictEqual(looks(), ["new"])
      yield* fleet.put(instance("new", { weight: 3, priority: 1 }))
      assert.deepStrictEqual(looks(), [])
      yield* health.override(key(ids[0]!), "up", "test")
      assert.deepStrictEqual(looks(), [])
      yield* health.override(key(ids[0]!), "down", "test")
      assert.deepStrictEqual(looks(), [])
      yield* health.override(key(ids[0]!), "up", "test")
      assert.deepStrictEqual(looks(), [ids[0]])
    }).pipe(Effect.provide(live)))
})
