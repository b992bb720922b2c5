import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, FiberSet } from "effect"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import { type Fields, isFields, type Reply } from "../../src/JsonRpc.ts"
import type { Link } from "../../src/upstream/Link.ts"
import * as Following from "../../src/upstream/resources/Following.ts"
import * as ResourceUpdates from "../../src/upstream/resources/ResourceUpdates.ts"
import type { Failure } from "../../src/upstream/transports/Connection.ts"
import type { ServerProfile, UpstreamRequest } from "../../src/upstream/Upstream.ts"

type Era = ServerProfile["era"]

/** A server by hand: what it was asked and has yet to answer, and what it tells of on the connection there is. */
const server = (era: Era, capabilities: Fields = { resources: { subscribe: true } }) => {
  interface Asked {
    readonly link: object
    readonly request: UpstreamRequest
    readonly onReply: (reply: Reply) => void
    readonly onFailure: (failure: Failure) => void
  }
  const profile: ServerProfile = { era, protocolVersion: "x", serverInfo: {}, capabilities }
  const asked: Array<Asked> = []
  const methods: Array<string> = []
  const refused = new Set<unknown>()
  /** Of the stateless era: its open streams. */
  const streams = new Map<object, { readonly uris: ReadonlyArray<string>; readonly asked: Asked }>()
  let told = new Set<string>()
  let current: Link | undefined
  let up = true
  const waiting = new Set<() => void>()

  const link = (): Link => {
    const self: Link = {
      open: () => {
        throw new Error("not opened")
      },
      connection: () => undefined,
      capabilities: {},
      redact: (text) => text,
      attach: () => {},
      request: (request, onReply, onFailure) => {
        methods.push(request.method)
        const one: Asked = { link: self, request, onReply, onFailure }
        asked.push(one)
        return () => {
          const at = asked.indexOf(one)
          if (at >= 0) asked.splice(at, 1)
          streams.delete(one)
        }
      },
      notify: () => {},
      lose: () => {},
      inFlight: () => 0,
      whenIdle: () => {},
      end: () => Promise.resolve()
    }
    return self
  }

  /** Answers what was asked first. */
  const answer = () => {
    const one = asked.shift()
    if (one === undefined || one.link !== current) return
    const { method, params } = one.request
    if (method === "subscriptions/listen") {
      const filter = params?.["notifications"]
      const named = isFields(filter) ? filter["resourceSubscriptions"] : undefined
      const uris = Array.isArray(named) ? named.filter((uri) => !refused.has(uri)).map(String) : []
      streams.set(one, { uris, asked: one })
      return one.request.onNotification?.({
        jsonrpc: "2.0",
        method: "notifications/subscriptions/acknowledged",
        params: { notifications: { resourceSubscriptions: uris } }
      })
    }
    const uri = String(params?.["uri"])
    if (refused.has(uri)) return one.onReply({ error: { code: -32602, message: "not this one" } })
    if (method === "resources/subscribe") told.add(uri)
    else told.delete(uri)
    one.onReply({ result: {} })
  }

  const acquire: Following.Options["acquire"] = (connected, failed) => {
    const give = () => {
      waiting.delete(give)
      current ??= link()
      connected(current, profile, () => {})
    }
    if (current !== undefined) return void give()
    if (!up) return void failed({ phase: "notSent", reason: "down" })
    waiting.add(give)
    return () => void waiting.delete(give)
  }

  return {
    acquire,
    asked,
    methods,
    refused,
    answer,
    /** Opens the connection that is waited for. */
    open: () => {
      for (const give of waiting) give()
    },
    current: () => current,
    setUp: (is: boolean) => {
      up = is
    },
    lose: (following: Following.Following) => {
      const gone = current
      if (gone === undefined) return
      current = undefined
      told = new Set()
      const left = asked.splice(0)
      const open = [...streams.values()]
      streams.clear()
      following.lost(gone)
      const failure: Failure = { phase: "mayHaveRun", reason: "lost", connectionLost: true }
      for (const one of [...left, ...open.map((stream) => stream.asked)]) one.onFailure(failure)
    },
    /** Ends a stream in the middle. */
    cut: () => {
      for (const [key, { asked }] of streams) {
        streams.delete(key)
        asked.onFailure({ phase: "mayHaveRun", reason: "cut" })
      }
    },
    tells: (): ReadonlyArray<string> =>
      era === "handshake" ? [...told].sort() : [...streams.values()].flatMap(({ uris }) => uris).sort()
  }
}

