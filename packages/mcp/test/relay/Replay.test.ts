/**
 * Streams that outlive their connections, without any transport.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { IncomingMessage, ServerResponse } from "node:http"
import { Socket } from "node:net"
import type { Purpose } from "../../src/relay/http/EventIds.ts"
import * as EventStream from "../../src/relay/http/EventStream.ts"
import * as Replay from "../../src/relay/http/Replay.ts"

const makeConnection = () => {
  const events: Array<EventStream.EventFields & { readonly line: string }> = []
  let open = true
  const connection: EventStream.EventStream = {
    send: (line) => connection.write(line, {}),
    write: (line, fields) => {
      if (open) events.push({ line, ...fields })
    },
    keepAlive: () => {},
    end: () => {
      open = false
    },
    isOpen: () => open,
    cut: () => connection.end()
  }
  return {
    connection,
    events,
    lines: () => events.filter(({ line }) => line !== "").map(({ line }) => line),
    isOpen: () => open
  }
}

const store = (overrides: Partial<Replay.ReplayOptions> = {}) => {
  let time = 0
  const replays = Replay.make({
    now: () => time,
    maxReplay: 10_000,
    maxReplayTotal: 100_000,
    keep: 1_000,
    ...overrides
  })
  return { replays, at: (value: number) => void (time = value) }
}

const request: Purpose = { _tag: "Request", id: "r" }
const ofSession: Purpose = { _tag: "Session" }
const batch: Purpose = { _tag: "Batch" }

/** Goes on with the stream of an event; gives what came over the new connection. */
const resume = (replay: Replay.Replay, id: string | undefined) => {
  const found = replay.find(id ?? "")
  if (found._tag !== "Stream") return assert.fail(found._tag)
  const next = makeConnection()
  return { ...next, kept: found.resume(next.connection), purpose: found.purpose }
}

