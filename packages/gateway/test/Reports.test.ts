import { assert, describe, it } from "@effect/vitest"
import * as Catalog from "@portolan/core/Catalog"
import { type AttemptFailure, Router, type RouteRequest } from "@portolan/core/Router"
import { ExplanationView } from "@portolan/gateway/rest/ExplanationView"
import { FleetHealth } from "@portolan/gateway/rest/FleetHealth"
import { InstanceHealth } from "@portolan/gateway/rest/InstanceHealth"
import { ReportView } from "@portolan/gateway/rest/ReportView"
import { StatusView } from "@portolan/gateway/rest/Representations"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import { type Answer, instance, offer } from "./fleet.ts"
import { instances, problem, rest, until } from "./rest.ts"

const reportOf = (answer: Answer) => Schema.decodeUnknownSync(ReportView)(answer.json)
const healthOf = (answer: Answer) => Schema.decodeUnknownSync(FleetHealth)(answer.json)
const explanationOf = (answer: Answer) => Schema.decodeUnknownSync(ExplanationView)(answer.json)

const a = Catalog.key("memory", "weather-a")
const b = Catalog.key("memory", "weather-b")

const target = { service: "weather" }
const request: RouteRequest = { target, name: "weather__forecast", repeatable: true, caller: { principal: "ann" } }
const failure: AttemptFailure<string> = { error: "no", phase: "answered", blame: "instance", reason: "HTTP 500" }

/** Calls that this instance fails, until its circuit opens. */
const fails = (instance: Catalog.InstanceKey) =>
  Effect.flatMap(Router, (router) =>
    Effect.repeat(
      Effect.flip(
        router.route(
          { target: { query: { id: instance.slice(instance.indexOf("\u0000") + 1) } }, repeatable: true, attempts: 1 },
          () => Effect.fail(failure)
        )
      ),
      { times: 2 }
    ))

describe("GET /report", () => {
  it.live("tells what became of calls, by service, instance, tool and caller", () =>
    rest({ instances }, ({ get }) =>
      Effect.gen(function*() {
        const router = yield* Router
        yield* Effect.forEach([1, 2, 3], () => router.route(request, () => Effect.void))
        yield* Effect.flip(router.route({ ...request, attempts: 1 }, () => Effect.fail(failure)))
        yield* Effect.flip(
          router.route({ target: { service: "none" }, name: "none", repeatable: true }, () => Effect.void)
        )
        const report = reportOf(yield* get("/report"))
        assert.deepInclude(report.total, { calls: 5, successes: 3, inFlight: 0 })
        assert.deepInclude(report.total.failures, { failed: 1, unavailable: 1 })
        assert.isAtLeast(report.total.latency?.p99 ?? 0, report.total.latency?.p50 ?? Infinity)
        assert.deepInclude(report.services.top[0], { service: "weather", calls: 4, successes: 3 })
        assert.deepInclude(report.tools.top[0], { tool: "weather__forecast", service: "weather", calls: 4 })
        assert.deepEqual(report.callers.top.map(({ caller, calls }) => [caller, calls]), [
          ["principal:ann", 4],
          ["anonymous", 1]
        ])
        assert.sameMembers(report.instances.top.map(({ instance }) => instance), ["weather-a", "weather-b"])
        assert.deepEqual(report.decisions.strategies, [{ strategy: "peak-ewma", picks: 4 }])
        assert.deepEqual(report.sources.map(({ source, state }) => [source, state]), [["memory", "connected"]])

        const one = reportOf(yield* get("/report?service=weather&top=1"))
        assert.deepInclude(one.total, { calls: 4 })
        assert.deepInclude(one.instances.rest, { instances: 1 })
        // Of the calls all but the one that nobody announces were for a service; the rest has that one.
        const { rest, top } = report.services
        assert.strictEqual(top.reduce((sum, { calls }) => sum + calls, rest?.calls ?? 0), report.total.calls)
        assert.deepInclude(rest, { calls: 1, ejections: 0 })
        assert.deepEqual(one.callers.top, [])
        assert.deepInclude(reportOf(yield* get("/report?service=db")).total, { calls: 0 })
        assert.include(problem(yield* get("/report?service=wether"), 404).detail, "did you mean \"weather\"?")
        problem(yield* get("/report?top=0"), 400)
        problem(yield* get("/report?servise=weather"), 400)
      })))
})

