import { assert, describe, it } from "@effect/vitest"
import type { Tls } from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import type { RequestListener } from "node:http"
import { createServer, type ServerOptions } from "node:https"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { TLSSocket } from "node:tls"
import { generate } from "selfsigned"
import * as Harness from "./Harness.ts"
import * as OldServers from "./OldServers.ts"
import * as Servers from "./Servers.ts"

type Transport = "streamable-http" | "sse" | "websocket"

const of = (value: string) => [{ name: "commonName", value }]

/** An authority, and files of what it issued. */
const authority = Effect.gen(function*() {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(Path.join(tmpdir(), "portolan-tls-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )
  const own = yield* Effect.promise(() =>
    generate(of("authority"), {
      keyType: "ec",
      algorithm: "sha256",
      extensions: [
        { name: "basicConstraints", cA: true, critical: true },
        { name: "keyUsage", keyCertSign: true, cRLSign: true, critical: true }
      ]
    })
  )
  const file = (name: string, text: string) => {
    const path = Path.join(directory, name)
    writeFileSync(path, text)
    return path
  }
  const issue = (name: string, host: string, notAfterDate?: Date) =>
    Effect.promise(async () => {
      const made = await generate(of(name), {
        keyType: "ec",
        algorithm: "sha256",
        ca: { cert: own.cert, key: own.private },
        ...(notAfterDate === undefined ? {} : { notBeforeDate: new Date(0), notAfterDate }),
        extensions: [
          { name: "basicConstraints", cA: false },
          { name: "keyUsage", digitalSignature: true },
          { name: "extKeyUsage", serverAuth: true, clientAuth: true },
          {
            name: "subjectAltName",
            altNames: host === "127.0.0.1" ? [{ type: 7, ip: host }] : [{ type: 2, value: host }]
          }
        ]
      })
      return {
        cert: made.cert,
        key: made.private,
        certFile: file(`${name}.pem`, made.cert),
        keyFile: file(`${name}.key`, made.private)
      }
    })
  return { cert: own.cert, file: file("ca.pem", own.cert), issue, write: file }
})

/** All three transports on one port, or what the handler says. */
const serve = (options: ServerOptions, handler?: RequestListener) =>
  Effect.gen(function*() {
    const sdk = Servers.sessionful()
    const old = OldServers.sseHandler()
    const sockets = OldServers.webSocketServer(old.figures).sockets
    const server = createServer(
      options,
      handler ?? ((request, response) => (request.url === "/mcp" ? sdk.handler : old.handler)(request, response))
    )
    server.on("upgrade", (request, socket, head) =>
      sockets.handleUpgrade(request, socket, head, (client) =>
        sockets.emit("connection", client, request)))
    server.on("tlsClientError", () => {})
    const port = yield* Effect.acquireRelease(
      Effect.callback<number>((resume) => {
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
        })
      }),
      () =>
        Effect.sync(() => {
          for (const client of sockets.clients) {
            client.terminate()
          }
          server.close()
          server.closeAllConnections()
        })
    )
    return { sdk, old, port }
  })

const urlOf = (transport: Transport, port: number): string =>
  transport === "websocket"
    ? `wss://127.0.0.1:${port}/`
    : `https://127.0.0.1:${port}/${transport === "sse" ? "sse" : "mcp"}`

const input = (transport: Transport, port: number, tls: Tls | undefined): Harness.Input => ({
  id: transport,
  service: "a",
  endpoint: { transport, url: urlOf(transport, port), ...(tls === undefined ? {} : { tls }) }
})

const transports = ["streamable-http", "sse", "websocket"] as const

/** Why each transport isn't connected. */
const reasons = (port: number, tls: Tls | undefined) =>
  Harness.withUpstreams(
    transports.map((transport) => input(transport, port, tls)),
    ({ until }) =>
      Effect.forEach(transports, (transport) =>
        Effect.map(
          until(
            `${transport} failed`,
            (event) => event._tag === "Failed" && event.upstream.instance().id === transport
          ),
          (event) => event._tag === "Failed" ? event.reason : ""
        ))
  )

const all = (reason: string) => [reason, reason, reason]