describe("Replay", () => {
  it("gives what followed an event, and then what is still to come", () => {
    const replay = store().replays.make()
    const one = makeConnection()
    const stream = replay.begin(request, one.connection, false)
    const other = replay.begin(request, makeConnection().connection, false)
    stream.send("a")
    other.send("x")
    stream.send("b")
    stream.disconnect(one.connection)
    assert.isFalse(stream.isOpen())
    stream.send("c")
    assert.deepStrictEqual(one.lines(), ["a", "b"])
    const two = resume(replay, one.events[0]?.id)
    assert.deepStrictEqual(two.lines(), ["b", "c"])
    stream.send("d")
    stream.end()
    assert.deepStrictEqual([two.lines(), two.isOpen()], [["b", "c", "d"], false])
    // Also after its end, as often as its client likes, as long as anything follows.
    const three = resume(replay, two.events[1]?.id)
    assert.deepStrictEqual([three.lines(), three.isOpen()], [["d"], false])
    assert.deepStrictEqual(three.purpose, request)
    assert.deepStrictEqual(replay.find(three.events[0]?.id ?? ""), { _tag: "Over" })
  })

  it("tells a client how to come back before there is anything to say", () => {
    const replay = store().replays.make()
    const one = makeConnection()
    const stream = replay.begin(ofSession, one.connection, true)
    assert.deepStrictEqual(one.events.map(({ line, retry }) => [line, retry]), [["", 1_000]])
    stream.disconnect(one.connection)
    stream.send("a")
    const two = resume(replay, one.events[0]?.id)
    assert.deepStrictEqual(two.events.map(({ id, line, retry }) => [id, line, retry]), [
      [one.events[0]?.id, "", 1_000],
      [two.events[1]?.id, "a", undefined]
    ])
  })

  it("has nothing for a client that comes back for what was lost", () => {
    const replay = store().replays.make()
    const one = makeConnection()
    replay.lose("r", one.connection)
    assert.deepInclude(JSON.parse(one.lines()[0] ?? ""), { id: "r" })
    assert.isFalse(one.isOpen())
    assert.deepStrictEqual(replay.find(one.events[0]?.id ?? ""), { _tag: "Over" })
    assert.deepStrictEqual(store().replays.make().find(one.events[0]?.id ?? ""), { _tag: "Over" })
  })

  it("leaves the connection that a client forgot for the one it came back with", () => {
    const { at, replays } = store()
    const replay = replays.make()
    const one = makeConnection()
    const stream = replay.begin(ofSession, one.connection, true)
    const two = resume(replay, one.events[0]?.id)
    assert.isFalse(one.isOpen())
    // The end of the first one comes to be known late.
    stream.disconnect(one.connection)
    stream.send("a")
    assert.deepStrictEqual(two.lines(), ["a"])
    assert.isUndefined(replay.waiting())
    at(5_000)
    stream.disconnect(two.connection)
    assert.strictEqual(replay.waiting(), stream)
    // Nobody comes back after so long.
    at(6_000)
    assert.isUndefined(replay.waiting())
  })

  it("keeps the newest within its bounds, and an error in place of a reply that is too large", () => {
    const { replays } = store({ maxReplay: 2_000 })
    const replay = replays.make()
    const one = makeConnection()
    const stream = replay.begin(request, one.connection, true)
    for (let index = 0; index < 1_000; index++) stream.send(`${index}`)
    assert.isAtMost(replays.bytes(), 2_000)
    stream.send("x".repeat(5_000))
    stream.send("y".repeat(5_000), "r")
    stream.end()
    assert.isAtMost(replays.bytes(), 2_000)
    const lines = resume(replay, one.events[0]?.id).lines()
    assert.strictEqual(lines.at(-2), "999")
    assert.isTrue(lines.slice(0, -1).every((line, index) => Number(line) === 1_001 - lines.length + index))
    assert.deepInclude(JSON.parse(lines.at(-1) ?? ""), { jsonrpc: "2.0", id: "r" })
    assert.include(lines.at(-1), "5000 bytes")
  })

  it("isn't cut by what its client came back for, however much of that is unread; by what follows it is", () => {
    const replay = store({ maxReplay: 100_000 }).replays.make()
    const one = makeConnection()
    const stream = replay.begin(ofSession, one.connection, true)
    stream.disconnect(one.connection)
    const lines = Array.from({ length: 50 }, (_, index) => `${index} ${"ä".repeat(500)}`)
    for (const line of lines) stream.send(line)
    // Nobody reads.
    const response = new ServerResponse(new IncomingMessage(new Socket()))
    const found = replay.find(one.events[0]?.id ?? "")
    if (found._tag !== "Stream") return assert.fail(found._tag)
    found.resume(EventStream.open(response, { maxBuffered: 10_000 }))
    assert.isFalse(response.destroyed)
    assert.isAbove(response.writableLength, 25_000)
    for (let count = 0; count < 5; count++) stream.send("x".repeat(1_000))
    assert.isFalse(response.destroyed)
    for (let count = 0; count < 100; count++) stream.send("x".repeat(1_000))
    assert.isTrue(response.destroyed)
  })

  it("lies unread on one connection alone, however often its client comes back and reads nothing", () => {
    const replay = store({ maxReplay: 100_000 }).replays.make()
    const one = makeConnection()
    const stream = replay.begin(request, one.connection, true)
    stream.disconnect(one.connection)
    stream.send("x".repeat(50_000), "r")
    const back = () => {
      const response = new ServerResponse(new IncomingMessage(new Socket()))
      const found = replay.find(one.events[0]?.id ?? "")
      if (found._tag !== "Stream") return assert.fail(found._tag)
      found.resume(EventStream.open(response, { maxBuffered: 10_000 }))
      return response
    }
    const running = Array.from({ length: 5 }, back)
    stream.end()
    const over = Array.from({ length: 5 }, back)
    assert.deepStrictEqual(
      [...running, ...over].map(({ destroyed }) => destroyed),
      [...Array.from({ length: 9 }, () => true), false]
    )
  })

  it("keeps so much for all sessions together, and the oldest go first", () => {
    const { replays } = store({ maxReplay: 1_000, maxReplayTotal: 3_000 })
    const all = Array.from({ length: 50 }, () => {
      const replay = replays.make()
      const one = makeConnection()
      const stream = replay.begin(ofSession, one.connection, true)
      stream.send("x".repeat(800))
      stream.disconnect(one.connection)
      return { replay, id: one.events[0]?.id }
    })
    assert.isAtMost(replays.bytes(), 3_000)
    const left = all.map(({ id, replay }) => resume(replay, id).lines().length)
    assert.deepStrictEqual(left, [...Array.from({ length: 47 }, () => 0), 1, 1, 1])
  })

  it("forgets after a while, and with the session", () => {
    const { at, replays } = store()
    const replay = replays.make()
    const one = makeConnection()
    const stream = replay.begin(request, one.connection, true)
    stream.send("a")
    at(500)
    stream.send("b")
    stream.end()
    at(1_000)
    replays.sweep()
    assert.deepStrictEqual(resume(replay, one.events[0]?.id).lines(), ["b"])
    at(1_500)
    replays.sweep()
    assert.deepStrictEqual(replay.find(one.events[0]?.id ?? ""), { _tag: "Gone", purpose: request })
    assert.strictEqual(replays.bytes(), 0)

    const live = makeConnection()
    const other = replay.begin(ofSession, live.connection, true)
    other.send("x")
    replay.clear()
    // What is still under way in a session that is over is not kept.
    other.send("y")
    assert.deepStrictEqual([live.lines(), replays.bytes()], [["x", "y"], 0])
    assert.strictEqual(replay.find(live.events[0]?.id ?? "")._tag, "Gone")
  })

  it("bounds the streams of a session, and spares those that are under way", () => {
    const replay = store().replays.make()
    const busy = makeConnection()
    const running = replay.begin(request, busy.connection, true)
    for (let index = 0; index < 500; index++) {
      const one = makeConnection()
      const stream = replay.begin(index % 2 === 0 ? request : ofSession, one.connection, true)
      if (index % 2 === 0) {
        stream.send("r", "r")
        stream.end()
      } else stream.disconnect(one.connection)
    }
    running.send("still there")
    assert.deepStrictEqual(resume(replay, busy.events[0]?.id).lines(), ["still there"])
  })

  it("forgets streams that ended before one that its client may come back for", () => {
    const replay = store().replays.make()
    const lost = makeConnection()
    const stream = replay.begin(ofSession, lost.connection, true)
    stream.disconnect(lost.connection)
    stream.send("a question")
    const ended = Array.from({ length: 70 }, () => {
      const one = makeConnection()
      replay.begin(request, one.connection, true).end()
      return one.events[0]?.id ?? ""
    })
    assert.deepStrictEqual(resume(replay, lost.events[0]?.id).lines(), ["a question"])
    const left = ended.map((id) => replay.find(id)._tag)
    assert.deepStrictEqual(left, [
      ...Array.from({ length: 7 }, () => "Gone"),
      ...Array.from({ length: 63 }, () => "Over")
    ])
    // Where none ended, the oldest of those that wait goes.
    const waiting = Array.from({ length: 200 }, () => {
      const one = makeConnection()
      replay.begin(ofSession, one.connection, true).disconnect(one.connection)
      return one.events[0]?.id ?? ""
    })
    assert.lengthOf(waiting.filter((id) => replay.find(id)._tag === "Stream"), 63)
    assert.strictEqual(replay.find(waiting.at(-1) ?? "")._tag, "Stream")
  })

  it("keeps nothing where it is told so", () => {
    const { replays } = store({ maxReplay: 0 })
    const replay = replays.make()
    const one = makeConnection()
    const stream = replay.begin(request, one.connection, true)
    stream.send("a", "r")
    stream.end()
    assert.isFalse(replay.isOn())
    assert.strictEqual(replays.bytes(), 0)
  })

  it("owes a client what could not be kept, and doesn't say that it has read all", () => {
    const bounds = { now: () => 0, maxReplay: 10_000, maxReplayTotal: 10_000, keep: 1_000 }
    const replay = Replay.make(bounds).make()
    const one = makeConnection()
    const stream = replay.begin(request, one.connection, true)
    stream.send("a")
    stream.disconnect(one.connection)
    // Nothing is to be kept from now on.
    bounds.maxReplay = 0
    stream.send("the reply", "r")
    stream.end()
    assert.deepStrictEqual(replay.find(one.events[1]?.id ?? ""), { _tag: "Gone", purpose: request })
    const two = makeConnection()
    const other = replay.begin(request, two.connection, true)
    other.send("the reply", "r")
    other.end()
    assert.deepStrictEqual(replay.find(two.events[0]?.id ?? ""), { _tag: "Gone", purpose: request })
    assert.deepStrictEqual(replay.find(two.events[1]?.id ?? ""), { _tag: "Over" })
  })

  it("has nothing for a client that comes back for a reply that there is none of", () => {
    const replay = store().replays.make()
    const one = makeConnection()
    replay.begin(request, one.connection, true).end()
    assert.deepStrictEqual(replay.find(one.events[0]?.id ?? ""), { _tag: "Over" })
  })

  it("gives each event once and in order, wherever connections break and however much of them was read", () => {
    const steps = fc.array(
      fc.oneof(
        fc.record({ step: fc.constant("send" as const), to: fc.nat(2) }),
        // How much of what came over its connection the client read before that broke.
        fc.record({ step: fc.constant("break" as const), to: fc.nat(2), read: fc.nat(4) }),
        fc.record({ step: fc.constant("return" as const), to: fc.nat(2) })
      ),
      { maxLength: 60 }
    )
    fc.assert(fc.property(steps, (all) => {
      const replay = store().replays.make()
      const streams = [request, ofSession, batch].map((purpose) => {
        const connection = makeConnection()
        return {
          stream: replay.begin(purpose, connection.connection, true),
          connection,
          broken: false,
          last: connection.events[0]?.id,
          read: new Array<string>(),
          sent: new Array<string>()
        }
      })
      const take = (one: (typeof streams)[number], count: number) => {
        for (const { id, line } of one.connection.events.slice(0, count)) {
          if (line !== "") one.read.push(line)
          one.last = id
        }
      }
      const back = (one: (typeof streams)[number]) => {
        one.connection = resume(replay, one.last)
        one.broken = false
      }
      for (const each of all) {
        const one = streams[each.to]
        if (one === undefined) continue
        if (each.step === "send") {
          const line = `${each.to}-${one.sent.length}`
          one.sent.push(line)
          one.stream.send(line)
        } else if (each.step === "break" && !one.broken) {
          take(one, each.read)
          one.stream.disconnect(one.connection.connection)
          one.broken = true
        } else if (each.step === "return" && one.broken) back(one)
      }
      for (const one of streams) {
        if (one.broken) back(one)
        take(one, Infinity)
        assert.deepStrictEqual(one.read, one.sent)
      }
    }))
  })

  it("tells of any id what it is worth, and what a lost one was for", () => {
    const purposes: ReadonlyArray<Purpose> = [
      ofSession,
      { _tag: "Batch" },
      { _tag: "Request", id: 7 },
      { _tag: "Request", id: "ä.\n\"" }
    ]
    for (const purpose of purposes) {
      const one = makeConnection()
      store().replays.make().begin(purpose, one.connection, true)
      const id = one.events[0]?.id ?? ""
      assert.match(id, /^[\w.-]+$/)
      assert.deepStrictEqual(store().replays.make().find(id), { _tag: "Gone", purpose })
    }
    const long = makeConnection()
    store().replays.make().begin({ _tag: "Request", id: "x".repeat(10_000) }, long.connection, true)
    assert.isBelow(long.events[0]?.id?.length ?? 0, 100)
    const { replays } = store()
    const replay = replays.make()
    const known = makeConnection()
    replay.begin(ofSession, known.connection, true)
    // Of another session, for which it has the same number.
    const foreign = makeConnection()
    replays.make().begin(ofSession, foreign.connection, true).send("not yours")
    assert.strictEqual(replay.find(foreign.events[0]?.id ?? "")._tag, "Gone")
    fc.assert(fc.property(
      fc.oneof(fc.string(), fc.string().map((text) => `${known.events[0]?.id?.split(".")[0]}.${text}`)),
      (text) => assert.notStrictEqual(replay.find(text)._tag, "Stream")
    ))
  })
})