describe("GET /health", () => {
  it.live("gives a verdict on the fleet, and who is worst off", () =>
    rest({ instances }, ({ get, send }) =>
      Effect.gen(function*() {
        assert.deepInclude(healthOf(yield* get("/health")), {
          verdict: "healthy",
          reason: "all instances are well",
          instances: 3,
          available: 3,
          ejected: 0,
          worst: []
        })
        yield* fails(a)
        const limping = healthOf(yield* get("/health"))
        assert.deepInclude(limping, { verdict: "degraded", reason: "not all instances are well: weather", ejected: 1 })
        assert.deepEqual(limping.worst.map(({ id, status }) => [id, status]), [["weather-a", "unhealthy"]])
        assert.deepInclude(limping.services[0], { service: "weather", available: 1, ejected: 1, verdict: "degraded" })
        yield* send("PUT", "/instances/db-1/mark", { as: "down" })
        const down = healthOf(yield* get("/health?top=1"))
        assert.deepInclude(down, { verdict: "unhealthy", reason: "no instance takes calls: db", moreServices: 1 })
        assert.deepEqual(down.worst.map(({ id }) => id), ["db-1"])
      })))

  it.live("finds nothing wrong with an empty fleet", () =>
    rest(
      { instances: [] },
      ({ get }) =>
        Effect.map(get("/health"), (answer) =>
          assert.deepInclude(healthOf(answer), { verdict: "healthy", reason: "nothing is announced", services: [] }))
    ))
})

describe("GET /instances/{id}/health", () => {
  it.live("tells the circuit, and what happened", () =>
    rest({ instances }, ({ get, send }) =>
      Effect.gen(function*() {
        const read = Effect.map(
          get("/instances/weather-a/health"),
          ({ json }) => Schema.decodeUnknownSync(InstanceHealth)(json)
        )
        assert.deepEqual((yield* read).circuit, { state: "closed", ejections: 0 })
        yield* fails(a)
        const { circuit, history, status } = yield* read
        assert.strictEqual(status, "unhealthy")
        assert.deepInclude(circuit, { state: "open", ejections: 1, cause: "failures", times: 1 })
        assert.match(circuit.reason ?? "", /^ejected .* ago: 3 calls in a row failed: HTTP 500, /)
        const open = Date.parse(circuit.until ?? "") - Date.parse(circuit.since ?? "")
        assert.isTrue(open > 0 && open < 10_000, `open for ${open} ms`)
        assert.isBelow(Math.abs(Date.parse(circuit.since ?? "") - Date.now()), 10_000)
        yield* send("PUT", "/instances/weather-a/mark", { as: "draining", reason: "new disk" })
        const states = (yield* read).history.states
        assert.deepInclude(states.at(-1), { status: "draining" })
        assert.include(states.at(-1)?.reason ?? "", "new disk")
        assert.isTrue(history.states.some(({ circuit }) => circuit === "open"))
        assert.deepEqual(states.map(({ at }) => at), states.map(({ at }) => at).toSorted())
      })))
})

