import { assert, describe, it } from "@effect/vitest"
import { CallFailed, NoInstance, SessionLost } from "@portolan/core/Router"
import { Effect, Fiber, Redacted } from "effect"
import * as fc from "fast-check"
import * as Audiences from "../../src/catalog/Audiences.ts"
import type { ToolCatalog } from "../../src/catalog/ToolCatalog.ts"
import * as CallError from "../../src/client/CallError.ts"
import * as HeaderValue from "../../src/HeaderValue.ts"
import * as Failures from "../../src/relay/calls/Failures.ts"
import * as ParamHeaders from "../../src/relay/calls/ParamHeaders.ts"
import * as Translation from "../../src/relay/calls/Translation.ts"
import * as Replay from "../../src/relay/http/Replay.ts"
import * as Lists from "../../src/relay/lists/Lists.ts"
import * as LogLevel from "../../src/relay/LogLevel.ts"
import * as Messages from "../../src/relay/Messages.ts"
import * as Meta from "../../src/relay/Meta.ts"
import * as Seal from "../../src/relay/Seal.ts"
import * as Sessions from "../../src/relay/sessions/Sessions.ts"
import * as SessionSeal from "../../src/relay/sessions/SessionSeal.ts"
import { UpstreamError } from "../../src/upstream/Upstream.ts"

describe("Meta", () => {
  it("keeps what belongs to nobody's hop", () => {
    const hop = Object.fromEntries(Object.values(Meta.Key).map((key) => [key, 1]))
    assert.deepStrictEqual(
      Meta.withoutHop({
        ...hop,
        traceparent: "00-1",
        "com.example/x": { a: 1 },
        "io.modelcontextprotocol/related-task": 2
      }),
      {
        traceparent: "00-1",
        "com.example/x": { a: 1 },
        "io.modelcontextprotocol/related-task": 2
      }
    )
    assert.isUndefined(Meta.withoutHop({ progressToken: 1 }))
    assert.isUndefined(Meta.withoutHop(undefined))
  })
})

describe("LogLevel", () => {
  it("orders levels as syslog does", () => {
    assert.isTrue(LogLevel.passes("error", "warning"))
    assert.isTrue(LogLevel.passes("warning", "warning"))
    assert.isFalse(LogLevel.passes("info", "warning"))
    assert.isTrue(LogLevel.passes("nonsense", "emergency"))
    assert.strictEqual(LogLevel.lower("error", "debug"), "debug")
    assert.strictEqual(LogLevel.lower(undefined, "alert"), "alert")
  })
})

describe("ParamHeaders", () => {
  it("carries any text through a header", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (value) => {
      // Lone surrogates have no UTF-8.
      fc.pre(value.isWellFormed())
      const header = HeaderValue.encode(value)
      assert.match(header, /^[\t\x20-\x7e]+$/)
      assert.strictEqual(header.trim(), header)
      assert.strictEqual(HeaderValue.decode(header), value)
    }))
  })

  it("encodes as the specification's examples", () => {
    for (
      const [value, header] of [
        ["us-west1", "us-west1"],
        ["Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="],
        [" padded ", "=?base64?IHBhZGRlZCA=?="],
        ["line1\nline2", "=?base64?bGluZTEKbGluZTI=?="],
        ["=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="]
      ] as const
    ) assert.strictEqual(HeaderValue.encode(value), header)
    assert.isUndefined(HeaderValue.decode("=?base64?a?="))
    assert.isUndefined(HeaderValue.decode("=?base64?/w==?="))
  })

  const definition = {
    name: "sql",
    inputSchema: {
      type: "object",
      properties: {
        region: { type: "string", "x-mcp-header": "Region" },
        limit: { type: "integer", "x-mcp-header": "Limit" },
        at: { type: "object", properties: { dry: { type: "boolean", "x-mcp-header": "Dry" } } },
        bad: { type: "string", "x-mcp-header": "not a token" }
      }
    }
  }

  it("makes the headers that a tool declares", () => {
    assert.deepStrictEqual(ParamHeaders.make(definition, { region: "é", limit: 42, at: { dry: false }, bad: "x" }), {
      "mcp-param-region": "=?base64?w6k=?=",
      "mcp-param-limit": "42",
      "mcp-param-dry": "false"
    })
    assert.isUndefined(ParamHeaders.make(definition, { region: null }))
    assert.isUndefined(ParamHeaders.make({ name: "plain" }, { region: "x" }))
  })

  it("compares headers with arguments", () => {
    const check = (args: unknown, headers: Record<string, string>) =>
      ParamHeaders.mismatch(definition, args, (name) => headers[name])
    assert.isUndefined(check({ region: "x", limit: 42 }, { "mcp-param-region": "x", "mcp-param-limit": "42.0" }))
    assert.isUndefined(check({}, {}))
    assert.match(check({ region: "x" }, {}) ?? "", /missing/)
    assert.match(check({ region: "x" }, { "mcp-param-region": "y" }) ?? "", /differs/)
    assert.match(check({ region: "x" }, { "mcp-param-region": "=?base64?!?=" }) ?? "", /Base64/)
    assert.match(check({ limit: 1 }, { "mcp-param-limit": "0x1" }) ?? "", /differs/)
    assert.match(check({ region: null }, { "mcp-param-region": "x" }) ?? "", /have no/)
  })
})

