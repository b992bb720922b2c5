/**
 * Where the gateway listens: with TLS, and elsewhere while it runs.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Gateway from "@portolan/gateway/Gateway"
import { type Authority, authority, type Issued } from "@portolan/tooling/backends/Certificates"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { createPrivateKey } from "node:crypto"
import * as Fs from "node:fs"
import { Agent, get as httpGet } from "node:http"
import { Agent as TlsAgent, get as httpsGet } from "node:https"
import { createServer } from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import type { TLSSocket } from "node:tls"
import { ask, fleet, type FleetOptions } from "./fleet.ts"

const withGateway = <A, E, R>(
  options: FleetOptions,
  use: (gateway: Gateway.Gateway["Service"]) => Effect.Effect<A, E, R>
) => Effect.provide(Effect.flatMap(Gateway.Gateway, use), fleet(options))

const directory = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "portolan-tls-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

interface Answer {
  readonly status: number
  readonly text: string
  readonly close: boolean
  /** Common name of the server's certificate. */
  readonly subject: string | undefined
}

/** Asks over TLS, trusting this authority. */
const askTls = (
  port: number,
  path: string,
  options: { readonly ca: string; readonly client?: Issued; readonly agent?: TlsAgent }
): Effect.Effect<Answer, Error> =>
  Effect.callback((resume) => {
    const request = httpsGet({
      host: "127.0.0.1",
      port,
      path,
      ca: options.ca,
      agent: options.agent ?? false,
      ...options.client
    }, (response) => {
      let text = ""
      const subject = (response.socket as TLSSocket).getPeerCertificate().subject?.CN
      response.setEncoding("utf8").on("data", (chunk: string) => text += chunk)
      response.on("end", () =>
        resume(Effect.succeed({
          status: response.statusCode ?? 0,
          text,
          close: response.headers.connection === "close",
          subject: typeof subject === "string" ? subject : undefined
        })))
    })
    request.on("error", (error) => resume(Effect.fail(error)))
    return Effect.sync(() => request.destroy())
  })

const refusedBy = <A, R>(effect: Effect.Effect<A, Error, R>): Effect.Effect<string, never, R> =>
  Effect.matchEffect(effect, {
    onFailure: (error) => Effect.succeed("code" in error ? String(error.code) : error.message),
    onSuccess: (answer) => Effect.die(new Error(`it was answered: ${JSON.stringify(answer)}`))
  })

const until = <E, R>(check: Effect.Effect<boolean, E, R>) =>
  check.pipe(
    Effect.repeat({ until: (held) => held, schedule: Schedule.spaced("20 millis") }),
    Effect.timeout("15 seconds")
  )

/** Files with a certificate of the authority. */
const files = (ca: Authority, name: string) =>
  Effect.gen(function*() {
    const folder = yield* directory
    const write = (file: string, text: string) => {
      Fs.writeFileSync(Path.join(folder, file), text)
      return Path.join(folder, file)
    }
    const issued = yield* ca.issue(name)
    return { tls: { cert: write("cert.pem", issued.cert), key: write("key.pem", issued.key) }, issued, write }
  })

const failureOf = (options: FleetOptions) => Effect.flip(Effect.scoped(Effect.asVoid(Layer.build(fleet(options)))))