const harness = Effect.fnUntraced(function*(given: ReturnType<typeof server>, hears = true) {
  const run = yield* FiberSet.makeRuntime<never, void, never>()
  const clock = yield* TestClock.testClockWith((clock) => Effect.succeed(clock))
  let empty = 0
  const missed: Array<string> = []
  const following = Following.make({
    acquire: given.acquire,
    hears: () => hears,
    onMissed: (uri) => missed.push(uri),
    run,
    now: () => clock.currentTimeMillisUnsafe(),
    onEmpty: () => void empty++
  })
  return { following, missed, empties: () => empty }
})

const quiet = Effect.yieldNow.pipe(Effect.repeat({ times: 8 }))

/** Lets all that is due happen. */
const settle = Effect.fnUntraced(function*(given: ReturnType<typeof server>) {
  for (let second = 0; second < 34; second++) {
    for (let round = 0; round < 3; round++) {
      given.open()
      while (given.asked.length > 0) given.answer()
      yield* quiet
    }
    yield* TestClock.adjust("1 second")
  }
})

const operation = fc.oneof(
  fc.record({ _tag: fc.constant("follow" as const), uri: fc.constantFrom("a", "b", "c") }),
  fc.record({ _tag: fc.constant("leave" as const), index: fc.nat(10) }),
  fc.record({ _tag: fc.constantFrom("answer" as const, "open" as const, "lose" as const, "cut" as const) }),
  fc.record({ _tag: fc.constant("wait" as const), ms: fc.nat(1_000) })
)

