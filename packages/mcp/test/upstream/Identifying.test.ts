import { assert, describe, it } from "@effect/vitest"
import type { Address, Bounds, Identified, NotIdentified } from "@portolan/core/Identification"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as fc from "fast-check"
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http"
import { createServer } from "node:https"
import * as Net from "node:net"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { generate } from "selfsigned"
import { identify } from "../../src/upstream/Identifying.ts"
import { clientInfo } from "../../src/upstream/Link.ts"
import * as OldServers from "./OldServers.ts"
import * as Servers from "./Servers.ts"

const bounds: Bounds = { timeout: Duration.seconds(20), maxBytes: 65_536 }
/** For what ends by the time-out alone. */
const hasty: Bounds = { ...bounds, timeout: Duration.millis(300) }

const http = (url: string): Address => ({ transport: "streamable-http", url })
const sse = (url: string): Address => ({ transport: "sse", url })

const portOf = (server: Net.Server): number => {
  const address = server.address()
  return typeof address === "object" && address !== null ? address.port : 0
}

/** A TCP server that does this with a connection, and how many are open. */
const raw = (onSocket: (socket: Net.Socket) => void) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly url: string; readonly open: () => number; readonly stop: () => void }>((resume) => {
      const sockets = new Set<Net.Socket>()
      const server = Net.createServer((socket) => {
        sockets.add(socket)
        socket.on("error", () => {}).resume()
        socket.once("close", () => sockets.delete(socket))
        onSocket(socket)
      })
      server.listen(0, "127.0.0.1", () =>
        resume(Effect.succeed({
          url: `http://127.0.0.1:${portOf(server)}/mcp`,
          open: () => sockets.size,
          stop: () => {
            server.close()
            for (const socket of sockets) socket.destroy()
          }
        })))
    }),
    ({ stop }) => Effect.sync(stop)
  )

const until = (check: () => boolean) =>
  Effect.sync(check).pipe(
    Effect.repeat({ until: (held) => held, schedule: Schedule.spaced("5 millis") }),
    Effect.timeout("10 seconds")
  )

interface Message {
  readonly id?: number
  readonly method?: string
}

/** A server that answers each message so. */
const scripted = (answer: (message: Message, response: ServerResponse, request: IncomingMessage) => void) => {
  const asked: Array<string> = []
  const listener: RequestListener = (request, response) =>
    void Servers.body(request).then((text) => {
      const message: Message = text === "" ? {} : JSON.parse(text)
      asked.push(message.method ?? request.method ?? "")
      answer(message, response, request)
    })
  return { asked, listener }
}

/** Answers with this result, in a session of any name. */
const initialized = (message: Message, response: ServerResponse, result: unknown) => {
  if (message.method === "server/discover") {
    return Servers.json(response, 200, { jsonrpc: "2.0", id: message.id, error: { code: -32601, message: "what?" } })
  }
  if (message.method === "notifications/initialized") return void response.writeHead(202).end()
  Servers.json(response, 200, { jsonrpc: "2.0", id: message.id, result }, { "mcp-session-id": "any" })
}

const result = { protocolVersion: "2025-06-18", capabilities: {}, serverInfo: { name: "scripted", version: "1" } }

/** Why what answers so isn't identified, and what it was asked. */
const refusal = (answer: Parameters<typeof scripted>[0], within: Bounds = bounds) =>
  Effect.gen(function*() {
    const { asked, listener } = scripted(answer)
    const { url } = yield* Servers.listen(listener)
    const { kind, reason } = yield* Effect.flip(identify(http(url), within))
    return { kind, reason, asked }
  })

