/** A session of reading on a virtual clock, over links that a test plugs and pulls. */
import { assert, describe, it } from "@effect/vitest"
import { type Address, type Identity, NotIdentified } from "@portolan/core/Identification"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { TestClock } from "effect/testing"
import { Buffer } from "node:buffer"
import * as Browsing from "../src/internal/browsing.ts"
import { type Message, type Resource, response } from "../src/internal/message.ts"
import { type Multicast, MulticastError } from "../src/internal/multicast.ts"
import type { Link, Sender } from "../src/internal/party.ts"
import { encode } from "../src/internal/wire.ts"
import { link, port, type } from "./VirtualNetwork.ts"

const records = (address: string, ttl = 120, portOf = 8080): ReadonlyArray<Resource> => [
  { name: "_mcp._tcp.local", ttl, isUnique: false, data: { type: "PTR", target: "ship._mcp._tcp.local" } },
  {
    name: "ship._mcp._tcp.local",
    ttl,
    isUnique: true,
    data: { type: "SRV", priority: 0, weight: 0, port: portOf, target: "host.local" }
  },
  { name: "ship._mcp._tcp.local", ttl, isUnique: true, data: { type: "TXT", strings: [Buffer.from("version=1.0.0")] } },
  { name: "host.local", ttl, isUnique: true, data: { type: "A", address } }
]

/** Links that are there as long as the test says so. */
const cables = () => {
  const sockets = new Map<Link, (bytes: Uint8Array, from: Sender) => void>()
  const state: { links: ReadonlyArray<Link>; refused: string | undefined; mute: boolean } = {
    links: [link(1, 1)],
    refused: undefined,
    mute: false
  }
  let sent = 0
  let opened = 0
  const multicast: Multicast = {
    links: Effect.sync(() => state.links),
    open: (link, heard) =>
      Effect.gen(function*() {
        if (link.name === state.refused) return yield* new MulticastError({ reason: `${link.name}: no multicast` })
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            opened++
            sockets.set(link, heard)
          }),
          () => Effect.sync(() => sockets.delete(link))
        )
        return {
          send: () =>
            Effect.suspend(() => {
              sent++
              return state.mute ? Effect.fail(new MulticastError({ reason: `${link.name}: unreachable` })) : Effect.void
            })
        }
      })
  }
  return {
    state,
    multicast,
    sockets,
    sent: () => sent,
    opened: () => opened,
    say: (message: Message, on = "eth1") => {
      for (const [link, heard] of sockets) {
        if (link.name === on) heard(encode(message), { address: link.address.replace(/\d+$/, "9"), port })
      }
    }
  }
}

const identity: Identity = { name: "weather", version: "1.0.0", protocolVersion: "2026-07-28" }

const begin = (
  { multicast }: ReturnType<typeof cables>,
  identify?: (address: Address) => Effect.Effect<Identity, NotIdentified>
) => Browsing.begin({ multicast, type, port, isAllowed: () => true, identify })

/** The answer of an effect that takes this long. */
const after = <A, E>(time: string & Parameters<typeof TestClock.adjust>[0], effect: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
    yield* TestClock.adjust(time)
    return yield* Fiber.join(fiber)
  })

const urls = (changes: ReadonlyArray<{ readonly _tag: string }>) =>
  changes.map((change) => JSON.stringify(change))
    .map((text) => /"url":"([^"]*)"/.exec(text)?.[1] ?? text)

