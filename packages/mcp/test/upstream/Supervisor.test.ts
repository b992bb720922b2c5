import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Semaphore from "effect/Semaphore"
import { TestClock } from "effect/testing"
import type { JsonRpcNotification } from "../../src/JsonRpc.ts"
import type { Transport } from "../../src/upstream/Link.ts"
import * as Supervisor from "../../src/upstream/Supervisor.ts"
import type { Connection, Failure } from "../../src/upstream/transports/Connection.ts"
import type { UpstreamEvent } from "../../src/upstream/Upstreams.ts"
import * as Harness from "./Harness.ts"

/** A transport in memory whose requests are answered as `answer` says. */
const scripted = (kind: Transport["kind"], answer: (method: string) => Failure | object | undefined) => {
  const figures = {
    opened: 0,
    sent: [] as Array<string>,
    lose: undefined as ((failure: Failure) => void) | undefined,
    message: undefined as ((message: JsonRpcNotification) => void) | undefined
  }
  const transport: Transport = {
    kind,
    open: (_, listener): Connection => {
      figures.opened++
      figures.lose = listener.onLost
      figures.message = listener.onMessage
      return {
        send: (request, exchange) => {
          figures.sent.push(request.method)
          const given = answer(request.method)
          if (given !== undefined) {
            if ("phase" in given) exchange.onFailure(given as Failure)
            else exchange.onReply({ result: { ...given } })
          }
          return () => {}
        },
        post: (_, done) => done?.(undefined),
        negotiated: () => {},
        cancelsByClosing: false,
        close: () => Promise.resolve()
      }
    }
  }
  return { figures, transport }
}

const refused: Failure = { phase: "notSent", reason: "connection refused", connectionLost: true }
const profile = {
  supportedVersions: ["2026-07-28"],
  capabilities: {},
  _meta: { "io.modelcontextprotocol/serverInfo": { name: "s", version: "1" } }
}

const supervise = (transport: Transport, secrets?: Failure) =>
  Effect.gen(function*() {
    const events: Array<UpstreamEvent> = []
    const supervised = yield* Supervisor.make({
      entry: () => Harness.entryOf({ id: "a", service: "a", endpoint: { transport: "stdio", command: "x" } }),
      kind: transport.kind,
      transport: secrets === undefined ? Effect.succeed(transport) : Effect.fail(secrets),
      emit: (event) => events.push(event),
      entered: () => {},
      gate: yield* Semaphore.make(8),
      connectTimeout: Duration.seconds(10),
      probeTimeout: Duration.seconds(3),
      limits: { maxSessions: 4, idleTimeout: Duration.minutes(5) }
    })
    yield* Effect.forkScoped(supervised.run, { startImmediately: true })
    yield* TestClock.adjust(0)
    return { ...supervised, events }
  })