describe("identification", () => {
  it.live("takes the word of servers of both eras, over both transports", () =>
    Effect.gen(function*() {
      const sessionful = yield* Servers.listen(Servers.sessionful().handler)
      assert.deepStrictEqual((yield* identify(http(sessionful.url), bounds)).identity, {
        name: "sessionful",
        version: "1.0.0",
        title: undefined,
        protocolVersion: "2025-11-25"
      })
      for (const legacy of ["stateless", "reject"] as const) {
        const modern = yield* Servers.listen(Servers.modern({ legacy }).handler)
        assert.deepInclude((yield* identify(http(modern.url), bounds)).identity, {
          name: "modern",
          version: "2.0.0",
          protocolVersion: "2026-07-28"
        })
      }
      const old = yield* OldServers.sse
      assert.deepInclude((yield* identify(sse(old.url), bounds)).identity, { name: "old", version: "1.0.0" })
    }), 60_000)

  it.live("ends the session with the scope", () =>
    Effect.gen(function*() {
      const { figures, handler } = Servers.sessionful()
      const { url } = yield* Servers.listen(handler)
      yield* Effect.scoped(Effect.gen(function*() {
        yield* identify(http(url), bounds)
        assert.deepInclude(figures, { initialized: 1, deleted: 0 })
      }))
      assert.strictEqual(figures.deleted, 1)
    }), 60_000)

  it.live(
    "names a server that doesn't by its address, and takes a name as one short line",
    () =>
      Effect.gen(function*() {
        const named = (serverInfo: object) =>
          Effect.gen(function*() {
            const { listener } = scripted((message, response) =>
              initialized(message, response, { ...result, serverInfo })
            )
            const { url } = yield* Servers.listen(listener)
            const { identity } = yield* identify(http(url), bounds)
            return { identity, host: new URL(url).host }
          })
        const nameless = yield* named({ version: 7 })
        assert.deepInclude(nameless.identity, { name: nameless.host, version: undefined })
        const { identity } = yield* named({ name: `a\u001b[2J\n${"b".repeat(1000)}`, version: "1\r\n2" })
        assert.match(identity.name, /^a \[2J b{200,300}…$/)
        assert.strictEqual(identity.version, "1 2")
      }),
    60_000
  )

  it.live("N3: says what else is there", () =>
    Effect.gen(function*() {
      const kindOf = (url: string, within = bounds) =>
        Effect.map(Effect.flip(identify(http(url), within)), ({ kind }): NotIdentified["kind"] => kind)
      const silent = yield* raw(() => {})
      assert.strictEqual(yield* kindOf(silent.url, hasty), "silent")
      assert.strictEqual(yield* kindOf(silent.url.replace("http", "https"), hasty), "unreachable", "no TLS")
      const greeting = yield* raw((socket) => socket.write("SSH-2.0-OpenSSH_9.2p1\r\n"))
      assert.strictEqual(yield* kindOf(greeting.url), "foreign")
      const rude = yield* raw((socket) => socket.destroy())
      assert.strictEqual(yield* kindOf(rude.url), "foreign")
      const shut = yield* raw(() => {})
      shut.stop()
      assert.strictEqual(yield* kindOf(shut.url), "unreachable")
      assert.strictEqual(yield* kindOf("ftp://127.0.0.1/"), "unreachable")

      const page = yield* refusal((_, response) => response.writeHead(200, { "content-type": "text/html" }).end("<p>"))
      assert.deepInclude(page, { kind: "foreign" })
      assert.isAtMost(page.asked.length, 2)
      const rpc = yield* refusal((message, response) =>
        Servers.json(response, 200, { jsonrpc: "2.0", id: message.id, error: { code: -32601, message: "no method" } })
      )
      assert.deepInclude(rpc, { kind: "foreign", reason: "initialize was answered with error -32601: no method" })
      const unknown = yield* refusal((message, response) =>
        initialized(message, response, { ...result, protocolVersion: "2031-01-01" })
      )
      assert.include(unknown.reason, "no protocol version in common: the server speaks 2031-01-01")
    }), 60_000)

  it.live(
    "N3: speaks TLS only to a certificate that it can check, for the name that is given",
    () =>
      Effect.gen(function*() {
        const made = yield* Effect.promise(() => generate([{ name: "commonName", value: "x" }], { keyType: "ec" }))
        const names: Array<string> = []
        let requests = 0
        const server = createServer({
          cert: made.cert,
          key: made.private,
          SNICallback: (name, done) => {
            names.push(name)
            done(null)
          }
        }, (_, response) => {
          requests++
          response.end()
        }).on("tlsClientError", () => {})
        const port = yield* Effect.acquireRelease(
          Effect.callback<number>((resume) => {
            server.listen(0, "127.0.0.1", () => resume(Effect.succeed(portOf(server))))
          }),
          () => Effect.sync(() => void server.close())
        )
        const url = `https://127.0.0.1:${port}/mcp`
        const unchecked = yield* Effect.flip(identify({ ...http(url), serverName: "build.internal" }, bounds))
        assert.strictEqual(unchecked.kind, "unreachable")
        assert.include(unchecked.reason, "unknown authority")
        assert.deepStrictEqual(names, ["build.internal"])
        assert.strictEqual((yield* Effect.flip(identify(http(url.replace("https", "http")), bounds))).kind, "foreign")
        assert.strictEqual(requests, 0)
        const plain = yield* Servers.listen((_, response) => response.end())
        const untold = yield* Effect.flip(identify(http(plain.url.replace("http", "https")), bounds))
        assert.deepInclude(untold, {
          kind: "unreachable",
          reason: "the server doesn't speak TLS on this port: check the URL"
        })
      }),
    60_000
  )

  it.live("tells a server that asks for credentials from one that forbids", () =>
    Effect.gen(function*() {
      const challenge = { "www-authenticate": "Bearer resource_metadata=\"http://127.0.0.1/\"" }
      for (
        const [status, headers, kind] of [
          [401, challenge, "protected"],
          [401, {}, "protected"],
          [403, challenge, "protected"],
          [403, {}, "foreign"]
        ] as const
      ) {
        const { asked, listener } = scripted((_, response) => response.writeHead(status, headers).end("no"))
        const { url } = yield* Servers.listen(listener)
        for (const address of [http(url), sse(url)]) {
          const refused = yield* Effect.flip(identify(address, bounds))
          assert.deepInclude(refused, { kind, reason: `HTTP ${status}: no` })
        }
        assert.isAtMost(asked.length, 3)
      }
    }), 60_000)

  it.live(
    "takes no gateway like this one for a server, in either era, and leaves no session there",
    () =>
      Effect.gen(function*() {
        const serverInfo = { name: clientInfo.name, version: "9" }
        const found = yield* refusal((message, response, request) =>
          request.method === "DELETE"
            ? response.writeHead(200).end()
            : initialized(message, response, { ...result, serverInfo })
        )
        assert.strictEqual(found.kind, "foreign")
        assert.match(found.reason, /^it is a gateway like this one; name it in the configuration /)
        assert.strictEqual(found.asked.at(-1), "DELETE")
        const stateless = yield* refusal((message, response) =>
          Servers.json(response, 200, {
            jsonrpc: "2.0",
            id: message.id,
            result: { supportedVersions: ["2026-07-28"], capabilities: {}, serverInfo }
          })
        )
        assert.deepStrictEqual([stateless.kind, stateless.asked], ["foreign", ["server/discover"]])
      }),
    60_000
  )

  it.live("N4: reads no more than the bounds say", () =>
    Effect.gen(function*() {
      const endless = (type: string, text: string, pause: number) => {
        let written = 0
        return {
          written: () => written,
          answer: (_: Message, response: ServerResponse) => {
            response.writeHead(200, { "content-type": type })
            const timer = setInterval(() => {
              if (response.writableNeedDrain) return
              response.write(text)
              written += text.length
            }, pause)
            response.once("close", () => clearInterval(timer))
          }
        }
      }
      for (const type of ["application/json", "text/event-stream", "text/html"]) {
        const flood = endless(type, `: ${" ".repeat(16_384)}\n`, 1)
        const { kind } = yield* refusal(flood.answer)
        assert.strictEqual(kind, "foreign", type)
        // What fits into the buffers of both sides comes on top, twice.
        assert.isBelow(flood.written(), 16 * 1024 * 1024, type)
        const drip = endless(type, " ", 20)
        assert.strictEqual((yield* refusal(drip.answer, hasty)).kind, "silent", type)
      }
      const huge = yield* refusal((message, response) =>
        initialized(message, response, { ...result, instructions: "x".repeat(bounds.maxBytes) })
      )
      assert.deepInclude(huge, { kind: "foreign", reason: "the answer is longer than is read" })
      const headers = yield* refusal((_, response) => response.writeHead(200, { x: "x".repeat(100_000) }).end())
      assert.strictEqual(headers.kind, "foreign")
      const stream = yield* Servers.listen((_, response) => {
        response.writeHead(200, { "content-type": "text/event-stream" })
        const timer = setInterval(() => response.write("event: other\ndata: x\n\n".repeat(1_000)), 1)
        response.once("close", () => clearInterval(timer))
      })
      assert.strictEqual((yield* Effect.flip(identify(sse(stream.url), bounds))).kind, "foreign")
    }), 60_000)

  it.live("N4: keeps no more of what was said than the identity", () =>
    Effect.gen(function*() {
      setFlagsFromString("--expose-gc")
      const collect: () => void = runInNewContext("gc")
      const long = `${"x".repeat(300_000)}\ny`
      const said = {
        ...result,
        capabilities: Object.fromEntries(Array.from({ length: 20_000 }, (_, n) => [`k${n}`, {}])),
        serverInfo: { name: long, version: long, title: long }
      }
      const { listener } = scripted((message, response) => initialized(message, response, said))
      const { url } = yield* Servers.listen(listener)
      const used = () => {
        collect()
        return process.memoryUsage().heapUsed
      }
      const before = used()
      const identified: Array<Identified> = []
      for (let n = 0; n < 20; n++) identified.push(yield* identify(http(url), { ...bounds, maxBytes: 2 ** 21 }))
      const kept = used() - before
      // The capabilities are some 2 MB each time, and the texts nearly one.
      assert.isBelow(kept, 12_000_000)
      for (const { identity } of identified) assert.isAtMost(identity.name.length, 300)
    }), 60_000)

  it.live("N4: follows no redirect", () =>
    Effect.gen(function*() {
      for (const status of [301, 302, 307, 308]) {
        const { asked, kind } = yield* refusal((_, response, request) =>
          response.writeHead(status, { location: request.url ?? "/" }).end()
        )
        assert.strictEqual(kind, "foreign")
        assert.isAtMost(asked.length, 2)
      }
      // Nor the way to another host that HTTP+SSE could name.
      const { asked, listener } = scripted((_, response) => response.writeHead(202).end())
      const other = yield* Servers.listen(listener)
      const misleading = yield* Servers.listen((_, response) => {
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.write(`event: endpoint\ndata: ${other.url}\n\n`)
      })
      assert.strictEqual((yield* Effect.flip(identify(sse(misleading.url), bounds))).kind, "foreign")
      assert.deepStrictEqual(asked, [])
    }), 60_000)

  it.live("N4: takes any JSON for an answer without breaking", () =>
    Effect.gen(function*() {
      let answer: unknown
      const { listener } = scripted((message, response) =>
        message.method === "notifications/initialized"
          ? response.writeHead(202).end()
          : response.writeHead(200, { "content-type": "application/json" })
            .end(JSON.stringify(Object.assign({ jsonrpc: "2.0", id: message.id }, answer)).replaceAll("\"deep\"", deep))
      )
      const { url } = yield* Servers.listen(listener)
      const deep = "[".repeat(15_000) + "]".repeat(15_000)
      const odd = fc.oneof(
        { weight: 3, arbitrary: fc.jsonValue() },
        fc.constantFrom<unknown>("deep", { toString: 1, valueOf: 1 }, "2025-06-18", "2026-07-28", ["2026-07-28"], {})
      )
      const outcome = fc.oneof(
        fc.record({
          result: fc.record({
            protocolVersion: odd,
            supportedVersions: odd,
            capabilities: odd,
            serverInfo: odd,
            _meta: odd,
            instructions: odd
          }, { requiredKeys: [] })
        }),
        fc.record({
          error: fc.record({
            code: fc.constantFrom(-32_601, -32_020, -32_022, 0),
            message: odd,
            data: fc.oneof(odd, fc.record({ supported: fc.oneof(odd, fc.array(odd)) }))
          })
        }),
        odd
      )
      yield* Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(outcome, async (given) => {
            answer = given
            const exit = await Effect.runPromiseExit(Effect.scoped(identify(http(url), bounds)))
            if (Exit.isSuccess(exit)) return assert.isAtMost(exit.value.identity.name.length, 300)
            const { kind, reason } = Exit.match(
              await Effect.runPromiseExit(Effect.flip(Effect.failCause(exit.cause))),
              {
                onSuccess: (error) => error,
                onFailure: (cause) => assert.fail(String(cause))
              }
            )
            assert.strictEqual(kind, "foreign")
            assert.match(reason, /^.{1,300}$/)
          }),
          { numRuns: 300 }
        )
      )
    }), 60_000)

  it.live(
    "closes its connections where nothing was identified, while the scope lives on",
    () =>
      Effect.gen(function*() {
        const silent = yield* raw(() => {})
        yield* Effect.flip(identify(http(silent.url), hasty))
        yield* Effect.flip(identify(sse(silent.url), hasty))
        yield* until(() => silent.open() === 0)
        const patient = yield* raw((socket) =>
          socket.on("data", () => {
            socket.write("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nKeep-Alive: timeout=600\r\n\r\n")
          })
        )
        yield* Effect.flip(identify(http(patient.url), bounds))
        yield* until(() => patient.open() === 0)
      }),
    60_000
  )

  it.live("closes its connections at once where it is interrupted", () =>
    Effect.gen(function*() {
      const silent = yield* raw(() => {})
      for (const url of [silent.url, silent.url.replace("http", "https")]) {
        for (const address of [http(url), sse(url)]) {
          const fiber = yield* Effect.forkChild(Effect.scoped(identify(address, bounds)), { startImmediately: true })
          yield* until(() => silent.open() === 1)
          yield* Fiber.interrupt(fiber)
          yield* until(() => silent.open() === 0)
        }
      }
      // Not even a session is taken leave of: the server could take its time for that.
      const farewell = yield* Deferred.make<void>()
      const { listener } = scripted((message, response, request) => {
        if (request.method === "DELETE") return void Deferred.doneUnsafe(farewell, Effect.void)
        initialized(message, response, result)
      })
      const { server, url } = yield* Servers.listen(listener)
      const identified = yield* Deferred.make<Identified>()
      const fiber = yield* Effect.forkChild(Effect.scoped(Effect.gen(function*() {
        yield* Deferred.succeed(identified, yield* identify(http(url), bounds))
        return yield* Effect.never
      })))
      yield* Deferred.await(identified)
      const [took] = yield* Effect.timed(Fiber.interrupt(fiber))
      assert.isBelow(Duration.toMillis(took), 900)
      yield* Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
      // Where there is time, there is leave: a second of it.
      const again = yield* Servers.listen(listener)
      const scope = yield* Scope.make()
      yield* Scope.provide(identify(http(again.url), bounds), scope)
      yield* Scope.close(scope, Exit.void)
      yield* Deferred.await(farewell)
    }), 60_000)
})

