/** The registry on the loopback interface, with a neighbour that speaks another implementation of DNS. */
import { assert, describe, it } from "@effect/vitest"
import { Identification, NotIdentified } from "@portolan/core/Identification"
import { announce } from "@portolan/core/promise"
import type { LeaseOptions } from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as DnsSdRegistry from "@portolan/dns-sd/DnsSdRegistry"
import { dnsSdRegistry } from "@portolan/dns-sd/promise"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import * as Peer from "./Peer.ts"
import { identification, watch } from "./Watched.ts"

const instance = (id: string, url: string, fields: Partial<typeof ServiceInstance.ServiceInstance.Encoded> = {}) =>
  ServiceInstance.make({
    id,
    service: "weather",
    version: "1.0.0",
    endpoint: { transport: "streamable-http", url },
    metadata: { seq: "0" },
    ...fields
  })

const lease = (incarnation: string, seconds = 30): LeaseOptions => ({ incarnation, ttl: Duration.seconds(seconds) })

const make = (options: DnsSdRegistry.DnsSdRegistryOptions, identify = identification()) =>
  Effect.provideService(DnsSdRegistry.make({ interfaces: ["lo"], ...options }), Identification, identify)

const registrarOf = (options: DnsSdRegistry.DnsSdRegistryOptions) =>
  Effect.map(make(options), ({ registrar }) => Option.getOrThrow(registrar))

describe.concurrent("a server that announces itself", () => {
  it.live("is taken once it was identified, and asked again only where it has moved", () =>
    Effect.gen(function*() {
      const peer = yield* Peer.make
      const asked: Array<string> = []
      const view = yield* watch(yield* make({ port: peer.port }, identification(undefined, asked)))
      yield* peer.add(instance("ship", "http://127.0.0.1:3000/mcp"))
      yield* view.there("ship")
      assert.deepStrictEqual(view.instances.get("ship"), instance("ship", "http://127.0.0.1:3000/mcp"))
      yield* peer.update(instance("ship", "http://127.0.0.1:3000/mcp", { metadata: { seq: "1" } }))
      yield* view.until("the update", () => view.instances.get("ship")?.metadata["seq"] === "1")
      assert.deepStrictEqual(asked, ["http://127.0.0.1:3000/mcp"])
      yield* peer.update(instance("ship", "http://127.0.0.1:3001/mcp"))
      yield* view.until("the move", () => asked.length === 2)
      assert.deepStrictEqual(asked.slice(1), ["http://127.0.0.1:3001/mcp"])
    }))

  it.live("that isn't what it says is rejected, and taken when it has become it", () =>
    Effect.gen(function*() {
      const peer = yield* Peer.make
      let isReady = false
      const refuses = (url: string) =>
        url.includes("3001")
          ? new NotIdentified({ kind: "protected", reason: "it answers 401" })
          : isReady
          ? undefined
          : new NotIdentified({ kind: "unreachable", reason: "connection refused" })
      const view = yield* watch(yield* make({ port: peer.port }, identification(refuses)))
      yield* peer.add(instance("ship", "http://127.0.0.1:3000/mcp"))
      yield* peer.add(instance("fort", "http://127.0.0.1:3001/mcp"))
      yield* view.until("both", () => view.rejected.size === 2)
      assert.strictEqual(
        view.rejected.get("ship"),
        "not identified at http://127.0.0.1:3000/mcp: connection refused"
      )
      assert.strictEqual(
        view.rejected.get("fort"),
        "not identified at http://127.0.0.1:3001/mcp: it answers 401; `identify: false` takes servers unseen"
      )
      isReady = true
      yield* view.there("ship")
      yield* peer.remove(instance("fort", "http://127.0.0.1:3001/mcp"))
      yield* view.until("the end of the rejection", () => view.rejected.size === 0)
    }))

  it.live("is taken unseen where that is asked for, from allowed addresses alone", () =>
    Effect.gen(function*() {
      const peer = yield* Peer.make
      const nobody = Identification.of({ identify: () => Effect.die("it was identified") })
      const view = yield* watch(
        yield* make({
          port: peer.port,
          identify: false,
          allowNetworks: ["10.0.0.0/8", "127.0.0.1"],
          denyNetworks: ["10.6.0.0/16"]
        }, nobody)
      )
      yield* peer.add(instance("ship", "http://10.5.5.5:3000/mcp"))
      yield* peer.add(instance("wreck", "http://10.6.5.5:3000/mcp"))
      yield* peer.add(instance("far", "http://203.0.113.7:3000/mcp"))
      yield* view.there("ship")
      yield* view.until("the rejections", () => view.rejected.size === 2)
      assert.strictEqual(
        view.rejected.get("wreck"),
        "nothing at 10.6.5.5 is taken from lo; see allowNetworks and denyNetworks"
      )
      assert.include(view.rejected.get("far") ?? "", "nothing at 203.0.113.7 is taken")
    }))

  it.live("M9 is heard among whatever else is said on the port", () =>
    Effect.gen(function*() {
      const peer = yield* Peer.make
      const view = yield* watch(yield* make({ port: peer.port }))
      yield* view.begun
      let seed = 7
      const byte = () => (seed = seed * 48271 % 2147483647) & 255
      for (let n = 0; n < 200; n++) yield* peer.say(Buffer.from(Array.from({ length: n * 5 }, byte)))
      const loop = Buffer.from([0, 0, 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 12, 0, 1])
      yield* peer.say(loop)
      yield* peer.add(instance("ship", "http://127.0.0.1:3000/mcp"))
      yield* view.there("ship")
    }))

  it.live("is read at once by `list`", () =>
    Effect.gen(function*() {
      const peer = yield* Peer.make
      yield* peer.add(instance("ship", "http://127.0.0.1:3000/mcp"))
      const registry = yield* make({ port: peer.port })
      const { instances } = yield* registry.list
      assert.deepStrictEqual(instances.map(({ id }) => id), ["ship"])
    }))
})

