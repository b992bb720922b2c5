import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Balancer from "../src/Balancer.ts"
import * as Health from "../src/Health.ts"
import * as Router from "../src/Router.ts"
import type { RoutingRule } from "../src/RoutingRule.ts"
import type { ServiceInstance } from "../src/ServiceInstance.ts"
import { Fleet, instance, key, layer } from "./fixtures/Fleet.ts"

const live = (options: Router.RouterOptions = {}) =>
  Router.layer(options).pipe(
    Layer.provideMerge(Health.layer()),
    Layer.provideMerge(Balancer.layer()),
    Layer.provideMerge(layer)
  )

const target: Router.Target = { service: "weather" }
const request: Router.RouteRequest = { target, name: "weather__get", repeatable: true }
const answer = ({ id }: ServiceInstance) => Effect.succeed(id)
const failure: Router.AttemptFailure<string> = { error: "boom", phase: "notSent", blame: "instance", reason: "refused" }

const explained = (from: Router.RouteRequest = request) => Effect.map(Router.Router, (router) => router.explain(from))

const reasons = ({ leftOut }: ReturnType<Router.Router["Service"]["explain"]>) =>
  Object.fromEntries(leftOut.map(({ instance, reason }) => [instance, reason]))

const fail = (id: string, times = 3) =>
  Effect.map(Health.Health, (health) => {
    for (let call = 0; call < times; call++) health.record(key(id), { _tag: "failure", latency: 1, reason: "refused" })
  })

describe("explain", () => {
  it.effect("names the rule, who is picked, who was considered, and why the others are left out", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      yield* fleet.put(
        instance("a", { region: "us-west-2" }),
        instance("b", { region: "us-west-2" }),
        instance("c", { region: "us-east-1" }),
        instance("d", { region: "us-west-2" }),
        instance("e", { status: "draining" }),
        instance("f", { weight: 0 }),
        instance("g", { region: "us-west-2", priority: 2 }),
        instance("h", { tenants: ["acme"] }),
        instance("i"),
        instance("j", { region: "us-west-2", limits: { maxConcurrency: 1 } }),
        instance("k", { region: "us-west-2", endpoint: { transport: "streamable-http", url: "http://a.test/mcp" } })
      )
      const health = yield* Health.Health
      yield* health.override(key("i"), "down", "new disk")
      yield* fail("d")
      const router = yield* Router.Router
      const held = yield* router.route(
        { ...request, affinity: { instance: key("j"), strict: false } },
        () => Effect.never
      ).pipe(Effect.forkChild({ startImmediately: true }))
      const explanation = yield* explained()
      assert.deepStrictEqual(explanation.rule, { number: 2, name: "weather*", text: "prefer us-west-2, min score 0.2" })
      assert.strictEqual(explanation.strategy, "peak-ewma")
      assert.deepInclude(explanation.picked, { region: "us-west-2", score: 1, inFlight: 0, circuit: "closed" })
      assert.sameMembers([explanation.picked, ...explanation.considered].map((each) => each?.instance), ["a", "b"])
      assert.strictEqual(explanation.failure, undefined)
      const { d = "", ...told } = reasons(explanation)
      assert.match(d, /^ejected .* ago: 3 calls in a row failed: refused, back in .*$/)
      assert.deepStrictEqual(told, {
        c: "other region (3 routable in us-west-2)",
        e: "announced as draining",
        f: "weight 0",
        g: "priority 2, after 0",
        h: "for some tenants alone",
        i: "marked down: new disk",
        j: "at its limit: 1 in flight",
        k: "the same endpoint as a"
      })
      assert.strictEqual((yield* router.route(request, answer)).value, explanation.picked?.instance)
      yield* Fiber.interrupt(held)
    }).pipe(
      Effect.provide(live({
        rules: [
          { match: { service: "maps" } },
          { match: { service: "weather*" }, preferRegions: ["us-west-2"], minHealthScore: 0.2 }
        ]
      }))
    ))

  it.effect("tells what an instance lacks", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      yield* fleet.put(
        instance("a", { capabilities: ["weather.now"] }),
        instance("b", { tags: ["prod"] }),
        instance("c", { capabilities: ["weather.now"], tags: ["prod"] }),
        instance("other", { service: "maps" })
      )
      const wanted = { ...target, capabilities: ["weather.*"], query: { tags: "prod" } }
      const explanation = yield* explained({ target: wanted, repeatable: true })
      assert.strictEqual(explanation.picked?.instance, "c")
      assert.strictEqual(explanation.picked?.reason, "the only one")
      assert.deepStrictEqual(reasons(explanation), {
        a: "does not meet the query",
        b: "lacks the capability weather.*"
      })
      const accepting = { ...target, accepts: ({ instance: { id } }: { instance: ServiceInstance }) => id === "a" }
      assert.deepStrictEqual(reasons(yield* explained({ target: accepting, repeatable: true })), {
        b: "does not offer it",
        c: "does not offer it"
      })
      // Nobody expects to find the rest of the fleet in the answer.
      const anywhere = yield* explained({ target: { capabilities: ["weather.now"] }, repeatable: true })
      assert.deepStrictEqual(reasons(anywhere), {})
    }).pipe(Effect.provide(live())))

  it.effect("says what the call would fail with, or that it would wait", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const failureOf = Effect.map(explained(), ({ failure }) => failure)
      assert.deepInclude(yield* failureOf, { kind: "unknown", reason: "nobody announces it", waits: false })
      yield* fleet.put(instance("a", { status: "down" }))
      assert.deepInclude(yield* failureOf, { kind: "unavailable", reason: "no instance takes calls (1 down)" })
      yield* fleet.put(instance("a", { limits: { maxConcurrency: 1 } }))
      const router = yield* Router.Router
      const call = Effect.forkChild(router.route(request, () => Effect.never), { startImmediately: true })
      const held = yield* call
      assert.deepInclude(yield* failureOf, { kind: "overloaded", waits: true })
      const waiting = yield* call
      assert.deepInclude(yield* failureOf, { kind: "overloaded", reason: "a call waits already", waits: true })
      const strict = { ...request, affinity: { instance: key("b"), strict: true } }
      yield* Fiber.interrupt(waiting)
      assert.deepInclude((yield* explained(strict)).failure, { kind: "lost", waits: false })
      assert.strictEqual(reasons(yield* explained(strict))["a"], "at its limit: 1 in flight")
      yield* Fiber.interrupt(held)
      assert.strictEqual(reasons(yield* explained(strict))["a"], "the request is bound to b")
    }).pipe(Effect.provide(live())))

  it.effect("lists no more than it is asked for", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const many = Array.from({ length: 40 }, (_, index) => instance(`i${index}`, index < 20 ? {} : { weight: 0 }))
      yield* fleet.put(...many)
      const { considered, leftOut, more } = (yield* Router.Router).explain(request, { most: 5 })
      assert.lengthOf(considered, 5)
      assert.lengthOf(leftOut, 5)
      assert.deepStrictEqual(more, { considered: 14, leftOut: 15 })
    }).pipe(Effect.provide(live())))

  it.effect("says of one that is due whether a call tries it, or a check has to pass first", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const health = yield* Health.Health
      yield* fleet.put(instance("a"), instance("b"))
      yield* health.addCheck(({ id }) =>
        Effect.succeed(id === "a" ? { _tag: "Fail", reason: "refused", fatal: false } : { _tag: "Pass" })
      )
      yield* fail("a")
      yield* TestClock.adjust("1 minute")
      const explanation = yield* explained()
      assert.strictEqual(explanation.picked?.instance, "b")
      assert.match(reasons(explanation)["a"] ?? "", /^ejected .* ago: 3 calls .*, back when a check passes$/)
      assert.match(health.get(key("a")).reason, /; back when a check passes$/)
    }).pipe(Effect.provide(live())))

  it.effect("makes nothing of instances that it only tells of", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const balancer = yield* Balancer.Balancer
      yield* fleet.put(instance("a"), instance("b", { tags: ["prod"] }))
      yield* explained({ target: { ...target, query: { tags: "prod" } }, repeatable: true })
      assert.deepStrictEqual(Array.from(balancer.nodes(), ({ instance: { id } }) => id), ["b"])
    }).pipe(Effect.provide(live())))
})

