import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import { liveOptionsOf } from "../src/internal/endpoint.ts"
import { parsed } from "./configurations.ts"

describe("the settings of the MCP endpoint", () => {
  it("are each set by a key of its own", () => {
    const { gateway, upstreams } = parsed({
      gateway: {
        sessionKey: "secret",
        sessions: "strict",
        showRouting: false,
        pageSize: 11,
        listTtl: "12s",
        resourceCache: "13kb",
        bodyLimit: "14kb",
        inputTimeout: "15s",
        sessionIdleTimeout: "16m",
        sessionLifetime: "17h",
        limits: {
          sessions: 21,
          sessionsPerClient: 22,
          requests: 23,
          requestsPerSession: 24,
          streams: 25,
          subscriptions: 29,
          parked: 26,
          parkedPerClient: 27,
          replay: "28kb"
        }
      },
      upstreams: { sessions: 31, idleTimeout: "32s", maxMessageSize: "33mb" }
    })
    assert.deepStrictEqual(liveOptionsOf(gateway), {
      sessionKey: Redacted.make("secret"),
      sessions: "strict",
      showRouting: false,
      pageSize: 11,
      listTtl: 12_000,
      maxCached: 13 * 1_024,
      maxBody: 14 * 1_024,
      inputTimeout: 15_000,
      sessionIdleTimeout: 16 * 60_000,
      sessionLifetime: 17 * 3_600_000,
      maxSessions: 21,
      maxSessionsPerClient: 22,
      maxRequests: 23,
      maxInFlightPerSession: 24,
      maxStreams: 25,
      maxSubscriptions: 29,
      maxParked: 26,
      maxParkedPerClient: 27,
      maxReplay: 28 * 1_024
    })
    assert.deepStrictEqual(upstreams, {
      maxSessions: 31,
      idleTimeout: Duration.seconds(32),
      maxMessageSize: 33 * 1_048_576
    })
  })

  it("that nobody sets are the endpoint's own", () => {
    assert.deepStrictEqual(Object.values(liveOptionsOf({})).filter((value) => value !== undefined), [])
  })
})
