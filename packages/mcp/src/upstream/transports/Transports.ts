/**
 * What each transport of a record takes to be opened, its secrets resolved at that moment.
 *
 * @since 0.1.0
 */
import type { Endpoint, ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { Pool } from "undici"
import * as AuthorizedDispatcher from "../authorization/AuthorizedDispatcher.ts"
import * as Secrets from "../authorization/Secrets.ts"
import * as TokenSource from "../authorization/TokenSource.ts"
import type { Transport } from "../Link.ts"
import type { Failure } from "./Connection.ts"
import * as HttpConnection from "./HttpConnection.ts"
import * as InProcessConnection from "./InProcessConnection.ts"
import * as SseConnection from "./SseConnection.ts"
import * as StdioConnection from "./StdioConnection.ts"
import * as Tls from "./Tls.ts"
import type { Watchdog } from "./Watchdog.ts"
import * as WebSocketConnection from "./WebSocketConnection.ts"

type HttpEndpoint = Extract<Endpoint, { readonly transport: "streamable-http" | "sse" }>
type WebSocketEndpoint = Extract<Endpoint, { readonly transport: "websocket" }>

/**
 * Bounds, and what transports share.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly watchdog: Watchdog
  readonly connectTimeout: Duration.Duration
  readonly maxMessageSize: number
  readonly maxConnections: number
  /** What answers in this process for the record's registry, if anything. Plain. */
  readonly host: () => InProcessConnection.Host | undefined
}

/** Why an instance has no transport here. */
export const unsupported = (instance: ServiceInstance): string =>
  `transport ${instance.endpoint.transport} is not supported yet`

interface Made {
  readonly kind: Transport["kind"]
  readonly resolve: Effect.Effect<Transport, Failure>
}

const unresolved = (error: Secrets.SecretError): Failure => ({ phase: "notSent", reason: error.reason })

const headersOf = (endpoint: HttpEndpoint | WebSocketEndpoint) =>
  Effect.map(
    Secrets.resolveAll(endpoint.headers, "headers"),
    (secrets) => Object.fromEntries(Array.from(secrets, ([name, value]) => [name.toLowerCase(), Redacted.value(value)]))
  )

const tlsOf = (endpoint: HttpEndpoint | WebSocketEndpoint) =>
  endpoint.tls === undefined ? Effect.undefined : Tls.resolve(endpoint.tls)

const tokensOf = (endpoint: HttpEndpoint | WebSocketEndpoint, id: string, options: Options) =>
  endpoint.auth === undefined ? Effect.undefined : TokenSource.make({
    id,
    url: endpoint.url,
    auth: endpoint.auth,
    tls: endpoint.tls,
    timeout: options.connectTimeout
  })

/** Takes out of a text what is sent with each request. */
const redactor =
  (url: URL, headers: Readonly<Record<string, string>>, tokens: TokenSource.TokenSource | undefined) =>
  (text: string): string => {
    const token = tokens?.current()
    return Secrets.hide(text, Secrets.sentWith(url, token === undefined ? headers : { ...headers, token }))
  }

const http = Effect.fnUntraced(function*(
  endpoint: HttpEndpoint,
  id: string,
  options: Options
): Effect.fn.Return<Made, never, Scope.Scope> {
  const url = new URL(endpoint.url)
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  const timeout = Duration.toMillis(options.connectTimeout)
  // Sockets that are opened from now on take the newest certificates.
  let connector = Tls.connector(timeout, undefined)
  const pool = yield* Effect.acquireRelease(
    Effect.sync(() =>
      new Pool(url.origin, {
        connections: options.maxConnections,
        pipelining: 1,
        // How long a call may take is for its caller to say.
        headersTimeout: 0,
        bodyTimeout: 0,
        connect: (options, callback) => connector(options, callback)
      })
    ),
    (pool) => Effect.promise(() => pool.destroy())
  )
  const tokens = yield* tokensOf(endpoint, id, options)
  const dispatcher = tokens === undefined ? pool : AuthorizedDispatcher.make(pool, tokens)
  return {
    kind: endpoint.transport === "sse" ? "sse" : "http",
    resolve: Effect.zip(headersOf(endpoint), tlsOf(endpoint)).pipe(
      Effect.mapError(unresolved),
      Effect.map(([headers, tls]): Transport => {
        if (tls !== undefined) connector = Tls.connector(timeout, tls.server)
        const redact = redactor(url, headers, tokens)
        const shared = { dispatcher, url, headers, maxMessageSize: options.maxMessageSize, now, redact }
        const sse: Transport = { kind: "sse", redact, open: (_, listener) => SseConnection.open(shared, listener) }
        return endpoint.transport === "sse" ? sse : {
          kind: "http",
          redact,
          open: (era, listener) => HttpConnection.open({ ...shared, era }, listener),
          fallback: sse
        }
      })
    )
  }
})

