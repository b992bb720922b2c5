import { assert, describe, it } from "@effect/vitest"
import type { Auth } from "@portolan/core/ServiceInstance"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import * as Authorization from "../../src/upstream/Authorization.ts"
import * as AuthorizationServers from "./AuthorizationServers.ts"
import * as Harness from "./Harness.ts"
import * as OldServers from "./OldServers.ts"
import * as Servers from "./Servers.ts"

const input = (transport: "streamable-http" | "sse" | "websocket", url: string, auth: Auth): Harness.Input => ({
  id: "a",
  service: "a",
  endpoint: { transport, url, auth }
})

const credentials: Auth = { type: "client-credentials", clientId: "me", clientSecret: AuthorizationServers.secret }

const list = { method: "tools/list" }
const echo = { method: "tools/call", params: { name: "echo" } }

/** A server of the SDK behind an authority. */
const guarded = Effect.gen(function*() {
  const authority = yield* AuthorizationServers.make
  const sdk = Servers.sessionful()
  const refusals: Array<string | undefined> = []
  const guard = authority.guard(sdk.handler)
  const { url } = yield* Servers.listen((request, response) => {
    if (request.url === "/mcp" && !authority.admits(request)) refusals.push(request.headers.authorization)
    guard(request, response)
  })
  return { authority, refusals, sdk, url }
})

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(Path.join(tmpdir(), "portolan-tokens-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** Runs with a clock that can be put forward. */
const withClock = <A, E, R>(use: (forward: (ms: number) => void) => Effect.Effect<A, E, R>) =>
  Effect.clockWith((live) => {
    let ahead = 0
    const millis = () => live.currentTimeMillisUnsafe() + ahead
    const nanos = () => live.currentTimeNanosUnsafe() + BigInt(ahead) * 1_000_000n
    return Effect.provideService(use((ms) => void (ahead += ms)), Clock.Clock, {
      monotonicTimeNanosUnsafe: () => live.monotonicTimeNanosUnsafe(),
      monotonicTimeNanos: live.monotonicTimeNanos,
      currentTimeMillisUnsafe: millis,
      currentTimeMillis: Effect.sync(millis),
      currentTimeNanosUnsafe: nanos,
      currentTimeNanos: Effect.sync(nanos),
      sleep: (duration) => live.sleep(duration)
    })
  })

describe("client credentials", () => {
  it.live("are asked for where the server says, once for all callers, for this resource", () =>
    Effect.gen(function*() {
      const { authority, refusals, url } = yield* guarded
      yield* Harness.withUpstreams([input("streamable-http", url, credentials)], ({ get }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          const replies = yield* Effect.forEach(
            Array.from({ length: 20 }),
            () => upstream.request(echo),
            { concurrency: "unbounded" }
          )
          assert.isTrue(replies.every((reply) => "result" in reply))
          const granted = authority.requests.filter(({ authorization }) => authorization !== undefined)
          assert.strictEqual(granted.length, 1)
          assert.deepInclude(granted[0], {
            grant_type: "client_credentials",
            resource: `${new URL(url).origin}/`,
            scope: "tools"
          })
          // The one request that asked where to go.
          assert.deepStrictEqual(refusals, [undefined])
        }))
    }))

  it.live("are renewed before they expire, and once where the server takes back a token", () =>
    withClock((forward) =>
      Effect.gen(function*() {
        const { authority, refusals, sdk, url } = yield* guarded
        authority.settings.expiresIn = 60
        const auth = { ...credentials, tokenUrl: `${authority.url}/token` }
        yield* Harness.withUpstreams([input("streamable-http", url, auth)], ({ get }) =>
          Effect.gen(function*() {
            const upstream = yield* get("a")
            assert.isTrue("result" in (yield* upstream.request(list)))
            const first = authority.requests.length
            forward(50_000)
            assert.isTrue("result" in (yield* upstream.request(list)))
            assert.isAbove(authority.requests.length, first)
            assert.deepStrictEqual(refusals, [])

            authority.settings.expiresIn = 3_600
            forward(50_000)
            yield* upstream.request(list)
            const before = authority.requests.length
            authority.valid.clear()
            const calls = sdk.figures.calls
            const replies = yield* Effect.forEach(
              Array.from({ length: 10 }),
              () => upstream.request(echo),
              { concurrency: "unbounded" }
            )
            assert.isTrue(replies.every((reply) => "result" in reply))
            assert.strictEqual(sdk.figures.calls, calls + 10)
            assert.strictEqual(authority.requests.length, before + 1)
          }))
      })
    ))

  it.live("that are wrong are an error without a secret in it", () =>
    Effect.gen(function*() {
      const { authority, url } = yield* guarded
      const auth = { ...credentials, clientId: "you", tokenUrl: `${authority.url}/token` }
      yield* Harness.withUpstreams([input("streamable-http", url, auth)], ({ get }) =>
        Effect.gen(function*() {
          const error = yield* Effect.flip((yield* get("a")).request(list))
          assert.strictEqual(error.status, 401)
          assert.match(error.reason, /^authorisation refused: invalid_client/)
          assert.notInclude(JSON.stringify(error), AuthorizationServers.secret)
        }))
    }))

  it.live("that the server refuses all the same are asked for again with pauses only", () =>
    Effect.gen(function*() {
      const authority = yield* AuthorizationServers.make
      const { url } = yield* Servers.listen((request, response) => {
        request.resume()
        response.writeHead(401).end()
      })
      const auth = { ...credentials, tokenUrl: `${authority.url}/token` }
      yield* Harness.withUpstreams([input("streamable-http", url, auth)], ({ get, until }) =>
        Effect.gen(function*() {
          yield* until("failed", (event) => event._tag === "Failed")
          const upstream = yield* get("a")
          for (let call = 0; call < 50; call++) {
            assert.strictEqual(
              (yield* Effect.flip(upstream.request(list))).reason,
              "the server refuses the new token (HTTP 401): check `auth`"
            )
          }
          assert.isBelow(authority.requests.length, 12)
        }))
    }))

  it.live("ask for the scope that a call lacks, once, and keep those that they have", () =>
    Effect.gen(function*() {
      const authority = yield* AuthorizationServers.make
      const guard = authority.guard(Servers.modern().handler)
      const scope = () => authority.requests.at(-1)?.["scope"] ?? ""
      const { url } = yield* Servers.listen((request, response) => {
        const lacks = request.headers["mcp-method"] === "tools/call" && !scope().split(" ").includes("write")
        if (!lacks || !authority.admits(request)) return guard(request, response)
        request.resume()
        const metadata = `http://${request.headers.host}/somewhere/metadata`
        response.writeHead(403, {
          "www-authenticate": `Bearer error="insufficient_scope", scope="write", resource_metadata="${metadata}"`
        }).end()
      })
      const call = { method: "tools/call", params: { name: "echo", arguments: { text: "x" } } }
      yield* Harness.withUpstreams([input("streamable-http", url, credentials)], ({ get }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          assert.isTrue("result" in (yield* upstream.request(call)))
          const asked = authority.requests.length
          assert.strictEqual(scope(), "tools write")
          assert.isTrue("result" in (yield* upstream.request(call)))
          assert.strictEqual(authority.requests.length, asked)
        }))
      // Where the record says what to ask for, no more is asked for.
      yield* Harness.withUpstreams([input("streamable-http", url, { ...credentials, scope: "tools" })], ({ get }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          // It has its first token then.
          assert.isTrue("result" in (yield* upstream.request(list)))
          const asked = authority.requests.length
          for (let count = 0; count < 5; count++) {
            const error = yield* Effect.flip(upstream.request(call))
            assert.deepInclude(error, {
              status: 403,
              reason: "the token lacks the scope \"write\": add it to `auth.scope`"
            })
          }
          assert.strictEqual(authority.requests.length, asked)
          assert.isTrue("result" in (yield* upstream.request(list)))
        }))
    }))

  it.live("an authorisation server that is away is an outage, and it passes", () =>
    Effect.gen(function*() {
      const { authority, url } = yield* guarded
      authority.settings.error = { status: 503, body: { error: "later" } }
      const auth = { ...credentials, tokenUrl: `${authority.url}/token` }
      yield* Harness.withUpstreams([input("streamable-http", url, auth)], ({ until }) =>
        Effect.gen(function*() {
          yield* until("failed", (event) => event._tag === "Failed")
          authority.settings.error = undefined
          yield* until("connected", (event) => event._tag === "Connected")
        }))
    }))

  it.live("authorise HTTP+SSE and WebSockets", () =>
    Effect.gen(function*() {
      const authority = yield* AuthorizationServers.make
      const old = OldServers.sseHandler()
      const sse = yield* Servers.listen(authority.guard(old.handler))
      const socket = yield* OldServers.webSocket((request) => authority.admits(request))
      const auth = { ...credentials, tokenUrl: `${authority.url}/token` }
      yield* Harness.withUpstreams([
        input("sse", `http://127.0.0.1:${sse.port}/sse`, auth),
        { ...input("websocket", socket.url, auth), id: "b" }
      ], ({ get, until }) =>
        Effect.gen(function*() {
          assert.isTrue("result" in (yield* (yield* get("a")).request(echo)))
          assert.isTrue("result" in (yield* (yield* get("b")).request(echo)))

          authority.valid.clear()
          assert.isTrue("result" in (yield* (yield* get("a")).request(echo)))
          socket.cut()
          // The refused token is replaced with the next attempt.
          yield* until("connected again", () => socket.figures.opened === 2)
          assert.isTrue("result" in (yield* (yield* get("b")).request(echo)))
        }))
    }), 30_000)
})

