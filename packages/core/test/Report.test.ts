import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Balancer from "../src/Balancer.ts"
import { bucketOf } from "../src/CallFigures.ts"
import * as Health from "../src/Health.ts"
import { Tally, TopTallies } from "../src/internal/routing/tallies.ts"
import { xorshift } from "../src/internal/xorshift.ts"
import * as Router from "../src/Router.ts"
import type { CallCounts, RoutingReport } from "../src/RoutingReport.ts"
import { Fleet, instance, layer } from "./fixtures/Fleet.ts"

const live = (options: Router.RouterOptions = {}) =>
  Router.layer(options).pipe(
    Layer.provideMerge(Health.layer()),
    Layer.provideMerge(Balancer.layer()),
    Layer.provideMerge(layer)
  )

const target: Router.Target = { service: "weather" }
const request: Router.RouteRequest = { target, name: "weather__get", repeatable: true }

const failure = (fields: Partial<Router.AttemptFailure<string>> = {}): Router.AttemptFailure<string> => ({
  error: "boom",
  phase: "notSent",
  blame: "instance",
  reason: "refused",
  ...fields
})

const reported = (options?: { readonly service?: string; readonly top?: number }) =>
  Effect.map(Router.Router, (router) => router.report(options))

/** A call that takes so long. */
const taking = (ms: number, from: Router.RouteRequest = request) =>
  Effect.gen(function*() {
    const router = yield* Router.Router
    const call = yield* Effect.forkChild(router.route(from, () => Effect.sleep(ms)), { startImmediately: true })
    yield* TestClock.adjust(ms)
    return yield* Fiber.join(call)
  })