/** ms between two pings of a WebSocket. */
const PingInterval = 30_000

const webSocket = Effect.fnUntraced(function*(
  endpoint: WebSocketEndpoint,
  id: string,
  options: Options
): Effect.fn.Return<Made, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const tokens = yield* tokensOf(endpoint, id, options)
  return {
    kind: "websocket",
    resolve: Effect.gen(function*() {
      const headers = yield* headersOf(endpoint)
      const tls = yield* tlsOf(endpoint)
      // Only where a record needs it.
      const { WebSocket } = yield* Effect.promise(() => import("ws"))
      const header = tokens === undefined ? undefined : yield* tokens.header
      const url = new URL(endpoint.url)
      const redact = redactor(url, headers, tokens)
      return {
        kind: "websocket",
        redact,
        open: (_, listener) =>
          WebSocketConnection.open({
            WebSocket,
            url,
            redact,
            headers: header === undefined ? headers : { ...headers, authorization: header },
            tls: tls?.server,
            connectTimeout: Duration.toMillis(options.connectTimeout),
            pingInterval: PingInterval,
            maxMessageSize: options.maxMessageSize,
            now: () => clock.currentTimeMillisUnsafe(),
            onUnauthorized: tokens?.refused
          }, listener)
      } satisfies Transport
    }).pipe(Effect.mapError((error) => error instanceof Secrets.SecretError ? unresolved(error) : error))
  }
})

/**
 * Makes the transport of an instance, with what it shares between attempts for as long as the scope lives; `undefined`
 * where there is none. `resolve` is run for each attempt.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  instance: ServiceInstance,
  options: Options
): Effect.fn.Return<Made | undefined, never, Scope.Scope> {
  const { endpoint } = instance
  switch (endpoint.transport) {
    case "stdio":
      return {
        kind: "stdio",
        resolve: Secrets.resolveAll(endpoint.env, "env").pipe(
          Effect.mapError(unresolved),
          Effect.map((secrets): Transport => {
            const env = StdioConnection.defaultEnvironment()
            for (const [name, value] of secrets) env[name] = Redacted.value(value)
            // Only what was a reference is secret; a plain text stands in the record.
            const hidden = Array.from(secrets)
              .filter(([name]) => typeof endpoint.env?.[name] !== "string")
              .map(([, value]) => Redacted.value(value))
            const redact = (text: string) => Secrets.hide(text, hidden)
            return {
              kind: "stdio",
              redact,
              open: (_, listener) =>
                StdioConnection.open({
                  command: endpoint.command,
                  args: endpoint.args ?? [],
                  env,
                  cwd: endpoint.cwd,
                  maxMessageSize: options.maxMessageSize,
                  watchdog: options.watchdog,
                  redact
                }, listener)
            }
          })
        )
      }
    case "streamable-http":
    case "sse":
      return yield* http(endpoint, instance.id, options)
    case "websocket":
      return yield* webSocket(endpoint, instance.id, options)
    case "in-process":
      return {
        kind: "in-process",
        resolve: Effect.suspend(() => {
          const host = options.host()
          return host === undefined
            ? Effect.fail<Failure>({ phase: "notSent", reason: "nothing in this process answers for it" })
            : Effect.succeed<Transport>({
              kind: "in-process",
              open: (_, listener) => InProcessConnection.open(host, listener)
            })
        })
      }
    default:
      return undefined
  }
})