describe("one server at two addresses", () => {
  const address = { "streamable-http": http, sse }
  const served = {
    "streamable-http": () => ({ handler: Servers.sessionful().handler, path: "/mcp" }),
    sse: () => ({ handler: OldServers.sseHandler().handler, path: "/sse" })
  }

  for (const transport of ["streamable-http", "sse"] as const) {
    it.live(`N9: is known by the session that it began: ${transport}`, () =>
      Effect.gen(function*() {
        const { handler, path } = served[transport]()
        const at = (handler: RequestListener) =>
          Effect.map(Servers.listen(handler), ({ url }) => address[transport](new URL(path, url).href))
        const here = yield* at(handler)
        const there = yield* at(handler)
        const other = yield* at(served[transport]().handler)
        const one = yield* identify(here, bounds)
        assert.isTrue(yield* one.isAlso(there))
        assert.isFalse(yield* one.isAlso(other))
        assert.isTrue(yield* one.isAlso(there), "again")
        const { url } = yield* Servers.listen((_, response) => response.destroy())
        assert.isFalse(yield* one.isAlso(address[transport](url)))
        const silent = yield* raw(() => {})
        const hastily = yield* identify(here, { ...bounds, timeout: Duration.seconds(2) })
        assert.isFalse(yield* hastily.isAlso(address[transport](silent.url)))
        assert.isTrue(yield* hastily.isAlso(there), "after one that is silent")
      }), 60_000)
  }

  it.live("is taken leave of where it began, once", () =>
    Effect.gen(function*() {
      const { figures, handler } = Servers.sessionful()
      const here = yield* Servers.listen(handler)
      const there = yield* Servers.listen(handler)
      const { isAlso } = yield* Effect.scoped(Effect.gen(function*() {
        const one = yield* identify(http(here.url), bounds)
        assert.isTrue(yield* one.isAlso(http(there.url)))
        return one
      }))
      assert.deepInclude(figures, { initialized: 1, deleted: 1 })
      assert.isFalse(yield* isAlso(http(there.url)), "afterwards")
    }), 60_000)

  it.live(
    "is not taken for proven where a server answers whatever the session, or has none",
    () =>
      Effect.gen(function*() {
        const { asked, listener } = scripted((message, response) => initialized(message, response, result))
        const here = yield* Servers.listen(listener)
        const there = yield* Servers.listen(listener)
        assert.isFalse(yield* (yield* identify(http(here.url), bounds)).isAlso(http(there.url)))
        assert.deepStrictEqual(asked.slice(-2), ["ping", "ping"])
        for (const legacy of ["stateless", "reject"] as const) {
          const { handler } = Servers.modern({ legacy })
          const one = yield* identify(http((yield* Servers.listen(handler)).url), bounds)
          assert.isFalse(yield* one.isAlso(http((yield* Servers.listen(handler)).url)))
        }
      }),
    60_000
  )
})
