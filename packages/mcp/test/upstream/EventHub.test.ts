import { assert, describe, it } from "@effect/vitest"
import * as Catalog from "@portolan/core/Catalog"
import { Effect, Stream } from "effect"
import * as EventHub from "../../src/upstream/EventHub.ts"
import type { Upstream } from "../../src/upstream/Upstream.ts"
import type { UpstreamEvent } from "../../src/upstream/Upstreams.ts"

describe("EventHub", () => {
  const upstream: Pick<Upstream, "key" | "state"> = {
    key: Catalog.key("test", "a"),
    state: () => ({
      _tag: "connected",
      since: 0,
      lastError: undefined,
      profile: { era: "handshake", protocolVersion: "x", serverInfo: {}, capabilities: {} }
    })
  }
  const notified = (method: string, params?: Readonly<Record<string, unknown>>): UpstreamEvent => ({
    _tag: "Notified",
    upstream: upstream as Upstream,
    notification: { jsonrpc: "2.0", method, params }
  })

  /** What a subscriber that reads only now gets of what was published. */
  const read = (published: ReadonlyArray<UpstreamEvent>) =>
    Effect.gen(function*() {
      const hub = EventHub.make(() => published)
      const first = yield* hub.events.pipe(Stream.take(1), Stream.runCollect)
      assert.strictEqual(first.length, 1)
      const all = yield* hub.events.pipe(
        Stream.takeUntil((event) => event._tag === "Notified" && event.notification.method === "notifications/message"),
        Stream.runCollect
      )
      return all.map((event) =>
        event._tag === "Notified" ? [event.notification.method, event.notification.params?.["uri"]] : [event._tag]
      )
    })
  const last = notified("notifications/message", { level: "info", data: "end" })
  const updated = (n: number) => notified("notifications/resources/updated", { uri: `r${n}` })

  it.effect("gives each resource that changed once", () =>
    Effect.gen(function*() {
      const events = yield* read([updated(1), updated(2), updated(1), last])
      assert.deepStrictEqual(events, [
        ["notifications/resources/updated", "r1"],
        ["notifications/resources/updated", "r2"],
        ["notifications/message", undefined]
      ])
    }))

  it.effect("tells that the list changed where too many resources did, and reads nothing else anew", () =>
    Effect.gen(function*() {
      const events = yield* read([...Array.from({ length: 100_000 }, (_, n) => updated(n)), last])
      assert.deepStrictEqual(events[0], ["notifications/resources/list_changed", undefined])
      assert.isAtMost(events.length, 66)
      assert.isFalse(events.some(([tag]) => tag === "Connected"))
    }))

  it.effect("says that the server is connected where it tells of too many things", () =>
    Effect.gen(function*() {
      const events = yield* read([...Array.from({ length: 65 }, (_, n) => notified(`notifications/x${n}`)), last])
      assert.deepStrictEqual(events.map(([tag]) => tag), ["Connected", "notifications/message"])
    }))
})
