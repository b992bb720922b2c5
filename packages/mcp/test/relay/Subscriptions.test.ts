/**
 * Resources that clients of both eras watch at servers of both eras, through everything that is real.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import * as Registries from "@portolan/core/Registries"
import type { Lease } from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import { Duration, Effect, Fiber, Layer, Option } from "effect"
import { fileURLToPath } from "node:url"
import * as ToolCatalog from "../../src/catalog/ToolCatalog.ts"
import * as McpEndpoint from "../../src/relay/McpEndpoint.ts"
import * as Upstreams from "../../src/upstream/Upstreams.ts"
import { eventually } from "../upstream/Harness.ts"
import { listen } from "../upstream/Servers.ts"
import { both, envelope, type Message, openRequest, send } from "./Harness.ts"
import {
  client1,
  client2,
  handshakeServer,
  statelessServer,
  type WatchedServer,
  type WatchingClient
} from "./WatchedServers.ts"

/** The gateway in front of servers: each is an instance of the service before the slash. */
const gateway = Effect.fnUntraced(function*(
  servers: Readonly<Record<string, WatchedServer>>,
  options: McpEndpoint.McpEndpointOptions = {},
  instances: ReadonlyArray<ServiceInstance.ServiceInstance> = [],
  maxSessions?: number
) {
  const registry = yield* MemoryRegistry.make({ instances, trust: "full" })
  const registrar = Option.getOrThrow(registry.registrar)
  const listening: Record<string, Effect.Success<ReturnType<typeof listen>>> = {}
  const leases = new Map<string, Lease>()
  const announce = Effect.fnUntraced(function*(name: string, { handler }: WatchedServer) {
    const running = yield* listen(handler)
    listening[name] = running
    const instance = ServiceInstance.make({
      id: name.replace("/", "-"),
      service: name.split("/")[0] ?? name,
      endpoint: { transport: "streamable-http", url: running.url }
    })
    leases.set(name, yield* registrar.put(instance, { ttl: Duration.hours(1), incarnation: "1" }))
  })
  for (const [name, server] of Object.entries(servers)) yield* announce(name, server)
  const context = yield* Layer.build(
    McpEndpoint.layer(options).pipe(
      Layer.provideMerge(ToolCatalog.layer()),
      Layer.provideMerge(Upstreams.layer({ maxSessions })),
      Layer.provideMerge(Registries.layerOf(Effect.succeed(registry))),
      Layer.provideMerge(Portolan.layer())
    )
  )
  const endpoint = yield* Effect.provide(McpEndpoint.McpEndpoint, context)
  const catalog = yield* Effect.provide(ToolCatalog.ToolCatalog, context)
  const { url } = yield* listen(endpoint.handle)
  yield* catalog.settled
  return {
    announce,
    catalog,
    endpoint,
    listening,
    url,
    /** As when it is taken out of service. */
    remove: (name: string) => registrar.remove(leases.get(name)!)
  }
})

const promise = <A>(evaluate: () => Promise<A>) => Effect.promise(evaluate)

const connected = (connect: (url: string) => Promise<WatchingClient>, url: string) =>
  Effect.acquireRelease(promise(() => connect(url)), (client) => promise(() => client.close()))

const until = (what: string, condition: () => boolean) => eventually(what, () => condition() ? true : undefined)

/** The message that it fails with. */
const rejected = (evaluate: () => Promise<unknown>) =>
  promise(() => evaluate().then(() => "not rejected", (error: unknown) => String(error)))

/** A client that connected late enough. */
const eventuallyClient = Effect.fnUntraced(function*(url: string, fits: (client: WatchingClient) => boolean) {
  for (let tries = 0; tries < 100; tries++) {
    const client = yield* connected(client1(false), url)
    if (fits(client)) return client
    yield* Effect.sleep(20)
  }
  return yield* Effect.die(new Error("no client fits"))
})

const clients = [
  ["sdk 1.x", client1(false)],
  ["sdk 1.x that can be asked", client1(true)],
  ["sdk 2.x legacy", client2("legacy")],
  ["sdk 2.x auto", client2("auto")]
] as const

const eras = [["handshake", handshakeServer], ["stateless", statelessServer]] as const