describe("report", () => {
  it.effect("tells how calls ended", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      const unknown = { target: { service: "maps" }, name: "maps__find", repeatable: true }
      yield* Effect.flip(router.route(unknown, () => Effect.void))
      yield* fleet.put(instance("a", { limits: { maxConcurrency: 1 } }))
      yield* taking(10)
      yield* Effect.flip(router.route({ ...request, attempts: 1 }, () => Effect.fail(failure({ phase: "answered" }))))
      yield* Effect.flip(router.route(request, () => Effect.fail(failure({ blame: "caller", phase: "answered" }))))
      const holding = yield* Effect.forkChild(router.route(request, () => Effect.never), { startImmediately: true })
      const shed = yield* Effect.forkChild(Effect.flip(router.route(request, () => Effect.void)), {
        startImmediately: true
      })
      assert.deepInclude((yield* reported()).total, { inFlight: 1 })
      assert.deepInclude((yield* reported()).total.queue, { queued: 0, waiting: 1, shedAt: undefined })
      yield* TestClock.adjust("6 seconds")
      yield* Fiber.join(shed)
      yield* Fiber.interrupt(holding)
      const { nowhere, total } = yield* Effect.map(reported(), ({ services, total }) => ({ nowhere: services, total }))
      assert.deepInclude(total, { calls: 6, successes: 1, interrupted: 1, inFlight: 0 })
      assert.deepStrictEqual(total.failures, { failed: 1, refused: 1, unavailable: 1, shed: 1 })
      assert.deepInclude(total.queue, { queued: 1, shed: 1, waiting: 0, shedAt: 5_010 })
      assert.approximately(total.queue.wait?.p50 ?? 0, 5_000, 500)
      // The one that was shed waited for its service; the one that nobody announces has none.
      assert.strictEqual(nowhere.top.reduce((sum, { calls }) => sum + calls, 0), 5)
    }).pipe(Effect.provide(live())))

  it.effect("counts calls that no instance took with the service that they were for, and its tool", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a", { status: "down" }), instance("m", { service: "maps" }))
      for (let call = 0; call < 3; call++) yield* Effect.flip(router.route(request, () => Effect.void))
      yield* router.route({ target: { service: "maps" }, repeatable: true }, () => Effect.void)
      const { decisions, services, tools, total } = yield* reported({ service: "weather" })
      assert.deepInclude(services.top[0], { service: "weather", calls: 3 })
      assert.deepInclude(total.failures, { unavailable: 3 })
      assert.deepStrictEqual(tools.top.map(({ calls, service, tool }) => [tool, service, calls]), [
        ["weather__get", "weather", 3]
      ])
      // Those of other services aren't told as its own.
      assert.deepStrictEqual(decisions, { strategies: [], rules: [] })
    }).pipe(Effect.provide(live())))

  it.effect("tells latencies: of calls all attempts and waits together, of instances those of their attempts", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      yield* fleet.put(instance("a"))
      for (let call = 0; call < 99; call++) yield* taking(10)
      yield* taking(1_000)
      const { instances, since, total } = yield* reported()
      const { latency } = total
      assert.strictEqual(since, 0)
      assert.approximately(latency?.average ?? 0, 19.9, 0.001)
      assert.approximately(latency?.p50 ?? 0, 10, 1)
      assert.approximately(latency?.p99 ?? 0, 10, 1)
      assert.deepStrictEqual(instances.top[0]?.latency, latency)
      assert.deepInclude(instances.top[0], { instance: "a", picks: 100, attempts: 100, failures: 0, circuit: "closed" })
      yield* taking(1_000)
      assert.approximately((yield* reported()).total.latency?.p99 ?? 0, 1_000, 100)
    }).pipe(Effect.provide(live())))

  it.effect("tells who was picked how, what was retried, and who was ejected", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a"), instance("b"))
      for (let call = 0; call < 40; call++) {
        yield* router.route(
          { ...request, strategy: call % 2 === 0 ? "random" : undefined },
          ({ id }) => id === "a" ? Effect.fail(failure()) : Effect.void
        )
      }
      const { decisions, instances, services, total } = yield* reported()
      const bad = instances.top.find(({ instance }) => instance === "a")
      assert.deepInclude(bad, { status: "unhealthy", circuit: "open", ejections: 1, picks: 3, failures: 3 })
      assert.deepInclude(total, { calls: 40, successes: 40, ejections: 1, ejected: 1 })
      assert.deepInclude(total.retries, { made: 3, denied: 0 })
      // 10 a second in reserve, for 10 s, and what 40 calls put in.
      assert.approximately(services.top[0]?.retries.balance ?? 0, 100 + 40 * 0.2 - 3, 0.001)
      const picks = Object.fromEntries(decisions.strategies.map(({ picks, strategy }) => [strategy, picks]))
      assert.strictEqual((picks["random"] ?? 0) + (picks["p2c"] ?? 0), 43)
      assert.isAtLeast(picks["random"] ?? 0, 20)
      assert.deepStrictEqual(decisions.rules, [{ rule: "all", picks: 43 }])
    }).pipe(Effect.provide(live({ rules: [{ name: "all", match: { service: "*" }, strategy: "p2c" }] }))))

  it.effect("tells of retries that the budget had no room for", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a"), instance("b"))
      yield* Effect.flip(router.route(request, () => Effect.fail(failure())))
      const { retries } = (yield* reported()).total
      assert.deepStrictEqual(retries, { made: 0, denied: 1, balance: 0 })
    }).pipe(Effect.provide(live({ retryBudget: { share: 0, reserve: 0 } }))))

  it.effect("tells of hedges, and which of them won", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a"), instance("b"))
      const read = { ...request, readOnly: true }
      for (let call = 0; call < 200; call++) yield* taking(10, read)
      let first = true
      const slow = yield* Effect.forkChild(
        router.route(read, () => {
          const duration = first ? 10_000 : 10
          first = false
          return Effect.sleep(duration)
        }),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1 second")
      assert.isTrue((yield* Fiber.join(slow)).routing.hedged)
      assert.deepStrictEqual((yield* reported()).total.hedges, { sent: 1, denied: 0, won: 1 })
    }).pipe(Effect.provide(live({ hedging: {} }))))

  it.effect("ranks services, instances, tools and callers, and adds up the rest", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      const services = ["maps", "news", "weather"]
      yield* fleet.put(...services.flatMap((service) => [1, 2].map((n) => instance(`${service}${n}`, { service }))))
      for (const [index, service] of services.entries()) {
        for (let call = 0; call <= index; call++) {
          yield* router.route(
            {
              target: { service },
              name: `${service}__${call % 2}`,
              repeatable: true,
              caller: [undefined, { principal: "ann" }, { tenant: "acme" }][index]
            },
            () => Effect.void
          )
        }
      }
      const all = yield* reported({ top: 1 })
      assert.deepStrictEqual(all.services.top.map(({ calls, service }) => [service, calls]), [["weather", 3]])
      assert.deepInclude(all.services.rest, { calls: 3, successes: 3 })
      assert.deepStrictEqual(all.tools.top.map(({ calls, service, tool }) => [tool, service, calls]), [
        ["weather__0", "weather", 2]
      ])
      assert.deepInclude(all.tools.rest, { calls: 4 })
      assert.deepStrictEqual(all.callers.top.map(({ caller, calls }) => [caller, calls]), [["tenant:acme", 3]])
      assert.deepInclude(all.callers.rest, { calls: 3 })
      assert.deepInclude(all.instances.rest, { instances: 5 })
      const picks = (all.instances.top[0]?.picks ?? 0) + (all.instances.rest?.picks ?? 0)
      assert.strictEqual(picks, 6)
      assert.deepStrictEqual((yield* reported({ top: 0 })).callers.top, [])
      const news = yield* reported({ service: "news" })
      assert.deepInclude(news.total, { calls: 2 })
      assert.deepStrictEqual(news.services.top.map(({ service }) => service), ["news"])
      assert.strictEqual(news.services.rest, undefined)
      assert.sameMembers(news.instances.top.map(({ instance }) => instance), ["news1", "news2"])
      assert.deepStrictEqual(news.tools.top.map(({ tool }) => tool), ["news__0", "news__1"])
      assert.deepStrictEqual(news.callers, { top: [], rest: undefined })
      const everyone = (yield* reported()).callers.top.map(({ caller }) => caller)
      assert.deepStrictEqual(everyone, ["tenant:acme", "principal:ann", "anonymous"])
    }).pipe(Effect.provide(live())))

  it.effect("shows services that have candidates and were never called", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a"))
      router.explain(request)
      const { services } = yield* reported()
      assert.deepInclude(services.top[0], { service: "weather", calls: 0, ejected: 0, latency: undefined })
    }).pipe(Effect.provide(live())))

  it.effect("keeps no more than it may of names that callers choose, and forgets no call", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a"))
      for (let call = 0; call < 2_000; call++) {
        const principal = call % 2 === 0 ? "x".repeat(5_000) : `caller ${call}`
        yield* router.route({ ...request, name: `tool ${call}`, caller: { principal } }, () => Effect.void)
      }
      const report = yield* reported({ top: 1_000 })
      assert.isAtMost(report.callers.top.length, 256)
      assert.isAtMost(report.tools.top.length, 256)
      const sum = ({ rest, top }: RoutingReport["callers"] | RoutingReport["tools"]) =>
        top.reduce((sum, { calls }) => sum + calls, rest?.calls ?? 0)
      assert.strictEqual(sum(report.callers), 2_000)
      assert.strictEqual(sum(report.tools), 2_000)
      assert.deepInclude(report.callers.top[0], { calls: 1_000 })
      assert.strictEqual(report.callers.top[0]?.caller.length, 200)
    }).pipe(Effect.provide(live())))
})