const ids = ["a", "b", "c", "d", "e", "f", "g"] as const
const id = fc.constantFrom(...ids)

const fields = fc.record({
  service: fc.constantFrom("weather", "weather", "meteo"),
  weight: fc.constantFrom(1, 1, 1, 2, 3, 0.5, 0),
  priority: fc.constantFrom(1, 1, 1, 2),
  region: fc.constantFrom("us", "eu", undefined),
  status: fc.constantFrom("up", "up", "up", "up", "draining", "down"),
  capabilities: fc.constantFrom([], ["weather.now"], ["weather.now", "weather.later"]),
  limits: fc.constantFrom(undefined, undefined, { maxConcurrency: 1 }, { maxConcurrency: 3 }),
  cost: fc.constantFrom(undefined, { perCall: 1 }, { perCall: 2 }),
  tenants: fc.constantFrom(["*"], ["*"], ["*"], ["acme"]),
  endpoint: fc.constantFrom(undefined, undefined, undefined, {
    transport: "streamable-http" as const,
    url: "http://shared.test/mcp"
  })
}).map((all) => Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)))

const step = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      _tag: fc.constant("route" as const),
      explain: fc.constantFrom(1, 1, 2, 3),
      outcome: fc.constantFrom("success", "success", "failure", "hang", "slow"),
      tenant: fc.constantFrom(undefined, "acme"),
      principal: fc.constantFrom(undefined, "ann", "bob"),
      repeatable: fc.boolean(),
      bound: fc.option(fc.record({ instance: id, strict: fc.boolean() }), { freq: 8, nil: undefined })
    })
  },
  { weight: 2, arbitrary: fc.record({ _tag: fc.constant("end" as const), which: fc.nat(20) }) },
  {
    weight: 3,
    arbitrary: fc.record({ _tag: fc.constant("pass" as const), ms: fc.constantFrom(1, 30, 1_100, 12_000) })
  },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("put" as const), id, fields }) },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("remove" as const), id }) },
  {
    weight: 1,
    arbitrary: fc.record({ _tag: fc.constant("fail" as const), id, times: fc.integer({ min: 1, max: 5 }) })
  },
  {
    weight: 1,
    arbitrary: fc.record({
      _tag: fc.constant("mark" as const),
      id,
      as: fc.constantFrom("up" as const, "draining" as const, "down" as const, undefined)
    })
  }
)
type Step = typeof step extends fc.Arbitrary<infer A> ? A : never

