/**
 * How many connections callers have of their own, and for how long; over a transport in memory.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Semaphore from "effect/Semaphore"
import { TestClock } from "effect/testing"
import type { Fields, JsonRpcNotification, JsonRpcRequest } from "../../src/JsonRpc.ts"
import type { Transport } from "../../src/upstream/Link.ts"
import * as Supervisor from "../../src/upstream/Supervisor.ts"
import type { Connection } from "../../src/upstream/transports/Connection.ts"
import type {
  Caller,
  CallerSession,
  ServerProfile,
  ServerRequest,
  Upstream,
  UpstreamRequest
} from "../../src/upstream/Upstream.ts"
import type { UpstreamEvent } from "../../src/upstream/Upstreams.ts"
import * as Harness from "./Harness.ts"
import * as MemoryServer from "./MemoryServer.ts"

const supervise = (
  transport: Transport,
  maxSessions = 2,
  metadata: Record<string, string> = { "mcp-era": "handshake" }
) =>
  Effect.gen(function*() {
    const events: Array<UpstreamEvent> = []
    const lasted: Array<number> = []
    const supervised = yield* Supervisor.make({
      entry: () =>
        Harness.entryOf({
          id: "a",
          service: "a",
          endpoint: { transport: "stdio", command: "x" },
          metadata
        }),
      kind: transport.kind,
      transport: Effect.succeed(transport),
      emit: (event) => events.push(event),
      entered: () => {},
      measured: {
        begin: () => () => {},
        traced: undefined,
        sessionEnded: (_: ServerProfile, ms: number) => void lasted.push(ms)
      },
      gate: yield* Semaphore.make(8),
      connectTimeout: Duration.seconds(10),
      probeTimeout: Duration.seconds(3),
      limits: { maxSessions, idleTimeout: Duration.minutes(5) }
    })
    yield* Effect.forkScoped(supervised.run, { startImmediately: true })
    yield* TestClock.adjust(0)
    return { ...supervised, events, lasted }
  })

const elicitation = { elicitation: {} }
const asks: Caller = { principal: undefined, capabilities: elicitation, session: undefined }
const named = (principal: string): Caller => ({ principal, capabilities: {}, session: undefined })
const sessionOf = (): Caller & { readonly session: CallerSession; readonly notes: Array<JsonRpcNotification> } => {
  const notes: Array<JsonRpcNotification> = []
  const session: CallerSession = {
    onRequest: () => {},
    onNotification: (_, notification) => void notes.push(notification)
  }
  return { principal: undefined, capabilities: elicitation, session, notes }
}

/** A session that keeps what it is asked. */
const asking = () => {
  const asked: Array<ServerRequest> = []
  const session: CallerSession = { onRequest: (_, request) => void asked.push(request), onNotification: () => {} }
  return { principal: undefined, capabilities: elicitation, session, asked }
}

const call = (upstream: Upstream, caller: Caller | undefined) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(upstream.request({ method: "tools/call", params: { name: "x" }, caller }), {
      startImmediately: true
    })
    yield* TestClock.adjust(0)
    return fiber
  })

