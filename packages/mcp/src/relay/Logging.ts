/**
 * Log levels towards the servers: each handshake server is told the lowest level that any client wants.
 *
 * **Details**: a server of the stateless era is told with each request instead, and needs nothing from here.
 *
 * @since 0.1.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import type * as Scope from "effect/Scope"
import type { Caller, Upstream } from "../upstream/Upstream.ts"
import type { Upstreams } from "../upstream/Upstreams.ts"
import { type LogLevel, lower, passes } from "./LogLevel.ts"

/**
 * What the relay asks of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Logging {
  /** A client wants this level from now on, or (with `undefined`) nothing any more. */
  readonly want: (client: object, level: LogLevel | undefined) => void
  /**
   * Makes sure that a server sends this level to a call which comes next; `undefined` where nothing is to be done. Servers
   * that are told once stay at the level.
   */
  readonly prepare: (upstream: Upstream, level: LogLevel) => Effect.Effect<void> | undefined
  /**
   * Whether a message of a server is for a client. One that wants no level gets what the server sends by itself; once
   * somebody chose the server's level, that can't be known, and is taken to be `info`.
   */
  readonly passes: (server: InstanceKey, level: unknown, wanted: LogLevel | undefined) => boolean
  /** Whether a client hears a server over a connection of its own: what the gateway's own one hears is the same. Plain. */
  readonly hearsItself: (upstream: Upstream, caller: Caller) => boolean
  /** The server was connected (again): it knows no level. */
  readonly connected: (upstream: Upstream) => void
  readonly closed: (key: InstanceKey) => void
}

/** A call doesn't wait longer for its server to take a level, ms. */
const SetTimeout = 2_000

/**
 * Makes it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (upstreams: Upstreams["Service"]): Effect.Effect<Logging, never, Scope.Scope> =>
  Effect.gen(function*() {
    const wants = new Map<object, LogLevel>()
    const told = new Map<InstanceKey, LogLevel>()
    let wanted: LogLevel | undefined
    /** Lowest level that single requests of stateless clients asked for. */
    let asked: LogLevel | undefined
    const run = yield* FiberMap.makeRuntime<never, InstanceKey>()

    const understands = (upstream: Upstream): boolean => {
      const profile = upstream.state().profile
      return profile !== undefined && profile.era === "handshake" && profile.capabilities["logging"] !== undefined
    }

    const set = (upstream: Upstream, level: LogLevel): Effect.Effect<void> =>
      upstream.request({ method: "logging/setLevel", params: { level } }).pipe(
        Effect.flatMap((reply) =>
          "error" in reply
            ? Effect.logDebug(`${upstream.instance().service} refused the log level ${level}: ${reply.error.message}`)
            : Effect.void
        ),
        Effect.timeoutOption(SetTimeout),
        // It is told again when it is connected again.
        Effect.catch((error) => Effect.logDebug(`log level not set: ${error.message}`))
      )

    const tell = (upstream: Upstream) => {
      const level = lower(wanted, asked)
      if (level === undefined || told.get(upstream.key) === level || !understands(upstream)) return
      told.set(upstream.key, level)
      run(upstream.key, set(upstream, level))
    }

    return {
      want: (client, level) => {
        if (level === undefined) wants.delete(client)
        else wants.set(client, level)
        let lowest: LogLevel | undefined
        for (const each of wants.values()) lowest = lower(lowest, each)
        if (lowest === wanted) return
        wanted = lowest
        for (const upstream of upstreams.all()) tell(upstream)
      },
      prepare: (upstream, level) => {
        if (!understands(upstream)) return undefined
        const current = told.get(upstream.key)
        if (current !== undefined && lower(current, level) === current) return undefined
        asked = lower(asked, level)
        told.set(upstream.key, level)
        return set(upstream, level)
      },
      passes: (server, level, wanted) =>
        wanted === undefined ? !told.has(server) || passes(level, "info") : passes(level, wanted),
      hearsItself: (upstream, caller) => {
        if (caller.session === undefined) return false
        const own = upstream.session(caller)
        return own !== undefined && own !== upstream.session(undefined)
      },
      connected: (upstream) => {
        told.delete(upstream.key)
        tell(upstream)
      },
      closed: (key) => void told.delete(key)
    }
  })