describe("Supervisor", () => {
  it.effect("tries an HTTP server at least once a second, and no more than it must", () =>
    Effect.gen(function*() {
      const { figures, transport } = scripted("http", () => refused)
      const { events } = yield* supervise(transport)
      for (let second = 1; second <= 60; second++) {
        yield* TestClock.adjust("1 second")
        assert.isAtLeast(figures.opened, second)
      }
      assert.isBelow(figures.opened, 400)
      assert.deepStrictEqual(events.map((event) => event._tag), ["Failed"])
    }))

  it.effect("starts no process again once its instance is gone, and waits for none that ended", () =>
    Effect.gen(function*() {
      const { figures, transport } = scripted("stdio", (method) => method === "x" ? undefined : profile)
      const { retire, upstream } = yield* supervise(transport)
      yield* upstream.connect
      const call = yield* Effect.forkChild(Effect.flip(upstream.request({ method: "x" })), { startImmediately: true })
      const retired = yield* Effect.forkChild(retire, { startImmediately: true })
      assert.isUndefined(retired.pollUnsafe())
      figures.lose?.({ ...refused, reason: "exited with code 1" })
      assert.strictEqual((yield* Fiber.join(call)).phase, "mayHaveRun")
      yield* TestClock.adjust("10 minutes")
      assert.isDefined(retired.pollUnsafe())
      assert.strictEqual(figures.opened, 1)
    }))

  it.effect("asks a server that refuses us ever more seldom", () =>
    Effect.gen(function*() {
      const { figures, transport } = scripted("http", () => ({ phase: "answered", reason: "HTTP 401", status: 401 }))
      const { upstream } = yield* supervise(transport)
      yield* TestClock.adjust("10 minutes")
      assert.isAtMost(figures.opened, 200)
      const before = figures.opened
      assert.strictEqual((yield* Effect.flip(upstream.request({ method: "x" }))).status, 401)
      assert.strictEqual(figures.opened, before)
    }))

  it.effect("X3: leaves a server alone that asks for it, whoever calls meanwhile", () =>
    Effect.gen(function*() {
      let up = false
      const busy = { phase: "answered", reason: "HTTP 503: busy", status: 503, retryAfter: 100_000 } as const
      const { figures, transport } = scripted("http", () => up ? profile : busy)
      const { upstream } = yield* supervise(transport)
      assert.strictEqual(figures.opened, 1)
      for (let second = 1; second < 100; second++) {
        yield* TestClock.adjust("1 second")
        const { phase, reason, retryAfter, status } = yield* Effect.flip(upstream.request({ method: "x" }))
        assert.deepStrictEqual([phase, reason, status, retryAfter], [
          "notSent",
          "HTTP 503: busy",
          503,
          (100 - second) * 1_000
        ])
      }
      assert.strictEqual(figures.opened, 1)
      up = true
      yield* TestClock.adjust("1 second")
      assert.strictEqual(figures.opened, 2)
      assert.isTrue("result" in (yield* upstream.request({ method: "x" })))
    }))

  it.effect("starts a process again with pauses that grow to 30 s, and fails callers at once meanwhile", () =>
    Effect.gen(function*() {
      const { figures, transport } = scripted("stdio", () => ({ ...refused, reason: "exited with code 1" }))
      const { upstream } = yield* supervise(transport)
      yield* TestClock.adjust("10 minutes")
      assert.isAtLeast(figures.opened, 20)
      assert.isAtMost(figures.opened, 200)
      const before = figures.opened
      const error = yield* Effect.flip(upstream.request({ method: "x" }))
      assert.strictEqual(error.reason, "exited with code 1")
      assert.strictEqual(figures.opened, before)
    }))

  it.effect("a caller cuts the pause short where the server may be back, and shares the attempt", () =>
    Effect.gen(function*() {
      let up = false
      const { figures, transport } = scripted(
        "http",
        (method) => !up ? refused : method === "server/discover" ? profile : {}
      )
      const { upstream } = yield* supervise(transport)
      yield* TestClock.adjust("5 seconds")
      up = true
      const before = figures.opened
      const replies = yield* Effect.all(Array.from({ length: 10 }, () => upstream.request({ method: "x" })), {
        concurrency: "unbounded"
      })
      assert.strictEqual(replies.length, 10)
      assert.strictEqual(figures.opened, before + 1)
    }))

  it.effect("a server that hangs costs its first callers the time-out, and the next ones nothing", () =>
    Effect.gen(function*() {
      const { transport } = scripted("http", () => undefined)
      const { upstream } = yield* supervise(transport)
      const first = yield* Effect.forkChild(Effect.flip(upstream.request({ method: "x" })), { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(first.pollUnsafe()?._tag, "Success")
      const second = yield* Effect.flip(upstream.request({ method: "x" }))
      assert.deepInclude(second, { phase: "notSent", reason: "no answer to the handshake within 10s" })
    }))

  it.effect("a lost link is opened anew, and that it lasted makes the first attempt immediate", () =>
    Effect.gen(function*() {
      const { figures, transport } = scripted("http", (method) => method === "server/discover" ? profile : {})
      const { events, upstream } = yield* supervise(transport)
      yield* TestClock.adjust("6 seconds")
      figures.lose?.({ phase: "mayHaveRun", reason: "connection closed by the server", connectionLost: true })
      assert.strictEqual(upstream.state()._tag, "connecting")
      yield* TestClock.adjust(0)
      assert.strictEqual(upstream.state()._tag, "connected")
      assert.deepStrictEqual(events.map((event) => event._tag), ["Connected", "Connected"])
    }))

  it.effect("waits for the calls of what goes as long as they take, while their server answers", () =>
    Effect.gen(function*() {
      let silent = false
      const { figures, transport } = scripted(
        "http",
        (method) => silent || method === "x" ? undefined : profile
      )
      const { retire, upstream } = yield* supervise(transport)
      yield* upstream.connect
      const call = yield* Effect.forkChild(Effect.exit(upstream.request({ method: "x" })), { startImmediately: true })
      const retired = yield* Effect.forkChild(retire, { startImmediately: true })
      yield* TestClock.adjust("5 minutes")
      assert.isUndefined(retired.pollUnsafe())
      assert.isUndefined(call.pollUnsafe())
      assert.isAtLeast(figures.sent.filter((method) => method === "server/discover").length, 20)
      // It died without a word, as the registry knew.
      silent = true
      yield* TestClock.adjust("20 seconds")
      assert.isDefined(retired.pollUnsafe())
    }))

  it.effect("doesn't wait for a subscription, which has no end", () =>
    Effect.gen(function*() {
      const { figures, transport } = scripted("http", (method) =>
        method === "server/discover" ? { ...profile, capabilities: { tools: { listChanged: true } } } : undefined)
      const { retire, upstream } = yield* supervise(transport)
      yield* upstream.connect
      assert.include(figures.sent, "subscriptions/listen")
      const retired = yield* Effect.forkChild(retire, { startImmediately: true })
      assert.isDefined(retired.pollUnsafe())
    }))

  it.effect("tells nothing of what is no longer announced", () =>
    Effect.gen(function*() {
      const { figures, transport } = scripted("http", (method) => method === "x" ? undefined : profile)
      const { events, retire, upstream } = yield* supervise(transport)
      yield* upstream.connect
      const before = events.length
      yield* Effect.forkChild(upstream.request({ method: "x" }), { startImmediately: true })
      yield* Effect.forkChild(retire, { startImmediately: true })
      figures.message?.({ jsonrpc: "2.0", method: "notifications/tools/list_changed" })
      yield* TestClock.adjust(0)
      assert.strictEqual(events.length, before)
    }))

  it.effect("B16: knows each session of a server by itself, and keeps a request that must to its own", () =>
    Effect.gen(function*() {
      const { figures, transport } = scripted(
        "http",
        (method) => method === "initialize" ? { protocolVersion: "2025-11-25", capabilities: {}, serverInfo: {} } : {}
      )
      const { upstream } = yield* supervise(transport)
      const first = yield* upstream.connect
      assert.isDefined(first.session)
      assert.deepStrictEqual(yield* upstream.request({ method: "x", session: first.session }), { result: {} })
      figures.lose?.({ phase: "mayHaveRun", reason: "connection closed by the server", connectionLost: true })
      yield* TestClock.adjust("1 second")
      const second = yield* upstream.connect
      assert.notStrictEqual(second.session, first.session)
      const before = figures.sent.length
      assert.deepInclude(yield* Effect.flip(upstream.request({ method: "x", session: first.session })), {
        phase: "notSent",
        sessionLost: true
      })
      assert.strictEqual(figures.sent.length, before)
      assert.deepStrictEqual(yield* upstream.request({ method: "x" }), { result: {} })
    }))

  it.effect("a secret that can't be had is the reason of the failure", () =>
    Effect.gen(function*() {
      const { transport } = scripted("http", () => ({}))
      const { events } = yield* supervise(transport, { phase: "notSent", reason: "headers.x: not set" })
      assert.deepStrictEqual(events.map((event) => event._tag === "Failed" && event.reason), ["headers.x: not set"])
    }))
})