describe("a pool", () => {
  it.effect("opens no more than its limit: who comes then waits for a place, first come first served", () =>
    Effect.gen(function*() {
      const { finish, own, transport } = MemoryServer.make("stdio")
      const { upstream } = yield* supervise(transport)
      const fibers = [yield* call(upstream, asks), yield* call(upstream, asks)]
      const late = yield* call(upstream, named("bob"))
      const later = yield* call(upstream, asks)
      assert.strictEqual(own().length, 2)
      assert.deepStrictEqual(own().map(({ calls }) => calls.length), [1, 1])
      finish(own()[0])
      yield* TestClock.adjust(0)
      // The idle one gave its place to whoever waited longest.
      assert.strictEqual(own().length, 2)
      assert.deepStrictEqual(own().map(({ declared }) => declared), [elicitation, {}])
      assert.isDefined(fibers[0]?.pollUnsafe())
      finish(own()[1])
      yield* TestClock.adjust(0)
      assert.isDefined(late.pollUnsafe())
      finish(own()[0])
      finish(own()[1])
      yield* TestClock.adjust(0)
      finish(own()[0])
      finish(own()[1])
      yield* TestClock.adjust(0)
      assert.isDefined(later.pollUnsafe())
      assert.isAtMost(own().length, 2)
    }))

  it.effect("who shares a connection that is there doesn't wait for those who need another one", () =>
    Effect.gen(function*() {
      const { finish, own, transport } = MemoryServer.make("stdio")
      const { upstream } = yield* supervise(transport)
      yield* call(upstream, asks)
      yield* call(upstream, asks)
      const one = yield* call(upstream, named("ada"))
      const other = yield* call(upstream, asks)
      const third = yield* call(upstream, named("ada"))
      finish(own()[0])
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(own().map(({ calls, declared }) => [declared, calls.length]), [[elicitation, 1], [{}, 2]])
      finish(own()[1])
      yield* Fiber.join(one)
      yield* Fiber.join(third)
      finish(own()[0])
      yield* TestClock.adjust(0)
      for (const each of own()) finish(each)
      yield* Fiber.join(other)
    }))

  it.effect("who waits in vain is told so, and harms nobody", () =>
    Effect.gen(function*() {
      const { finish, own, transport } = MemoryServer.make("stdio")
      const { upstream } = yield* supervise(transport)
      yield* call(upstream, asks)
      yield* call(upstream, asks)
      const late = yield* call(upstream, asks)
      const given = yield* call(upstream, asks)
      yield* Fiber.interrupt(given)
      yield* TestClock.adjust("10 seconds")
      assert.deepInclude(yield* Effect.flip(Fiber.join(late)), {
        phase: "notSent",
        reason: "all 2 connections that callers may have of their own are busy"
      })
      // Who shares the gateway's own is not concerned.
      const plain = yield* call(upstream, undefined)
      finish(own()[0])
      const next = yield* call(upstream, asks)
      finish(own()[0])
      yield* TestClock.adjust(0)
      assert.isDefined(next.pollUnsafe())
      assert.isUndefined(plain.pollUnsafe())
    }))

  it.effect("closes what nobody used for long, and counts how long it lasted", () =>
    Effect.gen(function*() {
      const { finish, own, transport } = MemoryServer.make("stdio")
      const { lasted, upstream } = yield* supervise(transport)
      yield* call(upstream, named("ada"))
      yield* TestClock.adjust("10 minutes")
      // A call is under way.
      assert.strictEqual(own().length, 1)
      finish(own()[0])
      yield* TestClock.adjust("4 minutes")
      const again = yield* call(upstream, named("ada"))
      finish(own()[0])
      yield* Fiber.join(again)
      yield* TestClock.adjust("4 minutes")
      assert.strictEqual(own().length, 1)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(own().length, 0)
      assert.deepStrictEqual(lasted, [19 * 60_000])
      const anew = yield* call(upstream, named("ada"))
      finish(own()[0])
      yield* Fiber.join(anew)
    }))

  it.effect("what a server keeps for a session stays until the session ends; another caller's need goes before", () =>
    Effect.gen(function*() {
      const { finish, own, transport } = MemoryServer.make("stdio")
      const { forget, upstream } = yield* supervise(transport)
      const one = sessionOf()
      yield* call(upstream, one)
      finish(own()[0])
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(own().length, 1)
      yield* call(upstream, named("bob"))
      finish(own()[1])
      yield* TestClock.adjust(0)
      // Of two that are idle, the one that is nobody's session goes first, though it was used last.
      yield* call(upstream, named("carl"))
      finish(own()[1])
      yield* TestClock.adjust(0)
      assert.strictEqual(own().length, 2)
      assert.isDefined(upstream.session(one))
      // Also where it was opened last, and used before the other.
      forget(one.session)
      const other = sessionOf()
      yield* call(upstream, other)
      finish(own()[1])
      yield* TestClock.adjust("1 second")
      yield* call(upstream, named("carl"))
      finish(own()[0])
      yield* call(upstream, named("dora"))
      finish(own()[1])
      yield* TestClock.adjust(0)
      assert.isDefined(upstream.session(other))
      assert.deepStrictEqual(own().map(({ declared }) => declared), [elicitation, {}])
      forget(other.session)
      assert.strictEqual(own().length, 1)
      assert.isUndefined(upstream.session(one))
      assert.deepInclude(yield* Effect.flip(upstream.request({ method: "tools/call", caller: one })), {
        phase: "notSent",
        reason: "its session is over"
      })
    }))

  it.effect("a session that ends lets what is under way come to its end", () =>
    Effect.gen(function*() {
      const { all, finish, transport } = MemoryServer.make("stdio")
      const { forget, upstream } = yield* supervise(transport)
      const one = sessionOf()
      const fiber = yield* call(upstream, one)
      forget(one.session)
      assert.isFalse(all[1]?.closed)
      finish(all[1])
      yield* Fiber.join(fiber)
      assert.isTrue(all[1]?.closed)
    }))

  it.effect("callers at the same time share one attempt, and its failure; the next ones are spared for a while", () =>
    Effect.gen(function*() {
      const { all, answer, finish, transport } = MemoryServer.make("stdio", { slow: true })
      const { upstream } = yield* supervise(transport)
      const one = sessionOf()
      const fibers = [yield* call(upstream, one), yield* call(upstream, one), yield* call(upstream, one)]
      yield* Fiber.interrupt(fibers[2] ?? (yield* Effect.die("none")))
      assert.strictEqual(all.length, 2)
      answer()
      yield* TestClock.adjust(0)
      assert.strictEqual(all[1]?.calls.length, 2)
      finish(all[1])
      yield* Fiber.join(fibers[0] ?? (yield* Effect.die("none")))

      const failing = MemoryServer.make("stdio", { refuses: { phase: "notSent", reason: "exited with code 1" } })
      const other = yield* supervise(failing.transport)
      for (let count = 0; count < 10; count++) {
        const error = yield* Effect.flip(other.upstream.request({ method: "tools/call", caller: one }))
        assert.deepInclude(error, { phase: "notSent", reason: "exited with code 1" })
      }
      assert.strictEqual(failing.all.length, 2)
      yield* TestClock.adjust("250 millis")
      yield* Effect.flip(other.upstream.request({ method: "tools/call", caller: one }))
      assert.strictEqual(failing.all.length, 3)
      yield* TestClock.adjust("250 millis")
      yield* Effect.flip(other.upstream.request({ method: "tools/call", caller: one }))
      assert.strictEqual(failing.all.length, 3)
      // The others are not concerned.
      yield* call(other.upstream, named("bob"))
      assert.strictEqual(failing.own().filter(({ calls }) => calls.length === 1).length, 1)
    }))

  it.effect("spares a server the longer the more attempts failed in a row, and no longer once one succeeded", () =>
    Effect.gen(function*() {
      const { all, answer, finish, own, transport } = MemoryServer.make("stdio", { slow: true })
      const { upstream } = yield* supervise(transport)
      const one = sessionOf()
      const failing = Effect.gen(function*() {
        const fiber = yield* call(upstream, one)
        answer({ phase: "notSent", reason: "exited with code 1" })
        yield* Effect.flip(Fiber.join(fiber))
      })
      yield* failing
      yield* TestClock.adjust("250 millis")
      yield* failing
      yield* TestClock.adjust("499 millis")
      yield* failing
      assert.strictEqual(all.length, 3)
      yield* TestClock.adjust("1 millis")
      const fiber = yield* call(upstream, one)
      answer()
      yield* TestClock.adjust(0)
      finish(own()[0])
      yield* Fiber.join(fiber)
      own()[0]?.lose({ phase: "notSent", reason: "exited with code 1", connectionLost: true })
      yield* failing
      yield* TestClock.adjust("250 millis")
      yield* failing
      assert.strictEqual(all.length, 6)
    }))

  it.effect("thousands of sessions that come and go, opened or not, leave nothing behind", () =>
    Effect.gen(function*() {
      const { all, answer, finish, own, transport } = MemoryServer.make("stdio", { slow: true })
      const { forget, upstream } = yield* supervise(transport, 64)
      for (let round = 0; round < 100; round++) {
        const sessions = Array.from({ length: 50 }, sessionOf)
        const fibers = yield* Effect.forEach(sessions, (one) => call(upstream, one))
        // Some end before they are connected.
        for (const { session } of sessions.slice(0, 20)) forget(session)
        yield* TestClock.adjust("1 second")
        for (let times = 0; times < 10; times++) {
          answer()
          yield* TestClock.adjust(0)
        }
        for (const one of all) finish(one)
        for (const fiber of fibers) yield* Fiber.await(fiber)
        for (const { session } of sessions) forget(session)
        assert.strictEqual(own().length, 0)
        all.splice(1)
      }
    }))

  it.effect("a connection that carried a call which was given up serves nobody else", () =>
    Effect.gen(function*() {
      const { all, finish, transport } = MemoryServer.make("stdio")
      const { upstream } = yield* supervise(transport)
      const given = yield* call(upstream, asks)
      yield* Fiber.interrupt(given)
      assert.deepInclude(all[1]?.posted.at(-1), { method: "notifications/cancelled" })
      assert.isTrue(all[1]?.closed)
      const next = yield* call(upstream, asks)
      finish(all[2])
      yield* Fiber.join(next)
      yield* call(upstream, asks)
      assert.strictEqual(all.length, 3)
    }))

  it.effect("one lost connection is nobody else's loss", () =>
    Effect.gen(function*() {
      const { all, finish, transport } = MemoryServer.make("stdio")
      const { events, upstream } = yield* supervise(transport, 4)
      const ada = yield* call(upstream, named("ada"))
      const bob = yield* call(upstream, named("bob"))
      const own = yield* call(upstream, undefined)
      const before = events.length
      all[1]?.lose({ phase: "notSent", reason: "exited with code 1", connectionLost: true })
      assert.deepInclude(yield* Effect.flip(Fiber.join(ada)), { phase: "mayHaveRun", reason: "exited with code 1" })
      assert.strictEqual(events.length, before)
      finish(all[2])
      finish(all[0])
      yield* Fiber.join(bob)
      yield* Fiber.join(own)
      // A process of its own outlives the gateway's.
      all[0]?.lose({ phase: "notSent", reason: "exited with code 1", connectionLost: true })
      const again = yield* call(upstream, named("bob"))
      finish(all[2])
      yield* Fiber.join(again)
    }))

  it.effect("what is no longer announced takes nobody, and is closed when its calls are over", () =>
    Effect.gen(function*() {
      const { all, finish, transport } = MemoryServer.make("stdio")
      const { retire, upstream } = yield* supervise(transport)
      const fiber = yield* call(upstream, named("ada"))
      const idle = yield* call(upstream, sessionOf())
      finish(all[2])
      yield* Fiber.join(idle)
      const retired = yield* Effect.forkChild(retire, { startImmediately: true })
      assert.isTrue(all[2]?.closed)
      assert.isFalse(all[1]?.closed)
      assert.deepInclude(yield* Effect.flip(upstream.request({ method: "tools/call", caller: named("ada") })), {
        phase: "notSent",
        reason: "no longer announced"
      })
      yield* TestClock.adjust("5 minutes")
      assert.isUndefined(retired.pollUnsafe())
      finish(all[1])
      yield* Fiber.join(fiber)
      yield* Fiber.join(retired)
      assert.isTrue(all[1]?.closed)
    }))

  it.effect("tells lists that changed to all, what else a server says to the session that it says it to", () =>
    Effect.gen(function*() {
      const { all, finish, transport } = MemoryServer.make("stdio")
      const { events, upstream } = yield* supervise(transport)
      const one = sessionOf()
      yield* call(upstream, one)
      yield* call(upstream, named("ada"))
      finish(all[1])
      finish(all[2])
      const before = events.length
      const say = (method: string) => {
        all[1]?.say({ jsonrpc: "2.0", method })
        all[2]?.say({ jsonrpc: "2.0", method })
      }
      say("notifications/tools/list_changed")
      say("notifications/message")
      say("notifications/elicitation/complete")
      assert.deepStrictEqual(
        events.slice(before).map((event) => event._tag === "Notified" ? event.notification.method : event._tag),
        ["notifications/tools/list_changed", "notifications/tools/list_changed", "notifications/elicitation/complete"]
      )
      assert.deepStrictEqual(one.notes.map(({ method }) => method), [
        "notifications/message",
        "notifications/elicitation/complete"
      ])
    }))

  it.effect("each connection is told the log level, also one that is opened later", () =>
    Effect.gen(function*() {
      const { all, finish, transport } = MemoryServer.make("stdio")
      const { upstream } = yield* supervise(transport)
      yield* call(upstream, named("ada"))
      yield* upstream.request({ method: "logging/setLevel", params: { level: "debug" } })
      yield* call(upstream, sessionOf())
      const levels = all.map(({ sent }) =>
        sent.filter(({ method }) => method === "logging/setLevel").map(({ params }) => params?.["level"])
      )
      assert.deepStrictEqual(levels, [["debug"], ["debug"], ["debug"]])
      for (const one of all) finish(one)
    }))

  it.effect("notifications of a caller go to the connection of its own, or nowhere", () =>
    Effect.gen(function*() {
      const { all, finish, transport } = MemoryServer.make("stdio")
      const { upstream } = yield* supervise(transport)
      const one = sessionOf()
      yield* upstream.notify("notifications/roots/list_changed", undefined, one)
      assert.strictEqual(all.length, 1)
      yield* call(upstream, one)
      finish(all[1])
      yield* upstream.notify("notifications/roots/list_changed", undefined, one)
      const roots = (opened: MemoryServer.Opened | undefined) =>
        opened?.posted.filter(({ method }) => method === "notifications/roots/list_changed").length
      assert.deepStrictEqual(all.map(roots), [0, 1])
      yield* upstream.notify("notifications/roots/list_changed")
      assert.deepStrictEqual(all.map(roots), [1, 1])
    }))

  it.effect("what a server asks on the one channel of a session goes to the only call, else to the session", () =>
    Effect.gen(function*() {
      const { all, transport } = MemoryServer.make("stdio")
      const { upstream } = yield* supervise(transport)
      const { asked, ...one } = asking()
      const heard: Array<string> = []
      const start = (name: string) =>
        Effect.forkChild(
          upstream.request({ method: "tools/call", caller: one, onRequest: () => void heard.push(name) }),
          { startImmediately: true }
        )
      const ask = (id: number, method = "elicitation/create") => all[1]?.say({ jsonrpc: "2.0", id, method })
      const first = yield* start("first")
      yield* TestClock.adjust(0)
      ask(1)
      yield* start("second")
      ask(2)
      yield* Fiber.interrupt(first)
      ask(3)
      assert.deepStrictEqual(heard, ["first", "second"])
      assert.deepStrictEqual(asked.map(({ method }) => method), ["elicitation/create"])
      // The first call is over, and with it what it was asked; an id is as good as any other to the server.
      ask(2, "ping")
      ask(3, "sampling/createMessage")
      assert.deepStrictEqual(all[1]?.posted.slice(-2), [
        { jsonrpc: "2.0", id: 2, result: {} },
        {
          jsonrpc: "2.0",
          id: 3,
          error: { code: -32601, message: "sampling/createMessage is not supported by this client" }
        }
      ])
    }))

  it.effect("R11: what a server asks on the stream of a request that can't ask its client goes to no other call", () =>
    Effect.gen(function*() {
      const { all, finish, transport } = MemoryServer.make("http")
      const { upstream } = yield* supervise(transport)
      const heard: Array<ServerRequest> = []
      yield* call(upstream, asks)
      yield* Effect.forkChild(
        upstream.request({ method: "tools/call", caller: asks, onRequest: (request) => void heard.push(request) }),
        { startImmediately: true }
      )
      assert.strictEqual(all[1]?.calls.length, 2)
      const [own, other] = all[1]?.calls ?? []
      own?.exchange.onMessage({ jsonrpc: "2.0", id: 7, method: "elicitation/create" })
      assert.deepStrictEqual(heard, [])
      assert.deepInclude(all[1]?.posted.at(-1), {
        id: 7,
        error: { code: -32601, message: "elicitation/create is not supported by this client" }
      })
      other?.exchange.onMessage({ jsonrpc: "2.0", id: 8, method: "elicitation/create" })
      assert.strictEqual(heard.length, 1)
      finish(all[1])
    }))

  for (const [takes, waits] of [[0, 100], [400, 400], [5_000, 1_000]] as const) {
    it.effect(`a server that took ${takes} ms to connect has ${waits} ms to open the stream on which it asks`, () =>
      Effect.gen(function*() {
        const { all, answer, finish, transport } = MemoryServer.make("http", { slow: true, listens: true })
        const { upstream } = yield* supervise(transport)
        const first = yield* call(upstream, asks)
        yield* TestClock.adjust(takes)
        answer()
        yield* TestClock.adjust(waits - 1)
        assert.strictEqual(all[1]?.calls.length, 0)
        yield* TestClock.adjust(1)
        assert.strictEqual(all[1]?.calls.length, 1)
        finish(all[1])
        yield* Fiber.join(first)
        // Who comes later waits for nothing.
        yield* call(upstream, asks)
        assert.strictEqual(all[1]?.calls.length, 1)
      }))
  }

  it.effect("a connection whose stream is open waits for nothing", () =>
    Effect.gen(function*() {
      const { all, transport } = MemoryServer.make("http", { listens: true })
      const { upstream } = yield* supervise(transport)
      yield* call(upstream, asks)
      assert.strictEqual(all[1]?.calls.length, 0)
      all[1]?.stream?.()
      yield* TestClock.adjust(0)
      assert.strictEqual(all[1]?.calls.length, 1)
    }))

  it.effect("a flood of what a server asks is bounded, and so is what it is answered", () =>
    Effect.gen(function*() {
      const { all, transport } = MemoryServer.make("stdio")
      const { upstream } = yield* supervise(transport)
      const { asked, ...one } = asking()
      yield* call(upstream, one)
      for (let id = 1; id <= 10_000; id++) all[1]?.say({ jsonrpc: "2.0", id, method: "elicitation/create" })
      assert.strictEqual(asked.length, 32)
      const refused = all[1]?.posted.filter(({ error }) => error !== undefined) ?? []
      assert.strictEqual(refused[0]?.["id"], 33)
      for (const { reply } of asked) reply({ result: { action: "decline" } })
      all[1]?.say({ jsonrpc: "2.0", id: 0, method: "elicitation/create" })
      assert.strictEqual(asked.length, 33)
      all[1]?.say({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 0 } })
      assert.isTrue(asked[32]?.withdrawn.aborted)
      const before = all[1]?.posted.length
      asked[32]?.reply({ result: {} })
      assert.strictEqual(all[1]?.posted.length, before)
    }))
})