describe("GET /status", () => {
  it.live("names the services that suffer", () =>
    rest(
      { instances: [instance("weather-a", { limits: { maxConcurrency: 1 } }), instance("db-1")] },
      ({ get, send }) =>
        Effect.gen(function*() {
          const strained = Effect.map(get("/status"), ({ json }) => Schema.decodeUnknownSync(StatusView)(json).strained)
          assert.deepEqual(yield* strained, [])
          const router = yield* Router
          const calls = yield* Effect.forEach(
            [1, 2],
            () => Effect.forkChild(router.route(request, () => Effect.never), { startImmediately: true })
          )
          assert.deepEqual(yield* strained, [
            { service: "weather", available: 1, ejected: 0, waiting: 1, shedding: false, budgetSpent: false }
          ])
          yield* Fiber.interruptAll(calls)
          yield* fails(Catalog.key("memory", "db-1"))
          assert.deepInclude((yield* strained)[0], { service: "db", ejected: 1 })
          yield* send("PUT", "/instances/weather-a/mark", { as: "draining" })
          assert.deepInclude((yield* strained)[1], { service: "weather", available: 0, ejected: 0 })
        })
    ))
})

describe("GET /explain", () => {
  const options = { instances, offers: [offer("weather", "forecast", [a, b])] }

  it.live("names the instance that the next call goes to, which asking doesn't change", () =>
    rest(options, ({ get }) =>
      Effect.gen(function*() {
        const router = yield* Router
        const from = { ...request, target: options.offers[0]!.target }
        for (let call = 0; call < 20; call++) {
          const { picked, requested } = explanationOf(
            yield* get("/explain?tool=weather__forecast&caller=principal:ann")
          )
          assert.strictEqual(requested, "weather__forecast")
          const { value } = yield* router.route(from, ({ id }) => Effect.succeed(id))
          assert.strictEqual(picked?.instance, value)
        }
      })))

  it.live("tells who is left out, and why", () =>
    rest(options, ({ get }) =>
      Effect.gen(function*() {
        yield* fails(b)
        const { considered, leftOut, picked, strategy } = explanationOf(yield* get("/explain?tool=weather__forecast"))
        assert.deepInclude(picked, { instance: "weather-a", source: "memory", reason: "the only one" })
        assert.strictEqual(strategy, "peak-ewma")
        assert.deepEqual(considered, [])
        assert.deepEqual(leftOut.map(({ circuit, instance, region }) => [instance, circuit, region]), [
          ["weather-b", "open", "eu"]
        ])
        assert.match(leftOut[0]?.reason ?? "", /^ejected .* ago: /)
      })))

  it.live("takes services and capabilities too, and knows who nearly has the name", () =>
    rest(
      { ...options, instances: [...instances, instance("sky-1", { capabilities: ["sky.colour"], tenants: ["acme"] })] },
      ({ get }) =>
        Effect.gen(function*() {
          const picked = (path: string) =>
            Effect.map(get(path), (answer) =>
              explanationOf(answer).picked?.instance ?? explanationOf(answer).failure?.kind)
          assert.strictEqual(yield* picked("/explain?tool=db"), "db-1")
          assert.strictEqual(yield* picked("/explain?tool=sky.*&caller=tenant:acme"), "sky-1")
          assert.strictEqual(yield* picked("/explain?tool=sky.colour"), "unknown")
          assert.strictEqual(yield* picked("/explain?tool=db&strategy=round-robin&hashKey=x"), "db-1")
          const unknown = problem(yield* get("/explain?tool=weather__forcast"), 404).detail
          assert.strictEqual(
            unknown,
            "no tool or service is called weather__forcast; did you mean \"weather__forecast\"?"
          )
          problem(yield* get("/explain"), 400)
          assert.include(problem(yield* get("/explain?tool=db&caller=acme"), 400).detail, "tenant:<name>")
          problem(yield* get("/explain?tool=db&strategy=best"), 400)
        })
    ))

  it.live("says what a call would fail with", () =>
    rest(options, ({ get, send }) =>
      Effect.gen(function*() {
        yield* Effect.forEach(["weather-a", "weather-b"], (id) => send("PUT", `/instances/${id}/mark`, { as: "down" }))
        yield* until(
          Effect.map(get("/explain?tool=weather__forecast"), (answer) => explanationOf(answer).failure !== undefined)
        )
        assert.deepEqual(explanationOf(yield* get("/explain?tool=weather__forecast")).failure, {
          kind: "unavailable",
          reason: "no instance takes calls (2 down)",
          waits: false
        })
      })))
})