describe("TLS towards upstreams", () => {
  it.live("takes an authority of one's own and shows a certificate", () =>
    Effect.gen(function*() {
      const { cert: ca, file, issue } = yield* authority
      const server = yield* issue("server", "127.0.0.1")
      const client = yield* issue("client", "client")
      const { port } = yield* serve({ ...server, ca, requestCert: true, rejectUnauthorized: true })
      process.env["PORTOLAN_TEST_KEY"] = client.key
      yield* Effect.addFinalizer(() => Effect.sync(() => delete process.env["PORTOLAN_TEST_KEY"]))
      const tls = { ca: file, cert: { file: client.certFile }, key: { env: "PORTOLAN_TEST_KEY" } }
      yield* Harness.withUpstreams(transports.map((transport) => input(transport, port, tls)), ({ get }) =>
        Effect.forEach(transports, (transport) =>
          Effect.gen(function*() {
            const reply = yield* (yield* get(transport)).request({ method: "tools/list" })
            assert.isTrue("result" in reply, transport)
          })))
      for (const reason of yield* reasons(port, { ca: file })) {
        assert.match(reason, /asks for a client certificate[:,] set `tls.cert` and `tls.key`$/)
      }
    }))

  it.live("says what is wrong with the server's certificate", () =>
    Effect.gen(function*() {
      const { file, issue } = yield* authority
      const good = yield* issue("good", "127.0.0.1")
      const { port } = yield* serve(good)
      assert.deepStrictEqual(
        yield* reasons(port, undefined),
        all("the server's certificate comes from an unknown authority: name its CA in `tls.ca`")
      )
      const expired = yield* issue("expired", "127.0.0.1", new Date(1_000_000_000_000))
      assert.deepStrictEqual(
        yield* reasons((yield* serve(expired)).port, { ca: file }),
        all("the server's certificate has expired: it must be renewed there")
      )
    }))

  it.live("knows the server by another name where the record says so", () =>
    Effect.gen(function*() {
      const { file, issue } = yield* authority
      const named = yield* issue("named", "mcp.internal.test")
      const { port } = yield* serve(named)
      for (const reason of yield* reasons(port, { ca: file })) {
        assert.strictEqual(
          reason,
          "the server's certificate isn't for 127.0.0.1: correct the URL, or set `tls.serverName` to a name that it holds"
        )
      }
      const tls = { ca: file, serverName: "mcp.internal.test" }
      yield* Harness.withUpstreams(transports.map((transport) => input(transport, port, tls)), ({ get }) =>
        Effect.forEach(transports, (transport) =>
          Effect.flatMap(get(transport), (upstream) => upstream.connect)))
    }))

  it.live("says what is wrong with the files, and takes them once they are right", () =>
    Effect.gen(function*() {
      const { cert: ca, file, issue, write } = yield* authority
      const server = yield* issue("server", "127.0.0.1")
      const one = yield* issue("one", "one")
      const other = yield* issue("other", "other")
      const { port } = yield* serve({ ...server, ca, requestCert: true, rejectUnauthorized: true })
      assert.deepStrictEqual(
        yield* reasons(port, { ca: "/nowhere.pem" }),
        all("tls.ca: the file /nowhere.pem can't be read")
      )
      assert.deepStrictEqual(
        yield* reasons(port, { ca: write("bad.pem", "hello"), cert: one.certFile, key: one.keyFile }),
        all("tls.ca: it is no PEM text")
      )
      const tls = { ca: file, cert: one.certFile, key: write("key.pem", other.key) }
      assert.deepStrictEqual(yield* reasons(port, tls), all("tls.key: it doesn't belong to tls.cert"))
      yield* Harness.withUpstreams([input("streamable-http", port, tls)], ({ until }) =>
        Effect.gen(function*() {
          yield* until("failed", (event) => event._tag === "Failed")
          write("key.pem", one.key)
          yield* until("connected", (event) => event._tag === "Connected")
        }))
    }))

  it.live("holds for the authorisation server too, which isn't shown our certificate", () =>
    Effect.gen(function*() {
      const { cert: ca, file, issue } = yield* authority
      const server = yield* issue("server", "127.0.0.1")
      const client = yield* issue("client", "client")
      const shown: Array<boolean> = []
      const { port: tokens } = yield* serve(
        { ...server, ca, requestCert: true, rejectUnauthorized: false },
        (request, response) => {
          if (request.socket instanceof TLSSocket) {
            shown.push(Object.keys(request.socket.getPeerCertificate()).length > 0)
          }
          Servers.json(response, 200, { access_token: "t", token_type: "Bearer" })
        }
      )
      const sdk = Servers.sessionful()
      const { port } = yield* serve(
        { ...server, ca, requestCert: true, rejectUnauthorized: true },
        (request, response) =>
          request.headers.authorization === "Bearer t" ? sdk.handler(request, response) : response.writeHead(401).end()
      )
      yield* Harness.withUpstreams([{
        id: "a",
        service: "a",
        endpoint: {
          transport: "streamable-http",
          url: `https://127.0.0.1:${port}/mcp`,
          tls: { ca: file, cert: client.certFile, key: client.keyFile },
          auth: {
            type: "client-credentials",
            clientId: "me",
            clientSecret: "s",
            tokenUrl: `https://127.0.0.1:${tokens}/token`
          }
        }
      }], ({ get }) => Effect.flatMap(get("a"), (upstream) => upstream.connect))
      assert.deepStrictEqual(shown, [false])
    }))

  it.live("says that a server doesn't speak TLS", () =>
    Effect.gen(function*() {
      const { port } = yield* Servers.listen((_, response) => void response.end())
      assert.deepStrictEqual(
        yield* reasons(port, undefined),
        all("the server doesn't speak TLS on this port: check the URL")
      )
    }))
})