const rules: ReadonlyArray<RoutingRule> = [
  { match: { service: "weather" }, preferRegions: ["us"], minHealthScore: 0.6 },
  { match: { service: "maps" } }
]
const setting = fc.constantFrom(
  {},
  { rules },
  { rules, limits: { perService: 4, queue: 2 } },
  { limits: { perInstance: 2, queue: 0 } }
)
const scripts = fc.record({
  setting,
  wanted: fc.constantFrom<Array<Router.Target>>(
    { service: "weather" },
    { service: "weather", capabilities: ["weather.*"] },
    { capabilities: ["weather.*"] }
  ),
  first: fc.array(fc.tuple(id, fields), { minLength: 1, maxLength: 7 }),
  steps: fc.array(step, { minLength: 50, maxLength: 80 })
})

/** Runs a script, and answers where each call went first; `decisions`: how many calls that were. */
const runScript = (
  strategy: Balancer.StrategyName,
  script: typeof scripts extends fc.Arbitrary<infer A> ? A : never,
  explaining: boolean
) =>
  Effect.gen(function*() {
    const fleet = yield* Fleet
    const router = yield* Router.Router
    const health = yield* Health.Health
    const target = { ...script.wanted }
    const went: Array<string | undefined> = []
    const held: Array<Fiber.Fiber<unknown, unknown>> = []
    let decisions = 0
    for (const [id, fields] of script.first) yield* fleet.put(instance(id, fields))
    const act = (step: Step): Effect.Effect<unknown> => {
      switch (step._tag) {
        case "route":
          return Effect.suspend(() => {
            const { bound, outcome, principal, repeatable, tenant } = step
            const call: Router.RouteRequest = {
              target,
              repeatable,
              strategy,
              attempts: 2,
              caller: { tenant, principal },
              affinity: bound === undefined ? undefined : { instance: key(bound.instance), strict: bound.strict }
            }
            const explanations = explaining
              ? Array.from({ length: step.explain }, () => router.explain(call))
              : []
            let first: string | undefined
            let waits = true
            return router.route(call, ({ id }) => {
              first ??= id
              return outcome === "success"
                ? Effect.succeed(id)
                : outcome === "failure"
                ? Effect.fail(failure)
                : outcome === "slow"
                ? Effect.as(Effect.sleep(40), id)
                : Effect.never
            }).pipe(
              Effect.ensuring(Effect.sync(() => void (waits = false))),
              Effect.forkChild({ startImmediately: true }),
              Effect.map((fiber) => {
                held.push(fiber)
                went.push(first)
                decisions++
                for (const explanation of explanations) {
                  assert.strictEqual(explanation.picked?.instance, first, JSON.stringify(explanation))
                  if (first === undefined) {
                    assert.strictEqual(explanation.failure?.waits, waits, JSON.stringify([explanation, went.length]))
                  }
                }
              })
            )
          })
        case "end": {
          const fiber = held[step.which % Math.max(held.length, 1)]
          return fiber === undefined ? Effect.void : Fiber.interrupt(fiber)
        }
        case "pass":
          return TestClock.adjust(step.ms)
        case "put":
          return fleet.put(instance(step.id, step.fields))
        case "remove":
          return fleet.remove(step.id)
        case "fail":
          return Effect.sync(() => {
            for (let call = 0; call < step.times; call++) {
              health.record(key(step.id), { _tag: "failure", latency: 0, reason: "refused" })
            }
          })
        case "mark":
          return health.override(key(step.id), step.as, "test")
      }
    }
    for (const step of script.steps) yield* act(step)
    yield* Fiber.interruptAll(held)
    return { went, decisions }
  }).pipe(
    Effect.provide(live(script.setting).pipe(Layer.provideMerge(TestClock.layer()))),
    Random.withSeed("explain"),
    Effect.runPromise
  )

describe("an explanation is a rehearsal: it names the instance that the next call goes to", () => {
  for (const strategy of Balancer.strategyNames) {
    it(strategy, { timeout: 60_000 }, async () => {
      let decisions = 0
      await fc.assert(
        fc.asyncProperty(scripts, async (script) => {
          const explained = await runScript(strategy, script, true)
          const unexplained = await runScript(strategy, script, false)
          // And asking changes nothing.
          assert.deepStrictEqual(explained.went, unexplained.went)
          decisions += explained.decisions
        }),
        { numRuns: 50 }
      )
      assert.isAtLeast(decisions, 1_000)
    })
  }
})