describe("Lists", () => {
  const catalogOf = (names: () => ReadonlyArray<string>): ToolCatalog["Service"] => {
    let last: ReadonlyArray<string> = []
    let list: ReturnType<ToolCatalog["Service"]["list"]> = []
    return {
      list: () => {
        const now = names()
        if (now !== last) {
          last = now
          list = now.map((name) => ({
            publicName: name,
            name,
            service: "s",
            definition: { name },
            target: {},
            readOnly: false,
            repeatable: false,
            instances: () => [],
            has: () => true
          }))
        }
        return list
      },
      find: () => undefined,
      audiences: Audiences.none,
      named: () => [],
      offering: () => [],
      version: () => 0,
      revision: () => 0,
      changes: undefined as never,
      settled: undefined as never,
      freshness: undefined as never,
      capabilities: undefined as never,
      hidden: () => [],
      problems: () => [],
      reconfigure: undefined as never
    }
  }
  const client = { era: "handshake", protocolVersion: "2025-11-25" } as const
  const namesOf = (page: Record<string, unknown> | undefined) =>
    (page?.["tools"] as ReadonlyArray<{ name: string }> | undefined)?.map((tool) => tool.name) ?? ["no page"]

  it("gives each item once, whatever the page size", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string(), { maxLength: 30 }), fc.integer({ min: 1, max: 8 }), (given, size) => {
        const names = given.toSorted()
        const page = Lists.pages(catalogOf(() => names), { pageSize: size })
        const seen: Array<string> = []
        let cursor: unknown = undefined
        for (let count = 0; count <= names.length; count++) {
          const current = page(client, "tools", cursor)
          seen.push(...namesOf(current))
          cursor = current?.["nextCursor"]
          if (cursor === undefined) break
        }
        assert.deepStrictEqual(seen, names)
      })
    )
  })

  it("goes on where the page ended when the list changes in between", () => {
    let names: ReadonlyArray<string> = ["b", "d", "f", "h"]
    const page = Lists.pages(catalogOf(() => names), { pageSize: 2 })
    const cursor = page(client, "tools", undefined)?.["nextCursor"]
    names = ["a", "b", "c", "d", "e", "f", "h"]
    assert.deepStrictEqual(namesOf(page(client, "tools", cursor)), ["e", "f"])
    names = ["b", "f", "h"]
    assert.deepStrictEqual(namesOf(page(client, "tools", cursor)), ["f", "h"])
    names = []
    assert.deepStrictEqual(namesOf(page(client, "tools", cursor)), [])
    // What is gone, and what came before it, takes nothing along.
    names = ["a", "b", "c", "f", "h"]
    assert.deepStrictEqual(namesOf(page(client, "tools", cursor)), ["f", "h"])
    names = ["f", "h"]
    assert.deepStrictEqual(namesOf(page(client, "tools", cursor)), ["f", "h"])
  })

  it("refuses cursors that aren't its own", () => {
    const page = Lists.pages(catalogOf(() => ["a", "b", "c"]), { pageSize: 2 })
    const cursor = page(client, "tools", undefined)?.["nextCursor"]
    assert.isDefined(page(client, "tools", cursor))
    assert.isUndefined(page(client, "prompts", cursor))
    for (const wrong of ["", "x", 3, null, {}, Buffer.from("[\"tools\",1]").toString("base64url")]) {
      assert.isUndefined(page(client, "tools", wrong))
    }
  })
})