describe.concurrent("a server that we announce", () => {
  it.live("is found by others, drains, and says goodbye", () =>
    Effect.gen(function*() {
      const peer = yield* Peer.make
      const registrar = yield* registrarOf({ port: peer.port })
      const view = yield* watch(yield* make({ port: peer.port }))
      // A dot in a name is none between labels.
      const ship = instance("ship 1.0", "http://127.0.0.1:3000/mcp", { tenants: ["acme"] })
      const held = yield* registrar.put(ship, lease("first"))
      yield* view.there("ship 1.0")
      assert.deepStrictEqual(view.instances.get("ship 1.0"), ship)
      yield* registrar.put({ ...ship, status: "draining" }, lease("first"))
      yield* view.until("the drain", () => view.instances.get("ship 1.0")?.status === "draining")
      yield* registrar.remove(held)
      yield* view.gone("ship 1.0")
      assert.deepStrictEqual(view.removed, ["ship 1.0 deregistered"])
      assert.isAbove(
        peer.heard().filter(({ answers, type }) =>
          type === "response" && answers?.some((one) => "ttl" in one && one.ttl === 0)
        )
          .length,
        0
      )
    }))

  it.live("M5 is the second of its name where another one has that", () =>
    Effect.gen(function*() {
      const peer = yield* Peer.make
      const view = yield* watch(yield* make({ port: peer.port }))
      const [one, other] = [yield* registrarOf({ port: peer.port }), yield* registrarOf({ port: peer.port })]
      yield* one.put(instance("ship", "http://127.0.0.1:3000/mcp"), lease("one"))
      const second = yield* other.put(instance("ship", "http://127.0.0.1:3001/mcp"), lease("other"))
      assert.strictEqual(second.handle, "ship (2)")
      yield* view.there("ship (2)")
      assert.deepStrictEqual(Array.from(view.instances.values(), ({ endpoint, service }) => [service, endpoint]), [
        ["weather", { transport: "streamable-http", url: "http://127.0.0.1:3000/mcp" }],
        ["weather", { transport: "streamable-http", url: "http://127.0.0.1:3001/mcp" }]
      ])
    }).pipe(Effect.provideService(References.MinimumLogLevel, "Error")))

  it.live("is kept by renewing it, and its end is told", () =>
    Effect.gen(function*() {
      const peer = yield* Peer.make
      const view = yield* watch(yield* make({ port: peer.port }))
      const registrar = yield* registrarOf({ port: peer.port })
      const ship = instance("ship", "http://127.0.0.1:3000/mcp")
      const first = yield* registrar.put(ship, lease("first", 2))
      const begun = performance.now()
      yield* view.there("ship")
      while (performance.now() - begun < 3000) {
        yield* Effect.sleep(300)
        assert.deepStrictEqual(yield* registrar.renew([first]), [])
      }
      assert.deepStrictEqual(view.removed, [])
      const next = yield* registrar.put(ship, lease("second", 2))
      const written = performance.now()
      const told = yield* registrar.renew([first])
      assert.deepStrictEqual(told.map(({ lease, taken }) => [lease.incarnation, taken]), [["first", true]])
      // The end of the old process is none of the new one's record.
      yield* registrar.remove(first)
      yield* view.gone("ship")
      assert.isBelow(performance.now() - written, 8000)
      // With its goodbye, or as its TTL ran out meanwhile.
      assert.match(view.removed.join(), /^ship (deregistered|expired)$/)
      assert.deepStrictEqual((yield* registrar.renew([next])).map(({ taken }) => taken), [false])
    }))

  it.live("G16 goes in order when its program ends", () =>
    Effect.gen(function*() {
      const peer = yield* Peer.make
      const view = yield* watch(yield* make({ port: peer.port }))
      const announced = yield* Effect.promise(() =>
        announce(dnsSdRegistry({ port: peer.port, interfaces: ["lo"] }), {
          id: "ship",
          service: "weather",
          endpoint: { transport: "streamable-http", url: "http://localhost:3000/mcp" }
        })
      )
      yield* view.there("ship")
      assert.deepStrictEqual<unknown>(view.instances.get("ship")?.endpoint, {
        transport: "streamable-http",
        url: "http://127.0.0.1:3000/mcp"
      })
      yield* Effect.promise(() => announced.close())
      yield* view.gone("ship")
      assert.deepStrictEqual(view.removed, ["ship deregistered"])
    }))

  it.live.each([
    ["http://nowhere.invalid:3000/mcp", "endpoint: the name nowhere.invalid can't be looked up; give an address"]
  ])("at %s is refused in one line", ([url, reason]) =>
    Effect.gen(function*() {
      const peer = yield* Peer.make
      const registrar = yield* registrarOf({ port: peer.port })
      const error = yield* Effect.flip(registrar.put(instance("ship", url), lease("first")))
      assert.strictEqual(error.message, `dns-sd: put: ${reason}`)
    }))
})