describe("watching a resource", () => {
  /** How long it took a client to hear of a change, ms. The goal is 100; how fast the machine is, is no fault to fail for. */
  const taken: Array<number> = []
  afterAll(() => {
    const sorted = taken.toSorted((one, other) => one - other)
    const [median, longest] = [sorted[sorted.length >> 1], sorted.at(-1)]
    console.info(`from a change to its notice: ${median?.toFixed(1)} ms, at most ${longest?.toFixed(1)} ms`)
  })

  for (const [name, connect] of clients) {
    for (const [era, serve] of eras) {
      it.live(`${name} at a server of the ${era} era`, () =>
        Effect.gen(function*() {
          const server = serve(["doc://a", "doc://b"])
          const { endpoint, url } = yield* gateway({ docs: server })
          const client = yield* connected(connect, url)
          assert.isTrue(client.canWatch())
          assert.deepStrictEqual(yield* promise(() => client.watch("doc://a")), ["doc://a"])
          assert.deepStrictEqual(server.watched(), ["doc://a"])
          yield* until("a stream", () => endpoint.figures().streams > 0)
          // Of what it watches alone, and without that anybody asks the server.
          const before = new Map(server.counts)
          server.updated("doc://b")
          const sent = performance.now()
          server.updated("doc://a")
          yield* until("the notice", () => client.updates.length > 0)
          taken.push(client.last.at - sent)
          assert.deepStrictEqual(client.updates, ["doc://a"])
          assert.deepStrictEqual(server.counts, before)
          // Two at once are two.
          server.updated("doc://a")
          server.updated("doc://a")
          yield* until("both notices", () => client.updates.length === 3)
          yield* promise(() => client.watch("doc://b"))
          yield* until("the server tells of both once", () => server.watched().toSorted().join() === "doc://a,doc://b")
          server.updated("doc://b")
          yield* until("the other's notice", () => client.updates.length === 4)
          yield* promise(() => client.unwatch("doc://a"))
          yield* until("the server is told", () => server.watched().length === 1)
          assert.deepStrictEqual(server.watched(), ["doc://b"])
          server.updated("doc://a")
          server.updated("doc://b")
          yield* until("the last notice", () => client.updates.length === 5)
          assert.deepStrictEqual(client.updates.slice(3), ["doc://b", "doc://b"])
        }), 20_000)

      it.live(`${name} hears of a changed list at a server of the ${era} era`, () =>
        Effect.gen(function*() {
          const server = serve(["doc://a"])
          const { endpoint, url } = yield* gateway({ docs: server })
          const client = yield* connected(connect, url)
          assert.deepStrictEqual(yield* promise(client.resources), ["doc://a"])
          yield* until("a stream", () => endpoint.figures().streams > 0)
          // Its list is read because it said so, and once.
          const before = server.counts.get("resources/list") ?? 0
          const sent = performance.now()
          server.grow("doc://more")
          yield* until("the notice", () => client.lists.count > 0)
          taken.push(client.last.at - sent)
          // For clients that can be asked lists are read apart, when the gateway finds time.
          if (connect !== clients[1][1]) assert.strictEqual(server.counts.get("resources/list"), before + 1)
          assert.deepStrictEqual(yield* promise(client.resources), ["doc://a", "doc://more"])
          // What came before the second notice is there with it.
          server.grow("doc://most")
          yield* until("the second notice", () => client.lists.count > 1)
          assert.strictEqual(client.lists.count, 2)
        }), 20_000)
    }
  }
})