describe("a session", () => {
  it.effect("begins with what was heard in its first second", () =>
    Effect.gen(function*() {
      const net = cables()
      const { first } = yield* begin(net)
      const fiber = yield* Effect.forkChild(first, { startImmediately: true })
      yield* TestClock.adjust("900 millis")
      assert.isAbove(net.sent(), 0)
      net.say(response(records("10.0.1.9")))
      yield* TestClock.adjust("99 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual((yield* Fiber.join(fiber)).instances.map(({ id }) => id), ["ship"])
    }))

  it.effect("says who is gone while others take their time to be identified", () =>
    Effect.gen(function*() {
      const net = cables()
      const { first, next } = yield* begin(
        net,
        ({ url }) => url.includes("10.0.1.9") ? Effect.succeed(identity) : Effect.never
      )
      const fiber = yield* Effect.forkChild(first, { startImmediately: true })
      yield* TestClock.adjust("100 millis")
      net.say(response(records("10.0.1.9")))
      yield* TestClock.adjust("900 millis")
      assert.strictEqual((yield* Fiber.join(fiber)).instances.length, 1)
      for (let n = 0; n < 40; n++) {
        const renamed = (name: string) => name.replace(/^(ship|host)/, `$1-${n}`)
        net.say(response(
          records("10.0.1.8").map(({ data, name, ...rest }) => ({
            ...rest,
            name: renamed(name),
            data: "target" in data ? { ...data, target: renamed(data.target) } : data
          }))
        ))
        yield* TestClock.adjust("10 millis")
      }
      net.say(response(records("10.0.1.9").slice(0, 3).map((one) => ({ ...one, ttl: 0 }))))
      const { changes } = yield* after("1100 millis", next)
      assert.deepStrictEqual(changes, [{ _tag: "Removed", id: "ship", how: "deregistered" }])
    }))

  it.effect("believes a loopback address on the loopback interface alone", () =>
    Effect.gen(function*() {
      const net = cables()
      const lo: Link = { name: "lo", address: "127.0.0.1", network: "127.0.0.1/8", isLoopback: true }
      net.state.links = [link(1, 1), lo]
      const { first, next } = yield* begin(net)
      yield* after("1 second", first)
      net.say(response(records("127.0.0.1")))
      const [refused] = (yield* after("1 second", next)).changes
      assert.deepStrictEqual(refused, {
        _tag: "Reject",
        rejected: {
          id: "ship",
          reason: "nothing at 127.0.0.1 is taken from eth1; see allowNetworks and denyNetworks"
        }
      })
      net.say(response(records("127.0.0.1").map((one) => ({ ...one, ttl: 0 }))))
      yield* after("2 seconds", next)
      net.say(response(records("127.0.0.1")), "lo")
      assert.deepStrictEqual(urls((yield* after("1 second", next)).changes), ["http://127.0.0.1:8080/mcp"])
    }))

  it.effect("says nothing of where a server was before it moved, however late that is known", () =>
    Effect.gen(function*() {
      const net = cables()
      const slow = yield* Deferred.make<Identity>()
      const { first, next } = yield* begin(
        net,
        ({ url }) => url.includes("8080") ? Deferred.await(slow) : Effect.succeed(identity)
      )
      yield* after("1 second", first)
      net.say(response(records("10.0.1.9")))
      yield* TestClock.adjust("2 seconds")
      net.say(response(records("10.0.1.9", 120, 8081)))
      assert.deepStrictEqual(urls((yield* after("1 second", next)).changes), ["http://10.0.1.9:8081/mcp"])
      yield* Deferred.succeed(slow, identity)
      const late = yield* Effect.forkChild(next, { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      assert.isUndefined(late.pollUnsafe())
    }))

  it.effect("tries the addresses of a server until one answers", () =>
    Effect.gen(function*() {
      const net = cables()
      const { first, next } = yield* begin(net, ({ url }) =>
        url.includes("10.0.1.9")
          ? Effect.succeed(identity)
          : Effect.fail(new NotIdentified({ kind: "silent", reason: "no answer" })))
      yield* after("1 second", first)
      net.say(response([...records("10.0.1.9"), ...records("10.0.1.10").slice(3)]))
      assert.deepStrictEqual(urls((yield* after("1 second", next)).changes), ["http://10.0.1.9:8080/mcp"])
    }))

  it.effect("M2 is told an hour later what is not there any more", () =>
    Effect.gen(function*() {
      const net = cables()
      const { first, next } = yield* begin(net)
      net.say(response(records("10.0.1.9", 3600)))
      yield* TestClock.adjust("10 millis")
      net.say(response(records("10.0.1.9", 3600)))
      yield* after("1 second", first)
      const fiber = yield* Effect.forkChild(next, { startImmediately: true })
      yield* TestClock.adjust("59 minutes")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual((yield* Fiber.join(fiber)).changes, [{ _tag: "Removed", id: "ship", how: "expired" }])
    }))

  it.effect("M6 follows links that come and go, and fails with the last one", () =>
    Effect.gen(function*() {
      const net = cables()
      const { first, next } = yield* begin(net)
      yield* after("1 second", first)
      net.state.links = [link(1, 1), link(1, 2)]
      yield* TestClock.adjust("1 second")
      net.say(response(records("10.0.2.9")), "eth2")
      assert.deepStrictEqual(urls((yield* after("10 millis", next)).changes), ["http://10.0.2.9:8080/mcp"])
      net.state.links = [link(1, 1)]
      assert.deepStrictEqual((yield* after("1 second", next)).changes, [{
        _tag: "Removed",
        id: "ship",
        how: "unknown"
      }])
      assert.strictEqual(net.sockets.size, 1)
      net.state.links = []
      const exit = yield* after("1 second", Effect.exit(next))
      assert.deepStrictEqual(exit, Exit.fail(new MulticastError({ reason: "no interface with an IPv4 address is up" })))
      assert.strictEqual(net.sockets.size, 0)
    }))

  it.effect("M6 does without a link that can't be joined, while there is another", () =>
    Effect.gen(function*() {
      const net = cables()
      net.state.links = [link(1, 1), link(1, 2)]
      net.state.refused = "eth2"
      const { first, next } = yield* begin(net)
      yield* after("1 second", first)
      net.state.refused = undefined
      yield* TestClock.adjust("1 second")
      net.say(response(records("10.0.2.9")), "eth2")
      assert.deepStrictEqual(urls((yield* after("10 millis", next)).changes), ["http://10.0.2.9:8080/mcp"])
    }))

  it.effect("M6 joins a link anew that can't be sent to", () =>
    Effect.gen(function*() {
      const net = cables()
      const { first, next } = yield* begin(net)
      net.state.mute = true
      const exit = yield* after("3 seconds", Effect.exit(first))
      assert.isTrue(Exit.isSuccess(exit))
      assert.isAbove(net.opened(), 1)
      net.state.mute = false
      yield* TestClock.adjust("2 seconds")
      net.say(response(records("10.0.1.9")))
      assert.deepStrictEqual(urls((yield* after("10 millis", next)).changes), ["http://10.0.1.9:8080/mcp"])
    }))
})
