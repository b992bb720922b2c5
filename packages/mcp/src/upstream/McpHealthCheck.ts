/**
 * The active check of MCP servers: it speaks MCP. A port that is open, or an HTTP 200 with an error in it, is not health.
 *
 * @since 0.1.0
 */
import { type CheckResult, Health, type HealthCheck } from "@portolan/core/Health"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Code } from "../JsonRpc.ts"
import { oneLine } from "./transports/Connection.ts"
import { Upstreams } from "./Upstreams.ts"

const pass: CheckResult = { _tag: "Pass" }
const skip: CheckResult = { _tag: "Skip" }

/**
 * Makes the check: `ping` in the handshake era, `server/discover` in the stateless, over the upstream that calls take.
 *
 * **Details**: an upstream that is connecting is waited for, within the time-out of the check. One that can't be connected
 * fails at once, whatever the threshold: nothing could be called there. One that turns the check away with HTTP 429 lives, and
 * isn't to be asked more often for it: it is degraded. What isn't an MCP server is skipped.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (upstreams: Upstreams["Service"]): HealthCheck => (_, key) =>
  Effect.suspend(() => {
    const upstream = upstreams.get(key)
    if (upstream === undefined) return Effect.succeed(skip)
    return upstream.connect.pipe(
      Effect.flatMap(({ era }) => {
        const method = era === "handshake" ? "ping" : "server/discover"
        return Effect.map(upstream.request({ method }), (reply): CheckResult => {
          if ("result" in reply) return pass
          const { code, message } = reply.error
          // A server without `ping` answered: it is there and speaks.
          if (method === "ping" && code === Code.methodNotFound) return pass
          return {
            _tag: "Fail",
            reason: oneLine(`${method} was answered with error ${code}: ${message}`),
            fatal: false
          }
        })
      }),
      Effect.catchTag(
        "UpstreamError",
        ({ phase, reason, status }) =>
          Effect.succeed<CheckResult>(
            status === 429 && upstream.state()._tag === "connected"
              ? { _tag: "Degraded", reason }
              : { _tag: "Fail", reason, fatal: phase === "notSent" }
          )
      )
    )
  })

/**
 * Layer that adds the check to `Health`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<never, never, Health | Upstreams> = Layer.effectDiscard(
  Effect.gen(function*() {
    const health = yield* Health
    yield* health.addCheck(make(yield* Upstreams))
  })
)