describe("a watched resource whose server is lost", () => {
  for (const [name, connect] of clients) {
    it.live(`${name} is told once when a server forgot its session`, () =>
      Effect.gen(function*() {
        const server = handshakeServer(["doc://a"])
        const { url } = yield* gateway({ docs: server })
        const client = yield* connected(connect, url)
        yield* promise(() => client.watch("doc://a"))
        server.forget()
        yield* until("it is asked again", () => server.watched().length === 1)
        yield* until("the notice of the gap", () => client.updates.length === 1)
        server.updated("doc://a")
        yield* until("the notice", () => client.updates.length === 2)
        yield* Effect.sleep(100)
        assert.deepStrictEqual(client.updates, ["doc://a", "doc://a"])
      }), 20_000)

    for (const [era, serve] of eras) {
      it.live(`${name} is told once when a server of the ${era} era was started again`, () =>
        Effect.gen(function*() {
          const { listening, url } = yield* gateway({ docs: serve(["doc://a"]) })
          const client = yield* connected(connect, url)
          yield* promise(() => client.watch("doc://a"))
          const { port, stop } = listening["docs"]!
          yield* stop
          const again = serve(["doc://a"])
          yield* Effect.sleep(300)
          assert.deepStrictEqual(client.updates, [])
          yield* listen(again.handler, port)
          yield* until("it is asked again", () => again.watched().length === 1)
          yield* until("the notice of the gap", () => client.updates.length > 0)
          const before = client.updates.length
          again.updated("doc://a")
          yield* until("the notice", () => client.updates.length > before)
          assert.strictEqual(before, 1)
        }), 30_000)

      it.live(`${name} goes on at another replica of the ${era} era`, () =>
        Effect.gen(function*() {
          const servers = { "docs/1": serve(["doc://a"]), "docs/2": serve(["doc://a"]) }
          const { listening, remove, url } = yield* gateway(servers)
          const client = yield* connected(connect, url)
          yield* promise(() => client.watch("doc://a"))
          const first = servers["docs/1"].watched().length === 1 ? "docs/1" : "docs/2"
          const second = first === "docs/1" ? "docs/2" : "docs/1"
          assert.deepStrictEqual([servers[first].watched(), servers[second].watched()], [["doc://a"], []])
          yield* listening[first]!.stop
          yield* remove(first)
          yield* until("the other is asked", () => servers[second].watched().length === 1)
          yield* until("the notice of the gap", () => client.updates.length === 1)
          servers[second].updated("doc://a")
          yield* until("the notice", () => client.updates.length === 2)
        }), 30_000)
    }
  }

  it.live(
    "is read from the replica that tells of it now, not from what is kept of the one before",
    () =>
      Effect.gen(function*() {
        const servers = {
          "docs/1": statelessServer(["doc://a"], { text: "docs/1" }),
          "docs/2": statelessServer(["doc://a"], { text: "docs/2" })
        }
        const { listening, url } = yield* gateway(servers)
        const client = yield* connected(client2("auto"), url)
        yield* promise(() => client.watch("doc://a"))
        const first = servers["docs/1"].watched().length === 1 ? "docs/1" : "docs/2"
        const second = first === "docs/1" ? "docs/2" : "docs/1"
        // Whoever answered is kept for all.
        const kept = yield* promise(() => client.read("doc://a"))
        assert.strictEqual(yield* promise(() => client.read("doc://a")), kept)
        const reads = () =>
          Object.values(servers).reduce((sum, { counts }) => sum + (counts.get("resources/read") ?? 0), 0)
        assert.strictEqual(reads(), 1)
        yield* listening[first]!.stop
        yield* until("the notice of the gap", () => client.updates.length === 1)
        const asked = servers[second].counts.get("resources/read") ?? 0
        const read = yield* promise(() => client.read("doc://a"))
        assert.deepStrictEqual([read, servers[second].counts.get("resources/read")], [second, asked + 1])
      }),
    30_000
  )
})

describe("a watched resource of a child process", () => {
  for (const era of ["handshake", "stateless"]) {
    for (const [name, connect] of [clients[1], clients[3]]) {
      it.live(
        `of the ${era} era is told of to ${name}, also when it ended and was started again`,
        () =>
          Effect.gen(function*() {
            const child = ServiceInstance.make({
              id: "child",
              service: "child",
              endpoint: {
                transport: "stdio",
                command: process.execPath,
                args: [fileURLToPath(new URL("../upstream/fixtures/watched.mjs", import.meta.url)), era]
              }
            })
            const { endpoint, url } = yield* gateway({}, {}, [child])
            const client = yield* connected(connect, url)
            yield* promise(() => client.watch("doc://a"))
            yield* until("a stream", () => endpoint.figures().streams > 0)
            yield* promise(() => client.call("child__touch"))
            yield* until("the notice", () => client.updates.length === 1)
            yield* promise(() => client.call("child__die").catch(() => undefined))
            yield* until("the notice of the gap", () => client.updates.length === 2)
            yield* promise(() => client.call("child__touch"))
            yield* until("the last notice", () => client.updates.length === 3)
          }),
        30_000
      )
    }
  }
})