describe("the gateway's own connection", () => {
  it.effect("that is lost as soon as it is open is replaced, and nobody's call goes over it", () =>
    Effect.gen(function*() {
      const { all, finish, transport } = MemoryServer.make("http", { losesFirst: true })
      const { upstream } = yield* supervise(transport)
      yield* TestClock.adjust("2 seconds")
      const fiber = yield* call(upstream, undefined)
      assert.isTrue(all[0]?.closed)
      assert.strictEqual(all[1]?.calls.length, 1)
      finish(all[1])
      yield* Fiber.join(fiber)
    }))

  it.effect("that comes back as one of the stateless era has no others beside it", () =>
    Effect.gen(function*() {
      let modern = false
      const { all, finish, transport } = MemoryServer.make("http", { modern: () => modern })
      const { upstream } = yield* supervise(transport, 2, {})
      const one = sessionOf()
      const fiber = yield* call(upstream, one)
      const own = all.find(({ calls }) => calls.length > 0)
      finish(own)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual([own?.declared, own?.closed], [elicitation, false])
      modern = true
      all.findLast(({ closed, declared }) => !closed && declared !== own?.declared)?.lose({
        phase: "notSent",
        reason: "gone",
        connectionLost: true
      })
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(upstream.state().profile?.era, "stateless")
      assert.isTrue(own?.closed)
      assert.isUndefined(upstream.session(one))
    }))

  it.effect("carries no notification of a caller that needs one of its own, nor makes it wait", () =>
    Effect.gen(function*() {
      const { all, transport } = MemoryServer.make("stdio")
      const { run, upstream } = yield* Supervisor.make({
        entry: () => Harness.entryOf({ id: "a", service: "a", endpoint: { transport: "stdio", command: "x" } }),
        kind: "stdio",
        transport: Effect.succeed(transport),
        emit: () => {},
        entered: () => {},
        gate: yield* Semaphore.make(8),
        connectTimeout: Duration.seconds(10),
        probeTimeout: Duration.seconds(3),
        limits: { maxSessions: 2, idleTimeout: Duration.minutes(5) }
      })
      yield* upstream.notify("notifications/roots/list_changed", undefined, sessionOf())
      yield* Effect.forkScoped(run, { startImmediately: true })
      yield* TestClock.adjust(0)
      assert.notInclude(all[0]?.posted.map(({ method }) => method), "notifications/roots/list_changed")
    }))
})