describe("Messages", () => {
  it("classifies", () => {
    const tag = (value: unknown) => Messages.classify(value)._tag
    assert.strictEqual(tag({ jsonrpc: "2.0", id: 1, method: "ping" }), "Request")
    assert.strictEqual(tag({ jsonrpc: "2.0", id: "a", method: "ping", params: {} }), "Request")
    assert.strictEqual(tag({ jsonrpc: "2.0", method: "x" }), "Notification")
    assert.strictEqual(tag({ jsonrpc: "2.0", id: 1, result: {} }), "Response")
    assert.strictEqual(tag({ jsonrpc: "2.0", id: 1, error: {} }), "Response")
    for (
      const value of [
        null,
        3,
        [],
        {},
        { jsonrpc: "1.0", id: 1, method: "x" },
        { jsonrpc: "2.0", id: null, method: "x" },
        { jsonrpc: "2.0", id: 1.5, method: "x" },
        { jsonrpc: "2.0", id: 1, method: 3 },
        { jsonrpc: "2.0", id: 1, method: "x", params: [] },
        { jsonrpc: "2.0", id: 1 }
      ]
    ) assert.strictEqual(tag(value), "Invalid")
  })
})

describe("Translation", () => {
  it("leaves out what the handshake era can't read", () => {
    const tool = { name: "t", outputSchema: { type: "array" }, "x-other": 1 }
    assert.deepStrictEqual(Translation.definition("earlier", "tools", tool), { name: "t", "x-other": 1 })
    assert.strictEqual(Translation.definition("stateless", "tools", tool), tool)
    assert.deepStrictEqual(
      Translation.result("handshake", "tools/call", {
        resultType: "complete",
        structuredContent: [1],
        content: [],
        other: 2
      }, undefined),
      { content: [{ type: "text", text: "[1]" }], other: 2 }
    )
  })

  it("adds what the stateless era must have", () => {
    assert.deepStrictEqual(
      Translation.result("stateless", "resources/read", { contents: [], _meta: { old: 1 } }, { fresh: 1 }),
      { contents: [], _meta: { fresh: 1 }, resultType: "complete", ttlMs: 0, cacheScope: "private" }
    )
    assert.strictEqual(Translation.error("stateless", { code: -32002, message: "x" }).code, -32602)
    assert.strictEqual(Translation.error("handshake", { code: -32002, message: "x" }).code, -32002)
    assert.strictEqual(Translation.error("stateless", { code: -32020, message: "x" }).code, -32603)
  })
})