describe("tallies of the most frequent names", () => {
  const outcomes = ["success", "failure", "caller", "unavailable", "shed", "interrupted"] as const
  const sum = (counts: ReadonlyArray<CallCounts>) => counts.reduce((sum, { calls }) => sum + calls, 0)

  it("find the frequent ones among any number of others, and lose nothing", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 0, max: 5_000 }),
        fc.integer(),
        (frequent, late, seed) => {
          const random = xorshift(seed)
          const tallies = new TopTallies(() => new Tally())
          const truth = new Map<string, number>()
          const calls = 20_000
          for (let call = 0; call < calls; call++) {
            const draw = random()
            // Half of the calls are those of a few names, the last of which comes late.
            const rank = Math.floor(draw * 2 * frequent)
            const name = rank < frequent && (rank > 0 || call >= late)
              ? `frequent ${rank}`
              : `rare ${call}`
            truth.set(name, (truth.get(name) ?? 0) + 1)
            tallies.of(name).record(outcomes[call % outcomes.length]!, draw, bucketOf(draw))
          }
          const found = new Map(Array.from(tallies.entries(), ([name, tally]) => [name, tally.counts()]))
          assert.isAtMost(found.size, 256)
          assert.strictEqual(sum([...found.values(), tallies.rest.counts()]), calls)
          for (const [name, counts] of found) assert.isAtMost(counts.calls, truth.get(name) ?? 0)
          for (let rank = 0; rank < frequent; rank++) {
            const name = `frequent ${rank}`
            const counted = found.get(name)?.calls ?? 0
            assert.isAtLeast(counted, (truth.get(name) ?? 0) * 0.5, name)
          }
        }
      ),
      { numRuns: 20 }
    )
  })

  it("add up exactly, however names come and go", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(400), fc.constantFrom(...outcomes)), { maxLength: 3_000 }), (calls) => {
        const tallies = new TopTallies(() => new Tally())
        const total = new Tally()
        for (const [name, outcome] of calls) {
          tallies.of(String(name)).record(outcome, name, bucketOf(name))
          total.record(outcome, name, bucketOf(name))
        }
        const added = new Tally()
        for (const [, tally] of tallies.entries()) added.add(tally)
        added.add(tallies.rest)
        assert.deepStrictEqual(added.counts(), total.counts())
      })
    )
  })
})
