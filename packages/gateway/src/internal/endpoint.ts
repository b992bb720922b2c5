/**
 * The settings of the MCP endpoint, from those of the gateway.
 */
import type { LiveOptions } from "@portolan/mcp/relay/McpEndpoint"
import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import type { GatewayOptions } from "../Gateway.ts"

const millis = (duration: Duration.Input | undefined): number | undefined =>
  duration === undefined ? undefined : Duration.toMillis(Duration.fromInputUnsafe(duration))

/** What may change while it runs. */
export const liveOptionsOf = ({ limits = {}, ...options }: GatewayOptions): LiveOptions => ({
  sessionKey: options.sessionKey === undefined ? undefined : Redacted.make(options.sessionKey),
  sessions: options.sessions,
  showRouting: options.showRouting,
  pageSize: options.pageSize,
  listTtl: millis(options.listTtl),
  maxCached: options.resourceCache,
  maxBody: options.bodyLimit,
  inputTimeout: millis(options.inputTimeout),
  sessionIdleTimeout: millis(options.sessionIdleTimeout),
  sessionLifetime: millis(options.sessionLifetime),
  maxSessions: limits.sessions,
  maxSessionsPerClient: limits.sessionsPerClient,
  maxRequests: limits.requests,
  maxInFlightPerSession: limits.requestsPerSession,
  maxStreams: limits.streams,
  maxSubscriptions: limits.subscriptions,
  maxParked: limits.parked,
  maxParkedPerClient: limits.parkedPerClient,
  maxReplay: limits.replay
})