describe("Failures", () => {
  it("blames the instance for its own errors alone", () => {
    for (
      const [code, blame] of [[-32603, "instance"], [-32602, "caller"], [-32601, "caller"], [-31000, "instance"], [
        7,
        "caller"
      ]] as const
    ) {
      assert.strictEqual(Failures.answered({ code, message: "x" }).blame, blame)
    }
  })

  const request = { name: "weather__get", repeatable: false, era: "handshake" } as const

  it("tells an overload in words, and when it is worth coming again", () => {
    const full = new NoInstance({
      requested: "weather__get",
      kind: "overloaded",
      reason: "1000 calls wait already, as many as may",
      retryAfter: 2_110.4
    })
    assert.deepStrictEqual(Failures.toClient(full, request), {
      code: -31000,
      message: "weather__get: overloaded: 1000 calls wait already, as many as may; try again in 2.2 s",
      data: { reason: "overloaded", retryAfterMs: 2_111 }
    })
    const told = CallError.ofRoute(full, request)
    assert.deepInclude(told, { _tag: "CallUnavailable", retryAfter: 2_111 })
    const unknown = new NoInstance({ requested: "weather__get", kind: "unknown", reason: "nobody announces it" })
    assert.deepStrictEqual(Failures.toClient(unknown, request), {
      code: -31000,
      message: "weather__get: nobody announces it",
      data: { reason: "unknown" }
    })
  })

  it("passes on the time that a server asks for", () => {
    const busy = Failures.unanswered(
      new UpstreamError({
        instance: "w1",
        phase: "notSent",
        reason: "HTTP 429: slow down",
        status: 429,
        retryAfter: 7_000
      })
    )
    assert.deepInclude(busy, { blame: "instance", retryAfter: 7_000 })
    const failed = new CallFailed("weather__get", busy, [], "1 attempt made")
    assert.deepStrictEqual(Failures.toClient(failed, request), {
      code: -31000,
      message: "weather__get: HTTP 429: slow down (instance w1); try again in 7 s",
      data: { reason: "unavailable", instance: "w1", phase: "notSent", failed: [], retryAfterMs: 7_000 }
    })
  })

  it("takes a time to come again for an overload only with the two statuses that mean one", () => {
    for (const status of [429, 503, 413, 500, 502, 504]) {
      const error = new UpstreamError({ instance: "w1", phase: "answered", reason: "no", status, retryAfter: 7_000 })
      const expected = status === 429 || status === 503 ? 7_000 : undefined
      assert.strictEqual(Failures.unanswered(error).retryAfter, expected)
    }
  })

  it("says that a call may have run where a server, or what stands before it, failed to answer it", () => {
    const told = (status: number | undefined, repeatable: boolean) => {
      const reason = "no"
      const error = new UpstreamError({
        instance: "w1",
        phase: "answered",
        reason,
        ...(status === undefined ? {} : { status })
      })
      const failed = new CallFailed("weather__get", Failures.unanswered(error), [], "stopped")
      return CallError.ofRoute(failed, { ...request, repeatable })
    }
    // Too long an answer, one that makes no sense, and what a proxy says after it has passed the request on.
    for (const status of [undefined, 200, 500, 502, 503, 504]) {
      const error = told(status, false)
      assert.strictEqual(error._tag, "CallInterrupted")
      assert.match(error.message, /^weather__get: no \(instance w1\)\. It may have run, and was not repeated/)
      assert.strictEqual(told(status, true)._tag, "CallUnavailable")
    }
    for (const status of [401, 403, 413]) assert.strictEqual(told(status, false)._tag, "CallUnavailable")
  })

  it("tells a program that its session is lost", () => {
    const lost = new SessionLost({ requested: "weather__get", instance: "w1", reason: "w1 is gone" })
    assert.strictEqual(CallError.ofRoute(lost, request), lost)
    assert.strictEqual(Failures.toClient(lost, request).code, -31000)
  })

  it("tells in one line what a server says in many", () => {
    const { reason } = Failures.answered({ code: 7, message: `a\n\u001b b${"c".repeat(10_000)}` })
    assert.match(reason, /^answered error 7: a bc{50}/)
    assert.isBelow(reason.length, 400)
  })
})