describe("what may be watched", () => {
  it.live("is offered where a server offers it alone", () =>
    Effect.gen(function*() {
      const { announce, url } = yield* gateway({ deaf: handshakeServer(["deaf://a"], { subscribe: false }) })
      const first = yield* connected(client1(false), url)
      assert.isFalse(first.canWatch())
      yield* announce("docs", statelessServer(["doc://a"]))
      const second = yield* eventuallyClient(url, (client) => client.canWatch())
      assert.match(yield* rejected(() => second.watch("deaf://a")), /-32601.*deaf doesn't tell/)
    }), 20_000)

  it.live("is refused as its server refuses it", () =>
    Effect.gen(function*() {
      const refuses = (uri: string) => uri.endsWith("b")
      const { url } = yield* gateway({ docs: handshakeServer(["doc://a", "doc://b"], { refuses }) })
      const client = yield* connected(client1(false), url)
      assert.match(yield* rejected(() => client.watch("doc://b")), /not this one/)
      assert.match(yield* rejected(() => client.watch("doc://none")), /-32002/)
      const modern = yield* connected(client2("auto"), url)
      assert.deepStrictEqual(yield* promise(() => modern.watch("doc://b", "doc://a", "doc://none")), ["doc://a"])
    }), 20_000)

  it.live("is not waited for where its server doesn't answer", () =>
    Effect.gen(function*() {
      const hangs = (uri: string) => uri.endsWith("b")
      const server = handshakeServer(["doc://a", "doc://b"], { hangs })
      const { url } = yield* gateway({ docs: server })
      const client = yield* connected(client1(false), url)
      const waiting = rejected(() => client.watch("doc://b"))
      const asked = yield* Effect.forkChild(waiting, { startImmediately: true })
      yield* until("the server is asked", () => server.counts.get("resources/subscribe") === 1)
      yield* promise(() => client.unwatch("doc://b"))
      assert.match(yield* Fiber.join(asked), /Unsubscribed meanwhile/)
      // Acknowledged in time: it is tried on.
      const modern = yield* connected(client2("auto"), url)
      const from = performance.now()
      assert.deepStrictEqual(yield* promise(() => modern.watch("doc://b", "doc://a")), ["doc://b", "doc://a"])
      assert.isBelow(performance.now() - from, 10_000)
      server.updated("doc://a")
      yield* until("the notice", () => modern.updates.length === 1)
    }), 30_000)

  it.live("has an end", () =>
    Effect.gen(function*() {
      const uris = ["doc://a", "doc://b", "doc://c"]
      const { url } = yield* gateway({ docs: handshakeServer(uris) }, { maxSubscriptions: 2 })
      const client = yield* connected(client1(false), url)
      yield* promise(() => client.watch("doc://a", "doc://b"))
      // The same again is none more.
      yield* promise(() => client.watch("doc://a"))
      assert.match(yield* rejected(() => client.watch("doc://c")), /watches 2 resources; 2 may be/)
      yield* promise(() => client.unwatch("doc://a"))
      yield* promise(() => client.watch("doc://c"))
      const modern = yield* connected(client2("auto"), url)
      assert.match(yield* rejected(() => modern.watch(...uris)), /-32602|names 3 resources/)
      assert.deepStrictEqual(yield* promise(() => modern.watch("doc://a", "doc://b")), ["doc://a", "doc://b"])
    }), 20_000)
})

describe("those who watch", () => {
  for (const [era, serve] of eras) {
    it.live(`are one to a server of the ${era} era, and go one by one`, () =>
      Effect.gen(function*() {
        const server = serve(["doc://a"])
        const { endpoint, url } = yield* gateway({ docs: server })
        const others = yield* Effect.forEach(
          [client1(false), client2("legacy"), client2("auto"), client2("auto")],
          (connect) => connected(connect, url)
        )
        for (const other of others) yield* promise(() => other.watch("doc://a"))
        assert.deepStrictEqual(server.watched(), ["doc://a"])
        yield* until("their streams", () => endpoint.figures().streams >= 4)
        server.updated("doc://a")
        for (const other of others) yield* until("everybody's notice", () => other.updates.length === 1)
        // Two by saying so, one by ending its session, one by going away.
        yield* promise(() => others[0]!.unwatch("doc://a"))
        yield* promise(() => others[1]!.close())
        yield* promise(() => others[2]!.unwatch("doc://a"))
        assert.deepStrictEqual(server.watched(), ["doc://a"])
        yield* promise(() => others[3]!.close())
        yield* until("the server is told", () => server.watched().length === 0)
      }), 20_000)
  }

  it.live("that can be asked watch over the connection on which they are asked", () =>
    Effect.gen(function*() {
      const server = handshakeServer(["doc://a"])
      const { url } = yield* gateway({ docs: server })
      const [one, other] = [yield* connected(client1(true), url), yield* connected(client1(true), url)]
      yield* promise(() => one.watch("doc://a"))
      yield* promise(() => other.watch("doc://a"))
      // That of the gateway, and one for each.
      yield* until("one for each", () => server.sessions() === 3)
      assert.deepStrictEqual(server.watched(), ["doc://a", "doc://a"])
      assert.match(JSON.stringify(yield* promise(() => one.call("docs__ask"))), /accept/)
      assert.strictEqual(server.sessions(), 3)
      server.updated("doc://a")
      for (const each of [one, other]) yield* until("the notice", () => each.updates.length === 1)
      yield* promise(() => one.close())
      yield* until("the server is told", () => server.watched().length === 1)
    }), 20_000)

  it.live(
    "that can be asked are one to a server of the stateless era, and hear of each change once",
    () =>
      Effect.gen(function*() {
        const server = statelessServer(["doc://a"])
        const { endpoint, url } = yield* gateway({ docs: server })
        const all = yield* Effect.forEach([1, 2, 3], () => connected(client1(true), url))
        for (const each of all) yield* promise(() => each.watch("doc://a"))
        yield* until("their streams", () => endpoint.figures().streams === 3)
        assert.deepStrictEqual(server.watched(), ["doc://a"])
        server.updated("doc://a")
        for (const each of all) yield* until("the notice", () => each.updates.length > 0)
        server.updated("doc://a")
        for (const each of all) yield* until("the second notice", () => each.updates.length > 1)
        assert.deepStrictEqual(all.map(({ updates }) => updates.length), [2, 2, 2])
      }),
    20_000
  )

  it.live("on a channel of their own hear there, in both eras", () =>
    Effect.gen(function*() {
      const server = statelessServer(["doc://a"])
      const { endpoint } = yield* gateway({ docs: server })
      const heard: Array<Message> = []
      const take = (message: Message) => void heard.push(message)
      const channel = endpoint.connect(
        {
          send: (json) => take(JSON.parse(json)),
          notify: (notification) => take(JSON.parse(JSON.stringify(notification))),
          end: () => {}
        },
        { stateless: true, transport: "pipe" }
      )
      const request = (id: string, method: string, params: object) =>
        channel.receive({ jsonrpc: "2.0", id, method, params })
      request("i", "initialize", {
        protocolVersion: "2025-06-18",
        capabilities: {},
        clientInfo: { name: "t", version: "1" }
      })
      yield* until("the session", () => heard.some(({ id }) => id === "i"))
      request("s", "resources/subscribe", { uri: "doc://a" })
      yield* until("the subscription", () => heard.some(({ id }) => id === "s"))
      request("l", "subscriptions/listen", { notifications: { resourceSubscriptions: ["doc://a"] }, _meta: envelope() })
      const acknowledged = "notifications/subscriptions/acknowledged"
      yield* until("the acknowledgement", () => heard.some(({ method }) => method === acknowledged))
      server.updated("doc://a")
      const updates = () => heard.filter(({ method }) => method === "notifications/resources/updated")
      yield* until("both notices", () => updates().length === 2)
      assert.deepStrictEqual(updates().map(({ params }) => params), [
        { uri: "doc://a" },
        { uri: "doc://a", _meta: { "io.modelcontextprotocol/subscriptionId": "l" } }
      ])
      channel.close()
      yield* until("the server is told", () => server.watched().length === 0)
    }), 20_000)

  it.live("leave connections to those that call", () =>
    Effect.gen(function*() {
      const server = handshakeServer(["doc://a"])
      const { url } = yield* gateway({ docs: server }, {}, [], 2)
      const all = yield* Effect.forEach([1, 2, 3, 4], () => connected(client1(true), url))
      for (const each of all) yield* promise(() => each.watch("doc://a"))
      assert.deepStrictEqual(server.watched(), ["doc://a", "doc://a"])
      for (const each of all) assert.match(JSON.stringify(yield* promise(() => each.call("docs__ask"))), /accept/)
      server.updated("doc://a")
      for (const each of all) yield* until("the notice", () => each.updates.length === 1)
    }), 20_000)

  it.live("hear later what they missed while they had no stream", () =>
    Effect.gen(function*() {
      const server = handshakeServer(["doc://a", "doc://b"])
      const { url } = yield* gateway({ docs: server })
      const begun = yield* send(
        url,
        "POST",
        both,
        JSON.stringify({
          jsonrpc: "2.0",
          id: 0,
          method: "initialize",
          params: { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "test", version: "1" } }
        })
      )
      const headers = {
        ...both,
        "mcp-session-id": begun.headers["mcp-session-id"] ?? "",
        "mcp-protocol-version": "2025-06-18"
      }
      const watch = (uri: string) =>
        send(
          url,
          "POST",
          headers,
          JSON.stringify({ jsonrpc: "2.0", id: uri, method: "resources/subscribe", params: { uri } })
        )
      assert.deepStrictEqual((yield* watch("doc://a")).messages[0]?.result, {})
      assert.deepStrictEqual((yield* watch("doc://b")).messages[0]?.result, {})
      // Another one shows when the notices are there.
      const other = yield* connected(client1(false), url)
      yield* promise(() => other.watch("doc://a"))
      for (let n = 0; n < 5; n++) server.updated("doc://a")
      yield* until("the other's notices", () => other.updates.length === 5)
      const stream = yield* openRequest(url, "GET", headers)
      yield* until("the notice", () => stream.messages().length > 0)
      yield* Effect.sleep(100)
      assert.deepStrictEqual(stream.messages().map(({ method, params }) => [method, params?.["uri"]]), [
        ["notifications/resources/updated", "doc://a"]
      ])
      stream.close()
    }), 20_000)

  it.live("are spared a flood, and it harms no other call", () =>
    Effect.gen(function*() {
      const server = statelessServer(["doc://a"])
      const { url } = yield* gateway({ docs: server })
      const client = yield* connected(client2("auto"), url)
      const quick = yield* connected(client1(false), url)
      yield* promise(() => client.watch("doc://a"))
      const flood = Effect.gen(function*() {
        for (let n = 0; n < 100; n++) {
          for (let m = 0; m < 200; m++) server.updated("doc://a")
          yield* Effect.sleep(1)
        }
      })
      const [, slowest] = yield* Effect.all([
        flood,
        Effect.gen(function*() {
          let slowest = 0
          for (let n = 0; n < 20; n++) {
            const from = performance.now()
            yield* promise(quick.resources)
            slowest = Math.max(slowest, performance.now() - from)
          }
          return slowest
        })
      ], { concurrency: "unbounded" })
      assert.isBelow(slowest, 5_000)
      yield* Effect.sleep(300)
      const before = client.updates.length
      assert.isBelow(before, 200)
      server.updated("doc://a")
      yield* until("the last word", () => client.updates.length === before + 1)
    }), 30_000)
})

describe("log messages outside any call", () => {
  for (const asks of [false, true]) {
    it.live(`reach a client that ${asks ? "can" : "can't"} be asked once, at its level`, () =>
      Effect.gen(function*() {
        const server = handshakeServer(["doc://a"])
        const { endpoint, url } = yield* gateway({ docs: server })
        const client = yield* connected(client1(asks), url)
        const other = yield* connected(client1(false), url)
        yield* until("their streams", () => endpoint.figures().streams === 2)
        yield* promise(() => client.setLevel("error"))
        yield* promise(() => client.watch("doc://a"))
        yield* until("the client's own", () => server.sessions() === (asks ? 2 : 1))
        yield* Effect.sleep(50)
        server.log("debug", "low")
        server.log("error", "high")
        yield* until("the message", () => client.logs.length > 0 && other.logs.length > 0)
        yield* Effect.sleep(100)
        assert.deepStrictEqual(client.logs, ["high"])
        assert.deepStrictEqual(other.logs, ["high"])
      }), 20_000)
  }
})
