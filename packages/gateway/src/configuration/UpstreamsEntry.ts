/**
 * `upstreams` in the configuration: how many connections lead to a server, and what they carry.
 *
 * @since 0.2.0
 */
import type { LiveOptions } from "@portolan/mcp/upstream/Upstreams"
import type * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import { bytes, bytesOf, count, defaulted, time } from "../internal/fields.ts"

/**
 * Schema of `upstreams`.
 *
 * @category schemas
 * @since 0.2.0
 */
export const UpstreamsEntry = Schema.Struct({
  sessions: defaulted(
    count(1, 100_000),
    64,
    "Connections to one server that belong to single clients, because it may ask them something"
  ),
  idleTimeout: time("5m", "Time without a request after which such a connection is closed"),
  maxMessageSize: bytes("16mb", "Longest message of a server; holds for servers that are connected from then on")
})
export type UpstreamsEntry = typeof UpstreamsEntry.Type

/**
 * Makes the options. `duration` reads the text of a duration.
 *
 * @category converting
 * @since 0.2.0
 */
export const toOptions = (
  { idleTimeout, maxMessageSize, sessions }: UpstreamsEntry,
  duration: (text: string) => Duration.Duration
): LiveOptions => ({
  maxSessions: sessions,
  idleTimeout: duration(idleTimeout),
  maxMessageSize: bytesOf(maxMessageSize)
})