describe("SessionSeal", () => {
  const session = {
    protocolVersion: "2025-11-25",
    info: { name: "c", version: "1" },
    capabilities: { roots: {} },
    principal: "ann",
    expires: 5,
    affinity: "abc"
  }
  const key = Redacted.make("a shared secret")

  it("opens what any process with the key sealed, and nothing else", () => {
    const id = SessionSeal.make(Seal.make(key)).seal(session)
    assert.match(id, /^[\x21-\x7e]+$/)
    assert.deepStrictEqual(SessionSeal.make(Seal.make(key)).open(id), session)
    assert.isUndefined(SessionSeal.make(Seal.make(Redacted.make("another"))).open(id))
    assert.isUndefined(SessionSeal.make(Seal.make(undefined)).open(id))
    assert.notInclude(Buffer.from(id, "base64url").toString("latin1"), "ann")
    const seal = SessionSeal.make(Seal.make(key))
    for (let index = 0; index < id.length; index++) {
      const other = id[index] === "A" ? "B" : "A"
      // The last digit has bits that no byte holds.
      if (index < id.length - 1) assert.isUndefined(seal.open(id.slice(0, index) + other + id.slice(index + 1)))
    }
    // Of all texts that stand for the same bytes, one is an id.
    const digits = Array.from({ length: 64 }, (_, bits) => Buffer.from([bits << 2]).toString("base64url")[0])
    for (const affinity of ["a", "ab", "abc"]) {
      const one = seal.seal({ ...session, affinity })
      const opened = digits.filter((digit) => seal.open(`${one.slice(0, -1)}${digit}`) !== undefined)
      assert.deepStrictEqual(opened, [one.at(-1)])
    }
    for (const wrong of ["", "x", id.slice(1), `${id}AAAA`, "a".repeat(10_000), "é"]) {
      assert.isUndefined(seal.open(wrong))
    }
  })

  it("with another key seals anew, and opens what was sealed before, of the last few keys", () => {
    const seals = Seal.make(key)
    const seal = SessionSeal.make(seals)
    const first = seal.seal(session)
    seals.rotate(Redacted.make("another"))
    const second = seal.seal(session)
    assert.deepStrictEqual(SessionSeal.make(Seal.make(Redacted.make("another"))).open(second), session)
    assert.isUndefined(SessionSeal.make(Seal.make(key)).open(second))
    assert.deepStrictEqual([seal.open(first), seal.open(second)], [session, session])
    for (let number = 0; number < 6; number++) seals.rotate(Redacted.make(`${number}`))
    assert.deepStrictEqual(seal.open(first), session)
    seals.rotate(undefined)
    assert.isUndefined(seal.open(first))
  })

  it("keeps an id small, whatever a client says of itself", () => {
    const { capabilities, info } = SessionSeal.fitting(
      { name: "n".repeat(9_999), version: 3, websiteUrl: "x" },
      {
        roots: { listChanged: true, xxx: "y".repeat(9_999) },
        sampling: 3,
        elicitation: { url: { more: "y".repeat(9_999) } },
        experimental: { x: "y".repeat(9_999) }
      }
    )
    const id = SessionSeal.make(Seal.make(key)).seal({ ...session, info, capabilities })
    assert.isBelow(id.length, 4_096)
    // A client that takes no forms isn't made to take them.
    assert.deepStrictEqual(capabilities, { roots: { listChanged: true }, elicitation: { url: {} } })
  })

  it("can open the id of any client", () => {
    const seal = SessionSeal.make(Seal.make(key))
    for (const each of ["x", "ä", "語", "\u0001", "\ud800", "\""]) {
      for (const length of [10, 680, 1_000, 2_000, 9_999]) {
        const said = each.repeat(length)
        const fitting = SessionSeal.fitting({ name: said, version: said }, { experimental: { said } })
        assert.isDefined(seal.open(seal.seal({ ...session, ...fitting })), `${length} of ${JSON.stringify(each)}`)
      }
    }
  })
})

