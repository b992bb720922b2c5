/**
 * What each transport of a record takes to be opened, its secrets resolved at that moment.
 *
 * @since 0.1.0
 */
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { Pool } from "undici"
import type { Failure } from "./Connection.ts"
import * as HttpConnection from "./HttpConnection.ts"
import type { Transport } from "./Link.ts"
import * as Secrets from "./Secrets.ts"
import * as StdioConnection from "./StdioConnection.ts"
import type { Watchdog } from "./Watchdog.ts"

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
}

/** Why an instance has no transport here. */
export const unsupported = (instance: ServiceInstance): string =>
  `transport ${instance.endpoint.transport} is not supported yet`

const unresolved = (error: Secrets.SecretError): Failure => ({ phase: "notSent", reason: error.reason })

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
): Effect.fn.Return<
  { readonly kind: Transport["kind"]; readonly resolve: Effect.Effect<Transport, Failure> } | undefined,
  never,
  Scope.Scope
> {
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
              .filter((value) => value.length > 3)
            return {
              kind: "stdio",
              open: (_, listener) =>
                StdioConnection.open({
                  command: endpoint.command,
                  args: endpoint.args ?? [],
                  env,
                  cwd: endpoint.cwd,
                  maxMessageSize: options.maxMessageSize,
                  watchdog: options.watchdog,
                  redact: (text) => hidden.reduce((text, value) => text.replaceAll(value, "<redacted>"), text)
                }, listener)
            }
          })
        )
      }
    case "streamable-http": {
      const url = new URL(endpoint.url)
      const clock = yield* Clock.Clock
      const dispatcher = yield* Effect.acquireRelease(
        Effect.sync(() =>
          new Pool(url.origin, {
            connections: options.maxConnections,
            pipelining: 1,
            // How long a call may take is for its caller to say.
            headersTimeout: 0,
            bodyTimeout: 0,
            connect: { timeout: Duration.toMillis(options.connectTimeout) },
            allowH2: false
          })
        ),
        (pool) => Effect.promise(() => pool.destroy())
      )
      return {
        kind: "http",
        resolve: Secrets.resolveAll(endpoint.headers, "headers").pipe(
          Effect.mapError(unresolved),
          Effect.map((secrets): Transport => {
            const headers = Object.fromEntries(
              Array.from(secrets, ([name, value]) => [name.toLowerCase(), Redacted.value(value)])
            )
            return {
              kind: "http",
              open: (era, listener) =>
                HttpConnection.open({
                  dispatcher,
                  url,
                  headers,
                  era,
                  maxMessageSize: options.maxMessageSize,
                  now: () => clock.currentTimeMillisUnsafe()
                }, listener)
            }
          })
        )
      }
    }
    default:
      return undefined
  }
})