describe("TLS", () => {
  it.live("is served with the given certificate, and plain HTTP is not", () =>
    Effect.gen(function*() {
      const ca = yield* authority("Test CA")
      const { tls } = yield* files(ca, "gateway")
      yield* withGateway({ tls }, (gateway) =>
        Effect.gen(function*() {
          assert.strictEqual(gateway.url, `https://127.0.0.1:${gateway.port}`)
          for (const [path, text] of [["/healthz", "ok\n"], ["/mcp", "mcp"]] as const) {
            assert.deepStrictEqual(yield* askTls(gateway.port, path, { ca: ca.cert }), {
              status: 200,
              text,
              close: true,
              subject: "gateway"
            })
          }
          const other = yield* authority("Other CA")
          yield* refusedBy(askTls(gateway.port, "/healthz", { ca: other.cert }))
          yield* refusedBy(Effect.mapError(ask(gateway.port, "/healthz"), (cause) => cause))
        }))
    }))

  it.live("asks clients for a certificate where an authority for them is named", () =>
    Effect.gen(function*() {
      const ca = yield* authority("Test CA")
      const clients = yield* authority("Clients CA")
      const { tls, write } = yield* files(ca, "gateway")
      yield* withGateway({ tls: { ...tls, ca: write("clients.pem", clients.cert) } }, ({ port }) =>
        Effect.gen(function*() {
          const known = yield* clients.issue("client")
          const answer = yield* askTls(port, "/mcp", { ca: ca.cert, client: known })
          assert.strictEqual(answer.text, "mcp")
          yield* refusedBy(askTls(port, "/mcp", { ca: ca.cert }))
          const stranger = yield* ca.issue("stranger")
          yield* refusedBy(askTls(port, "/mcp", { ca: ca.cert, client: stranger }))
        }))
    }))

  it.live("says in one line what is wrong with the files", () =>
    Effect.gen(function*() {
      const ca = yield* authority("Test CA")
      const { issued, tls, write } = yield* files(ca, "gateway")
      const other = yield* ca.issue("other")
      const locked = createPrivateKey(issued.key).export({
        type: "pkcs8",
        format: "pem",
        cipher: "aes-256-cbc",
        passphrase: "right"
      }).toString()
      const table: ReadonlyArray<readonly [Gateway.ListenerOptions["tls"], RegExp]> = [
        [{ ...tls, cert: "/nowhere/cert.pem" }, /^gateway\.tls\.cert: can't read \/nowhere\/cert\.pem/],
        [{ ...tls, key: "/nowhere/key.pem" }, /^gateway\.tls\.key: can't read \/nowhere\/key\.pem/],
        [{ ...tls, cert: write("garbage.pem", "garbage") }, /^gateway\.tls\.cert: .*garbage\.pem holds no certificate/],
        [{ ...tls, key: write("garbage.pem", "garbage") }, /^gateway\.tls\.key: .*garbage\.pem holds no private key/],
        [
          { ...tls, key: write("other.pem", other.key) },
          /^gateway\.tls\.key: .*other\.pem is not the key of .*cert\.pem/
        ],
        [
          { ...tls, key: write("locked.pem", locked), passphrase: "wrong" },
          /^gateway\.tls\.key: .*locked\.pem holds no private key in PEM, or it needs another passphrase/
        ],
        [{ ...tls, ca: write("garbage.pem", "garbage") }, /^gateway\.tls\.ca: .*garbage\.pem holds no certificate/]
      ]
      for (const [wrong, expected] of table) {
        const error = yield* failureOf({ tls: wrong })
        assert.strictEqual(error._tag, "ListenError")
        assert.match(error.message, expected)
        assert.notInclude(error.message, "\n")
      }
      const right = { ...tls, key: write("locked.pem", locked), passphrase: "right" }
      yield* withGateway(
        { tls: right },
        ({ port }) =>
          Effect.map(askTls(port, "/healthz", { ca: ca.cert }), ({ status }) => assert.strictEqual(status, 200))
      )
    }))

  it.live("takes new certificates while connections stay, and no half of a pair", () =>
    Effect.gen(function*() {
      const ca = yield* authority("Test CA")
      const { tls, write } = yield* files(ca, "old")
      yield* withGateway({ tls }, ({ port }) =>
        Effect.gen(function*() {
          const subject = Effect.map(askTls(port, "/healthz", { ca: ca.cert }), (answer) => answer.subject)
          const agent = new TlsAgent({ keepAlive: true, maxSockets: 1, ca: ca.cert })
          yield* Effect.addFinalizer(() => Effect.sync(() => agent.destroy()))
          const kept = askTls(port, "/healthz", { ca: ca.cert, agent })
          assert.strictEqual((yield* kept).subject, "old")
          const [socket] = Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? [])
          const next = yield* ca.issue("new")
          write("cert.pem", next.cert)
          // Longer than until the files are looked at again.
          yield* Effect.sleep("2500 millis")
          assert.strictEqual(yield* subject, "old")
          write("key.pem", next.key)
          yield* until(Effect.map(subject, (name) => name === "new"))
          assert.strictEqual((yield* kept).status, 200)
          assert.strictEqual(Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? [])[0], socket)
        }))
    }))
})

/** A port that is taken until the scope closes. */
const taken = Effect.acquireRelease(
  Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address()
      resume(Effect.succeed({
        port: typeof address === "object" && address !== null ? address.port : 0,
        close: () => server.close()
      }))
    })
  }),
  ({ close }) => Effect.sync(close)
)

const freePort = Effect.map(Effect.scoped(taken), ({ port }) => port)