describe("a server of the stateless era", () => {
  it.effect("R3: is told with each request what its caller declared, over one connection", () =>
    Effect.gen(function*() {
      const sent: Array<JsonRpcRequest> = []
      let opened = 0
      const transport: Transport = {
        kind: "http",
        open: (): Connection => {
          opened++
          return {
            send: (request, exchange) => {
              sent.push(request)
              exchange.onReply({ result: { supportedVersions: ["2026-07-28"], capabilities: {} } })
              return () => {}
            },
            post: (_, done) => done?.(undefined),
            negotiated: () => {},
            cancelsByClosing: true,
            close: () => Promise.resolve()
          }
        }
      }
      const { upstream } = yield* supervise(transport, 2, {})
      const told = (more: Partial<UpstreamRequest>) =>
        Effect.map(
          upstream.request({ method: "tools/call", params: { name: "x", _meta: { mine: 1 } }, ...more }),
          () => {
            const meta = sent.at(-1)?.params?.["_meta"] as Fields
            assert.strictEqual(meta["mine"], 1)
            return meta["io.modelcontextprotocol/clientCapabilities"]
          }
        )
      assert.deepStrictEqual(yield* told({}), {})
      assert.deepStrictEqual(yield* told({ caller: named("ada") }), {})
      assert.deepStrictEqual(yield* told({ caller: asks }), elicitation)
      assert.deepStrictEqual(yield* told({ caller: sessionOf() }), elicitation)
      assert.deepStrictEqual(yield* told({ caller: asks, capabilities: { sampling: {} } }), { sampling: {} })
      assert.deepStrictEqual(yield* told({}), {})
      assert.strictEqual(opened, 1)
      assert.isUndefined(upstream.session(asks))
    }))
})