describe("Following", () => {
  for (const era of ["handshake", "stateless"] as const) {
    it.effect(
      `a server of the ${era} era is asked for exactly what is followed, whatever happens`,
      () =>
        Effect.promise(() =>
          fc.assert(
            fc.asyncProperty(fc.array(operation, { minLength: 4, maxLength: 40 }), (operations) =>
              Effect.runPromise(
                Effect.scoped(Effect.gen(function*() {
                  const given = server(era)
                  const { empties, following } = yield* harness(given)
                  const places: Array<{ readonly uri: string; readonly place: Following.Place; heard: number }> = []
                  for (const op of operations) {
                    switch (op._tag) {
                      case "follow": {
                        const one = {
                          uri: op.uri,
                          heard: 0,
                          place: following.add(op.uri, () => void one.heard++)
                        }
                        places.push(one)
                        break
                      }
                      case "leave":
                        places.splice(op.index % Math.max(1, places.length), 1)[0]?.place.remove()
                        break
                      case "answer":
                        given.answer()
                        break
                      case "open":
                        given.open()
                        break
                      case "lose":
                        given.lose(following)
                        break
                      case "cut":
                        given.cut()
                        break
                      case "wait":
                        yield* TestClock.adjust(op.ms)
                    }
                    yield* quiet
                  }
                  yield* settle(given)
                  // A connection may be lost once while a server is first asked.
                  const lost = operations.filter(({ _tag }) => _tag === "lose").length
                  const failed = new Set<object>()
                  for (const one of places) {
                    const exit = yield* Effect.exit(one.place.outcome)
                    one.heard = 0
                    if (Exit.isSuccess(exit)) {
                      assert.deepStrictEqual(exit.value, { result: {} })
                      continue
                    }
                    assert.isAbove(lost, 1)
                    one.place.remove()
                    failed.add(one)
                  }
                  const left = places.filter((one) => !failed.has(one))
                  const wanted = Array.from(new Set(left.map(({ uri }) => uri))).sort()
                  assert.deepStrictEqual(given.tells(), wanted)
                  const link = given.current()
                  for (const uri of wanted) if (link !== undefined) following.updated(link, { uri })
                  for (const { heard } of left) assert.strictEqual(heard, 1)
                  // Who has lost what was told meanwhile hears of it once.
                  given.lose(following)
                  yield* settle(given)
                  assert.deepStrictEqual(given.tells(), wanted)
                  for (const { heard } of left) assert.strictEqual(heard, 2)
                  if (era === "stateless") {
                    given.cut()
                    yield* settle(given)
                    for (const { heard } of left) assert.strictEqual(heard, 3)
                  }
                  for (const { place } of left) place.remove()
                  yield* settle(given)
                  assert.deepStrictEqual(given.tells(), [])
                  if (operations.some(({ _tag }) => _tag === "follow")) assert.isAbove(empties(), 0)
                })).pipe(Effect.provide(TestClock.layer()))
              )),
            { numRuns: 60 }
          )
        ),
      60_000
    )
  }

  it.effect("many who follow are one to the server", () =>
    Effect.gen(function*() {
      const given = server("handshake")
      const { following } = yield* harness(given)
      const places = Array.from({ length: 100 }, () => following.add("a", () => {}))
      yield* settle(given)
      assert.deepStrictEqual(given.methods, ["resources/subscribe"])
      for (const place of places.slice(1)) place.remove()
      yield* settle(given)
      assert.deepStrictEqual(given.methods, ["resources/subscribe"])
      places[0]?.remove()
      yield* settle(given)
      assert.deepStrictEqual(given.methods, ["resources/subscribe", "resources/unsubscribe"])
    }))

  for (const era of ["handshake", "stateless"] as const) {
    it.effect(`asks a server of the ${era} era again where the connection is lost before it answers`, () =>
      Effect.gen(function*() {
        const given = server(era)
        const { following } = yield* harness(given)
        const place = following.add("a", () => {})
        given.open()
        yield* quiet
        assert.strictEqual(given.asked.length, 1)
        given.lose(following)
        yield* settle(given)
        assert.deepStrictEqual(yield* place.outcome, { result: {} })
        assert.strictEqual(given.methods.length, 2)
      }))
  }

  it.effect("asks about a few at a time", () =>
    Effect.gen(function*() {
      const given = server("handshake")
      const { following } = yield* harness(given)
      for (let index = 0; index < 1_000; index++) following.add(`r${index}`, () => {})
      given.open()
      yield* quiet
      assert.strictEqual(given.asked.length, 16)
      yield* settle(given)
      for (let round = 0; round < 100 && given.tells().length < 1_000; round++) yield* settle(given)
      assert.strictEqual(given.tells().length, 1_000)
    }))

  for (const era of ["handshake", "stateless"] as const) {
    it.effect(`gives what a server of the ${era} era says`, () =>
      Effect.gen(function*() {
        const given = server(era)
        given.refused.add("b")
        const { following } = yield* harness(given)
        const one = following.add("a", () => {})
        const other = following.add("b", () => {})
        yield* settle(given)
        assert.deepStrictEqual(yield* one.outcome, { result: {} })
        assert.property(yield* other.outcome, "error")
        assert.deepStrictEqual(given.tells(), ["a"])
      }))

    it.effect(`does not ask a server of the ${era} era that tells of no resources`, () =>
      Effect.gen(function*() {
        const given = server(era, { resources: { listChanged: true } })
        const { empties, following } = yield* harness(given)
        const place = following.add("a", () => {})
        given.open()
        yield* quiet
        assert.strictEqual(empties(), 1)
        yield* settle(given)
        assert.deepStrictEqual(given.methods, [])
        const reply = yield* place.outcome
        assert.strictEqual("error" in reply ? reply.error.code : 0, -32601)
      }))

    it.effect(`fails soon where a server of the ${era} era can't be reached, and asks in vain no more`, () =>
      Effect.gen(function*() {
        const given = server(era)
        given.setUp(false)
        const { empties, following } = yield* harness(given)
        const exit = yield* Effect.exit(following.add("a", () => {}).outcome)
        assert.isTrue(Exit.isFailure(exit))
        yield* TestClock.adjust("10 minutes")
        assert.deepStrictEqual(given.methods, [])
        assert.isAbove(empties(), 0)
      }))

    it.effect(`a server of the ${era} era that doesn't answer holds up nobody for ever`, () =>
      Effect.gen(function*() {
        const given = server(era)
        const { following } = yield* harness(given)
        const place = following.add("a", () => {})
        given.open()
        const waiting = yield* Effect.forkChild(Effect.exit(place.outcome))
        yield* TestClock.adjust("29 seconds")
        assert.isUndefined(waiting.pollUnsafe())
        yield* TestClock.adjust("2 seconds")
        assert.isTrue(Exit.isFailure(yield* Fiber.join(waiting)))
      }))
  }
})

describe("what a server of the handshake era tells", () => {
  it.effect("before it says that it does, is told once it says so", () =>
    Effect.gen(function*() {
      const given = server("handshake")
      const { following } = yield* harness(given)
      const heard: Array<Fields> = []
      following.add("a", (params) => heard.push(params))
      given.open()
      yield* quiet
      const link = given.current()!
      following.updated(link, { uri: "a/part" })
      following.updated(link, { uri: "b" })
      assert.deepStrictEqual(heard, [])
      given.answer()
      yield* quiet
      assert.deepStrictEqual(heard, [{ uri: "a/part" }])
      // What it refuses, it doesn't tell of.
      given.refused.add("c")
      following.add("c", (params) => heard.push(params))
      yield* quiet
      following.updated(link, { uri: "c" })
      given.answer()
      yield* settle(given)
      assert.strictEqual(heard.length, 1)
    }))

  it.effect("is missed only while its stream was gone, not while it was late", () =>
    Effect.gen(function*() {
      const given = server("handshake")
      const { following } = yield* harness(given, false)
      let heard = 0
      following.add("a", () => void heard++)
      given.open()
      yield* quiet
      assert.deepStrictEqual(given.methods, [])
      yield* TestClock.adjust("1 second")
      yield* settle(given)
      assert.deepStrictEqual(given.tells(), ["a"])
      const link = given.current()!
      following.streamed(link, false)
      assert.strictEqual(heard, 0)
      following.streamed(link, true)
      assert.strictEqual(heard, 1)
    }))
})

