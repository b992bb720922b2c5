/**
 * When what a server told of itself may be lost.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { TestClock } from "effect/testing"
import * as Link from "../../src/upstream/Link.ts"
import * as ServerStream from "../../src/upstream/ServerStream.ts"
import type { Connection, StreamEnd } from "../../src/upstream/transports/Connection.ts"

/** The stream of a server of the handshake era by hand, and what is told of it. */
const followed = Effect.gen(function*() {
  const streams: Array<{ readonly end: (end: StreamEnd) => void; readonly open: () => void }> = []
  const connection: Connection = {
    send: () => () => {},
    post: () => {},
    negotiated: () => {},
    listen: (end, open) => {
      streams.push({ end, open })
      return () => {}
    },
    cancelsByClosing: false,
    close: () => Promise.resolve()
  }
  const link = Link.make({
    transport: { kind: "http", open: () => connection },
    nextId: () => 1,
    onNotification: () => {},
    onLost: () => {}
  })
  link.open("handshake")
  const told: Array<readonly [open: boolean, gap: boolean]> = []
  const profile = { era: "handshake", protocolVersion: "2025-11-25", serverInfo: {}, capabilities: {} } as const
  yield* Effect.forkScoped(
    ServerStream.follow(link, profile, (open, gap) => void told.push([open, gap])),
    { startImmediately: true }
  )
  return { streams, told }
})

describe("the stream of what a server says of itself", () => {
  it.effect("that opens late misses nothing; one that opens again does", () =>
    Effect.gen(function*() {
      const { streams, told } = yield* followed
      yield* TestClock.adjust("1 minute")
      streams[0]?.open()
      assert.deepStrictEqual(told, [[true, false]])
      // However often it says so.
      streams[0]?.open()
      assert.strictEqual(told.length, 1)
      streams[0]?.end({ _tag: "closed", retry: undefined })
      yield* TestClock.adjust("1 second")
      streams[1]?.open()
      assert.deepStrictEqual(told.slice(1), [[true, true]])
    }))

  it.effect("that is refused at first may have missed something", () =>
    Effect.gen(function*() {
      const { streams, told } = yield* followed
      streams[0]?.end({ _tag: "closed", retry: 2_000 })
      yield* TestClock.adjust("2 seconds")
      streams[1]?.open()
      assert.deepStrictEqual(told, [[true, true]])
    }))

  it.effect("that isn't offered misses nothing", () =>
    Effect.gen(function*() {
      const { streams, told } = yield* followed
      streams[0]?.end({ _tag: "absent" })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual([streams.length, told], [1, [[false, false]]])
    }))
})