describe("reconfigure", () => {
  it.live("moves to another port; who is connected is served on", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const under = yield* Deferred.make<void>()
      const context = yield* Effect.context()
      const options: FleetOptions = {
        endpoint: {
          handle: (_, response) => {
            Effect.runForkWith(context)(
              Deferred.succeed(under, undefined).pipe(
                Effect.andThen(Deferred.await(gate)),
                Effect.andThen(Effect.sync(() => response.end("late")))
              )
            )
          }
        }
      }
      yield* withGateway(options, (gateway) =>
        Effect.gen(function*() {
          const old = gateway.port
          const agent = new Agent({ keepAlive: true, maxSockets: 1 })
          yield* Effect.addFinalizer(() => Effect.sync(() => agent.destroy()))
          const kept = Effect.callback<string | undefined, Error>((resume) => {
            httpGet({ host: "127.0.0.1", port: old, path: "/healthz", agent }, (response) => {
              response.resume().on("end", () => resume(Effect.succeed(response.headers.connection)))
            }).on("error", (error) => resume(Effect.fail(error)))
          })
          assert.strictEqual(yield* kept, "keep-alive")
          const long = yield* Effect.forkScoped(ask(old, "/mcp"), { startImmediately: true })
          yield* Deferred.await(under)
          const port = yield* freePort
          yield* gateway.reconfigure({ port })
          assert.deepStrictEqual([gateway.port, gateway.url], [port, `http://127.0.0.1:${port}`])
          assert.strictEqual((yield* ask(port, "/healthz")).status, 200)
          assert.strictEqual(yield* refusedBy(ask(old, "/healthz")), "ECONNREFUSED")
          // On the connection that was there already, and is told to be the last time.
          assert.strictEqual(yield* kept, "close")
          yield* Deferred.succeed(gate, undefined)
          assert.strictEqual((yield* Fiber.join(long)).text, "late")
          // And back again.
          yield* gateway.reconfigure({ port: old })
          assert.strictEqual((yield* ask(old, "/healthz")).status, 200)
        }))
    }))

  it.live("changes nothing where it can't listen", () =>
    withGateway({ allowedHosts: ["one.example"] }, (gateway) =>
      Effect.gen(function*() {
        const { port } = yield* taken
        const before = gateway.port
        const status = (host: string) =>
          Effect.map(ask(before, "/healthz", { headers: { host } }), (answer) => answer.status)
        const table: ReadonlyArray<Gateway.ListenerOptions> = [
          { port, allowedHosts: ["two.example"] },
          { port: before, host: "203.0.113.7", allowedHosts: ["two.example"] },
          { port: before, tls: { cert: "/nowhere", key: "/nowhere" }, allowedHosts: ["two.example"] }
        ]
        for (const options of table) {
          const error = yield* Effect.flip(gateway.reconfigure(options))
          assert.strictEqual(error._tag, "ListenError")
          assert.deepStrictEqual([gateway.port, gateway.host], [before, "127.0.0.1"])
          assert.deepStrictEqual([yield* status("one.example"), yield* status("two.example")], [200, 403])
        }
      })))

  it.live("changes who may ask, and switches the transport of 2024-11-05", () =>
    withGateway({}, (gateway) =>
      Effect.gen(function*() {
        const { port } = gateway
        const seen = (path: string, headers: Record<string, string> = {}) =>
          Effect.map(ask(port, path, { headers }), ({ status, text }) => status === 200 ? text : status)
        const given = { host: "mcp.example.com", origin: "https://app.example.com" }
        assert.strictEqual(yield* seen("/mcp", given), 403)
        assert.deepStrictEqual([yield* seen("/sse"), yield* seen("/messages")], [404, 404])
        yield* gateway.reconfigure({
          port,
          sse: true,
          publicUrl: "https://mcp.example.com/tools/",
          allowedOrigins: ["https://app.example.com"]
        })
        assert.strictEqual(gateway.port, port)
        assert.strictEqual(gateway.url, "https://mcp.example.com/tools")
        assert.strictEqual(yield* seen("/mcp", given), "mcp")
        assert.deepStrictEqual(
          [yield* seen("/sse"), yield* seen("/messages?sessionId=x")],
          ["/tools/messages", "message"]
        )
        yield* gateway.reconfigure({ port })
        assert.deepStrictEqual([yield* seen("/mcp", given), yield* seen("/sse")], [403, 404])
      })))

  it.live("puts TLS on the same port and takes it off", () =>
    Effect.gen(function*() {
      const ca = yield* authority("Test CA")
      const { tls } = yield* files(ca, "first")
      const second = yield* files(ca, "second")
      yield* withGateway({}, (gateway) =>
        Effect.gen(function*() {
          const { port } = gateway
          yield* gateway.reconfigure({ port, tls })
          assert.strictEqual(gateway.url, `https://127.0.0.1:${port}`)
          assert.strictEqual((yield* askTls(port, "/healthz", { ca: ca.cert })).subject, "first")
          yield* gateway.reconfigure({ port, tls: second.tls })
          assert.strictEqual((yield* askTls(port, "/healthz", { ca: ca.cert })).subject, "second")
          yield* gateway.reconfigure({ port, tls: { ...second.tls, ca: second.write("ca.pem", ca.cert) } })
          yield* refusedBy(askTls(port, "/healthz", { ca: ca.cert }))
          yield* gateway.reconfigure({ port })
          assert.strictEqual((yield* ask(port, "/healthz")).status, 200)
        }))
    }))
})