describe("Sessions", () => {
  const client = {
    era: "handshake",
    protocolVersion: "2025-11-25",
    info: { name: "c", version: "1" },
    capabilities: {},
    principal: undefined
  } as const
  const opened = (given: ReturnType<Sessions.Sessions["open"]>): Sessions.Session =>
    "error" in given ? assert.fail(given.error.message) : given
  const refused = (given: ReturnType<Sessions.Sessions["open"]>) => "error" in given ? given.status : undefined
  const store = (overrides: Partial<Sessions.SessionsOptions> = {}) => {
    let time = 0
    const dropped: Array<string> = []
    const replays = Replay.make({ now: () => time, maxReplay: 1_000, maxReplayTotal: 1_000, keep: 1_000 })
    const sessions = Sessions.make({
      seal: SessionSeal.make(Seal.make(Redacted.make("k"))),
      now: () => time,
      maxSessions: 2,
      maxSessionsPerClient: 100,
      questions: { inputTimeout: 1_000, reachTimeout: 100, maxQuestions: 2 },
      replays,
      callerSession: () => ({ onRequest: () => {}, onNotification: () => {} }),
      idleTimeout: 100,
      lifetime: 1_000,
      onDrop: (session) => dropped.push(session.id),
      ...overrides
    })
    return {
      size: sessions.size,
      sweep: sessions.sweep,
      end: sessions.end,
      open: (given: Sessions.NewClient = client, address?: string) => opened(sessions.open(given, address)),
      refusal: (address?: string) => refused(sessions.open(client, address)),
      find: (id: string, principal?: string) => {
        const found = sessions.find(id, principal, undefined)
        return "error" in found ? undefined : found
      },
      dropped,
      replays,
      at: (value: number) => void (time = value)
    }
  }

  it("drops what is idle and takes it up again when its id is used", () => {
    const { at, dropped, find, open, size, sweep } = store()
    const session = open()
    at(99)
    sweep()
    assert.strictEqual(size(), 1)
    at(100)
    sweep()
    assert.deepStrictEqual(dropped, [session.id])
    assert.strictEqual(find(session.id)?.client.affinity, session.client.affinity)
    at(1_000)
    assert.isUndefined(find(session.id))
  })

  it("counts the idle time from the end of what it was busy with", () => {
    const { at, dropped, open, sweep } = store()
    const session = open()
    const other = open()
    const done = session.requests.add({ id: 1, cancel: () => {} })
    at(90)
    sweep()
    done()
    at(110)
    sweep()
    assert.deepStrictEqual(dropped, [other.id])
    // It was idle for a shorter time than one that began later.
    const later = open()
    session.outlets.push({ notify: () => {}, request: () => {}, end: () => {} })
    at(120)
    sweep()
    session.outlets.pop()
    open()
    assert.deepStrictEqual(dropped, [other.id, later.id])
    at(220)
    sweep()
    assert.include(dropped, session.id)
  })

  it("makes room by dropping the one idle longest, never a busy one", () => {
    const { at, dropped, find, open, refusal } = store()
    const first = open()
    const second = open()
    at(1)
    find(first.id)
    const third = open()
    assert.deepStrictEqual(dropped, [second.id])
    first.requests.add({ id: 1, cancel: () => {} })
    third.outlets.push({ notify: () => {}, request: () => {}, end: () => {} })
    assert.strictEqual(refusal(), 503)
  })

  it.live("keeps one of which the client is asked something", () =>
    Effect.gen(function*() {
      const { at, dropped, open, sweep } = store()
      const session = open({ ...client, capabilities: { roots: {} } })
      const way = { notify: () => {}, request: () => {} }
      const asking = yield* Effect.forkChild(session.questions.ask("roots/list", undefined, way), {
        startImmediately: true
      })
      at(200)
      sweep()
      assert.deepStrictEqual(dropped, [])
      yield* Fiber.interrupt(asking)
      at(300)
      sweep()
      assert.deepStrictEqual(dropped, [session.id])
    }))

  it("gives one client its share, and makes room for it among its own", () => {
    const { dropped, find, open, refusal, size } = store({ maxSessions: 10, maxSessionsPerClient: 2 })
    const other = open(client, "other")
    const first = open(client, "one")
    const second = open(client, "one")
    const third = open(client, "one")
    assert.deepStrictEqual([dropped, size()], [[first.id], 3])
    for (const { requests } of [second, third]) requests.add({ id: 1, cancel: () => {} })
    assert.strictEqual(refusal("one"), 429)
    // Of a principal it doesn't matter where it comes from; somebody without either has no share.
    for (const address of ["one", "two", "three"]) open({ ...client, principal: "ann" }, address)
    assert.deepStrictEqual([dropped.length, size()], [2, 5])
    for (let index = 0; index < 4; index++) open()
    assert.deepStrictEqual([dropped.length, size()], [2, 9])
    // The one that made room is taken up again when it is used.
    assert.isDefined(find(first.id))
    assert.isDefined(find(other.id))
  })

  it("ends what it has open with it", () => {
    const { at, open, replays, sweep } = store()
    const session = open()
    let ended = 0
    session.outlets.push({ notify: () => {}, request: () => {}, end: () => void ended++ })
    const connection = {
      isOpen: () => true,
      send: () => {},
      write: () => {},
      keepAlive: () => {},
      end: () => {},
      cut: () => {}
    }
    session.replay.begin({ _tag: "Session" }, connection, true).send("kept")
    assert.isAbove(replays.bytes(), 0)
    at(999)
    sweep()
    assert.strictEqual(ended, 0)
    at(1_000)
    sweep()
    assert.deepStrictEqual([ended, replays.bytes()], [1, 0])
  })

  it("belongs to whoever opened it, here and on another replica", () => {
    const one = store()
    const session = one.open({ ...client, principal: "ann" })
    assert.isUndefined(one.find(session.id, "bob"))
    assert.isUndefined(one.find(session.id))
    const two = store()
    assert.isUndefined(two.find(session.id, "bob"))
    assert.strictEqual(two.find(session.id, "ann")?.client.principal, "ann")
  })

  it("is worth nothing once its client ended it, and cancels what it had in flight", () => {
    const { end, find, open } = store()
    const session = open()
    let cancelled = 0
    session.requests.add({ id: 1, cancel: () => cancelled++ })
    end(session)
    assert.strictEqual(cancelled, 1)
    assert.isUndefined(find(session.id))
  })
})