describe("a server that names no authorisation server", () => {
  it.live("isn't sent the secret", () =>
    Effect.gen(function*() {
      const sent: Array<string | undefined> = []
      const { url } = yield* Servers.listen((request, response) => {
        sent.push(request.headers.authorization)
        request.resume()
        response.writeHead(401).end()
      })
      yield* Harness.withUpstreams([input("streamable-http", url, credentials)], ({ until }) =>
        Effect.gen(function*() {
          const failed = yield* until("failed", (event) => event._tag === "Failed")
          assert.deepInclude(failed, {
            reason: "authorisation failed: the server names no authorisation server; set `auth.tokenUrl`"
          })
          assert.isTrue(sent.every((header) => header === undefined))
        }))
    }))
})

describe("a person's authorisation", () => {
  const login = (
    authority: AuthorizationServers.Authority,
    url: string,
    auth: Extract<Auth, { readonly type: "authorization-code" }>
  ) => {
    let page = ""
    return Authorization.login({
      url,
      auth,
      onRedirect: (address) =>
        Effect.asVoid(Effect.forkDetach(Effect.map(authority.agree(address), (text) => void (page = text))))
    }).pipe(Effect.map((result) => ({ ...result, page: () => page })))
  }

  it.live("is needed, given once, kept in a file, and renewed", () =>
    withClock((forward) =>
      Effect.gen(function*() {
        const store = Path.join(yield* directory, "deep", "token.json")
        const { authority, refusals, url } = yield* guarded
        authority.settings.expiresIn = 60
        const auth = { type: "authorization-code", store } as const

        yield* Harness.withUpstreams([input("streamable-http", url, auth)], ({ get, until }) =>
          Effect.gen(function*() {
            const failed = yield* until("failed", (event) => event._tag === "Failed")
            assert.deepInclude(failed, { reason: "needs authorisation: run portolan login a" })
            const error = yield* Effect.flip((yield* get("a")).request(list))
            assert.deepInclude(error, { phase: "notSent", reason: "needs authorisation: run portolan login a" })
            assert.deepStrictEqual(refusals, [])
          }))

        const result = yield* login(authority, url, auth)
        assert.deepInclude(result, { file: store, renewable: true })
        yield* Harness.eventually("the page", () => result.page() || undefined)
        assert.match(result.page(), /^The browser is done/)
        assert.strictEqual(authority.registered.length, 1)
        assert.strictEqual(statSync(store).mode & 0o777, 0o600)
        assert.deepStrictEqual(readdirSync(Path.dirname(store)), ["token.json"])
        const exchange = authority.requests.find(({ grant_type }) => grant_type === "authorization_code")
        assert.strictEqual(exchange?.["resource"], `${new URL(url).origin}/`)

        forward(61_000)
        yield* Harness.withUpstreams([input("streamable-http", url, auth)], ({ get }) =>
          Effect.gen(function*() {
            const before = readFileSync(store, "utf8")
            assert.isTrue("result" in (yield* (yield* get("a")).request(list)))
            const refreshed = authority.requests.filter(({ grant_type }) => grant_type === "refresh_token")
            assert.strictEqual(refreshed.length, 1)
            assert.deepInclude(refreshed[0], { client_id: "client-1", resource: `${new URL(url).origin}/` })
            assert.notStrictEqual(readFileSync(store, "utf8"), before)
            assert.strictEqual(statSync(store).mode & 0o777, 0o600)
          }))

        // The second process finds what the first one left.
        authority.settings.expiresIn = 3_600
        forward(61_000)
        yield* Harness.withUpstreams([input("streamable-http", url, auth)], ({ get }) =>
          Effect.gen(function*() {
            assert.isTrue("result" in (yield* (yield* get("a")).request(list)))
          }))
        assert.strictEqual(authority.requests.filter(({ grant_type }) => grant_type === "refresh_token").length, 2)
      })
    ), 30_000)

  it.live("that was taken back is needed again, which an outage is not", () =>
    Effect.gen(function*() {
      const store = Path.join(yield* directory, "token.json")
      const { authority, url } = yield* guarded
      const auth = { type: "authorization-code", store } as const
      yield* login(authority, url, auth)
      authority.valid.clear()
      authority.settings.error = { status: 503, body: { error: "server_error", error_description: "later" } }
      yield* Harness.withUpstreams([input("streamable-http", url, auth)], ({ until }) =>
        Effect.gen(function*() {
          const failed = yield* until("failed", (event) => event._tag === "Failed")
          assert.match(failed._tag === "Failed" ? failed.reason : "", /server_error/)
          authority.settings.error = undefined
          yield* until("connected", (event) => event._tag === "Connected")
        }))
      authority.valid.clear()
      authority.settings.error = { status: 400, body: { error: "invalid_grant" } }
      yield* Harness.withUpstreams([input("streamable-http", url, auth)], ({ until }) =>
        Effect.gen(function*() {
          const failed = yield* until("failed", (event) => event._tag === "Failed")
          assert.deepInclude(failed, { reason: "needs authorisation: run portolan login a" })
        }))
    }))

  it.live("taken back while connected fails the upstream until the person agrees again", () =>
    Effect.gen(function*() {
      const store = Path.join(yield* directory, "token.json")
      const { authority, url } = yield* guarded
      const auth = { type: "authorization-code", store } as const
      yield* login(authority, url, auth)
      yield* Harness.withUpstreams([input("streamable-http", url, auth)], ({ get, until }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          yield* upstream.connect
          authority.valid.clear()
          authority.settings.error = { status: 400, body: { error: "invalid_grant" } }
          const before = authority.requests.length
          const reason = "needs authorisation: run portolan login a"
          assert.deepInclude(yield* Effect.flip(upstream.request(list)), { phase: "notSent", reason })
          yield* until("failed", (event) => event._tag === "Failed" && event.reason === reason)
          for (let call = 0; call < 50; call++) yield* Effect.flip(upstream.request(list))
          assert.isBelow(authority.requests.length - before, 10)
          authority.settings.error = undefined
          yield* login(authority, url, auth)
          yield* Harness.eventually("connected", () => upstream.state()._tag === "connected" || undefined)
        }))
    }), 60_000)

  it.live("a renewal that fails is tried again while the token holds", () =>
    withClock((forward) =>
      Effect.gen(function*() {
        const { authority, url } = yield* guarded
        authority.settings.expiresIn = 100
        const auth = { ...credentials, tokenUrl: `${authority.url}/token` }
        yield* Harness.withUpstreams([input("streamable-http", url, auth)], ({ get }) =>
          Effect.gen(function*() {
            const upstream = yield* get("a")
            yield* upstream.connect
            authority.settings.error = { status: 503, body: {} }
            const before = authority.requests.length
            // Renewal is due after four fifths of its life.
            forward(90_000)
            assert.isTrue("result" in (yield* upstream.request(list)))
            assert.strictEqual(authority.requests.length, before + 1)
          }))
      })
    ))

  it.live("a file that is none of ours is told, not what stands in it", () =>
    Effect.gen(function*() {
      const store = Path.join(yield* directory, "token.json")
      writeFileSync(store, "{\"accessToken\": \"s3cr3t\"}")
      const { url } = yield* guarded
      yield* Harness.withUpstreams(
        [input("streamable-http", url, { type: "authorization-code", store })],
        ({ until }) =>
          Effect.gen(function*() {
            const failed = yield* until("failed", (event) => event._tag === "Failed")
            assert.deepInclude(failed, { reason: `authorisation failed: ${store} is no token file` })
          })
      )
    }))

  it.live("fails where the person refuses, comes with another's state, or doesn't come", () =>
    Effect.gen(function*() {
      const store = Path.join(yield* directory, "token.json")
      const { url } = yield* guarded
      const answers: Array<number> = []
      const come = (address: URL, query: Record<string, string>) =>
        Effect.promise(async () => {
          const back = new URL(address.searchParams.get("redirect_uri") ?? "")
          for (const [name, value] of Object.entries(query)) back.searchParams.set(name, value)
          answers.push((await fetch(back)).status)
        })
      const error = yield* Effect.flip(Authorization.login({
        url,
        auth: { type: "authorization-code", store },
        onRedirect: (address) =>
          Effect.asVoid(Effect.forkDetach(Effect.andThen(
            come(address, { code: "x", state: "guessed" }),
            come(address, {
              error: "access_denied",
              error_description: "the\nuser said no",
              state: address.searchParams.get("state") ?? ""
            })
          )))
      }))
      assert.strictEqual(error.reason, "authorisation refused: access_denied: the user said no")
      yield* Harness.eventually("both pages", () => answers.length === 2 || undefined)
      assert.deepStrictEqual(answers, [400, 200])
      const late = yield* Effect.flip(Authorization.login({
        url,
        auth: { type: "authorization-code", store },
        onRedirect: () => Effect.void,
        timeout: "50 millis"
      }))
      assert.strictEqual(late.reason, "nobody came back from the browser in time")
    }))
})