describe("the stream of a server of the stateless era", () => {
  it.effect("is asked for again where it was refused", () =>
    Effect.gen(function*() {
      const given = server("stateless")
      const { following } = yield* harness(given)
      following.add("a", () => {})
      yield* settle(given)
      const first = following.add("b", () => {})
      yield* quiet
      given.asked.shift()?.onReply({ error: { code: -32603, message: "not now" } })
      assert.property(yield* first.outcome, "error")
      const second = following.add("b", () => {})
      yield* settle(given)
      assert.deepStrictEqual(yield* second.outcome, { result: {} })
      assert.deepStrictEqual(given.tells(), ["a", "b"])
    }))

  it.effect("ends where all that is still followed is refused", () =>
    Effect.gen(function*() {
      const given = server("stateless")
      const { following } = yield* harness(given)
      following.add("a", () => {})
      const other = following.add("b", () => {})
      yield* settle(given)
      given.refused.add("a")
      given.lose(following)
      yield* settle(given)
      assert.deepStrictEqual(given.tells(), ["b"])
      other.remove()
      yield* settle(given)
      assert.deepStrictEqual(given.tells(), [])
    }))
})

describe("what is followed", () => {
  for (const era of ["handshake", "stateless"] as const) {
    it.effect(`at a server of the ${era} era is no longer what it was before`, () =>
      Effect.gen(function*() {
        const given = server(era)
        const { following, missed } = yield* harness(given)
        let heard = 0
        following.add("a", () => void heard++)
        yield* settle(given)
        assert.deepStrictEqual([missed, heard], [["a"], 0])
        given.lose(following)
        yield* settle(given)
        assert.deepStrictEqual([missed, heard], [["a", "a"], 1])
      }))
  }
})

describe("ResourceUpdates", () => {
  const throttled = () => {
    const passed: Array<Fields> = []
    const ends: Array<() => void> = []
    const take = ResourceUpdates.throttle("d://dir", (params) => passed.push(params), (end) => ends.push(end))
    return { passed, take, end: () => ends.shift()?.() }
  }

  it("passes a burst as it comes, and of a flood the last", () => {
    const { end, passed, take } = throttled()
    for (let n = 0; n < 100_000; n++) take({ uri: "d://dir", n })
    assert.deepStrictEqual(passed.map(({ n }) => n), Array.from({ length: 16 }, (_, n) => n))
    end()
    assert.deepStrictEqual(passed.at(-1), { uri: "d://dir", n: 99_999 })
    assert.strictEqual(passed.length, 17)
    // As long as it goes on, one a window.
    for (let n = 0; n < 1_000; n++) take({ uri: "d://dir", n })
    end()
    assert.strictEqual(passed.length, 18)
    end()
    take({ uri: "d://dir", n: "calm" })
    assert.deepStrictEqual(passed.at(-1), { uri: "d://dir", n: "calm" })
  })

  it("tells of the whole where too many of its parts change", () => {
    const { end, passed, take } = throttled()
    for (let n = 0; n < 16 + 65; n++) take({ uri: `d://dir/${n}` })
    end()
    assert.deepStrictEqual(passed.slice(16), [{ uri: "d://dir" }])
  })

  it("loses no last word, whatever the order", () => {
    fc.assert(fc.property(fc.array(fc.constantFrom("a", "b", "end"), { maxLength: 200 }), (events) => {
      const { end, passed, take } = throttled()
      const last = new Map<string, number>()
      for (const [n, event] of events.entries()) {
        if (event === "end") end()
        else {
          take({ uri: event, n })
          last.set(event, n)
        }
      }
      for (let round = 0; round < 3; round++) end()
      for (const [uri, n] of last) assert.strictEqual(passed.findLast((params) => params["uri"] === uri)?.["n"], n)
    }))
  })

  it("knows what a resource is a part of", () => {
    assert.includeMembers([...ResourceUpdates.enclosing("file:///a/b?x#y")], [
      "file:///a/b?x#y",
      "file:///a/b?x",
      "file:///a/b",
      "file:///a/",
      "file:///a"
    ])
    assert.isBelow([...ResourceUpdates.enclosing("/".repeat(10_000))].length, 200)
  })
})