describe.concurrent("a registry", () => {
  it.live.each<[DnsSdRegistry.DnsSdRegistryOptions, string]>([
    [{ service: "mcp" }, "dns-sd: open: service: expected a type such as _mcp._tcp, not \"mcp\""],
    [
      { allowNetworks: ["10.0.0.0/33"] },
      "dns-sd: open: allowNetworks: expected a network (10.0.0.0/24), a range (10.0.0.5-10.0.0.20) or an address, not \"10.0.0.0/33\""
    ],
    [
      { denyNetworks: ["home"] },
      "dns-sd: open: denyNetworks: expected a network (10.0.0.0/24), a range (10.0.0.5-10.0.0.20) or an address, not \"home\""
    ]
  ])("of %o is not opened", ([options, reason]) =>
    Effect.gen(function*() {
      assert.strictEqual((yield* Effect.flip(make(options))).message, reason)
    }))

  it.live("M6 without a link fails its session, and says which there are", () =>
    Effect.gen(function*() {
      const registry = yield* make({ interfaces: ["eth77"], name: "lan" })
      const error = yield* Effect.flip(Stream.runDrain(registry.watch))
      assert.match(error.message, /^lan: watch: none of eth77 is up; there is .*lo/)
      const put = Option.getOrThrow(registry.registrar).put(instance("ship", "http://10.0.0.7/mcp"), lease("first"))
      assert.match((yield* Effect.flip(put)).message, /^lan: put: none of eth77 is up/)
    }))

  it.live("sends nothing before it is used, and leaves nothing open", () =>
    Effect.gen(function*() {
      const peer = yield* Peer.make
      const open = peer.open ?? Effect.succeed(-1)
      const scope = yield* Scope.make()
      const registry = yield* Scope.provide(make({ port: peer.port }), scope)
      assert.strictEqual(yield* open, 0)
      const registrar = Option.getOrThrow(registry.registrar)
      yield* registrar.put(instance("ship", "http://127.0.0.1:3000/mcp"), lease("first"))
      assert.strictEqual(yield* open, 1)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* open, 0)
    }))
})
