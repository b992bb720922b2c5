/**
 * A real Consul server of one member for tests.
 *
 * **Gotchas**: it isn't run with `-dev`, which keeps nothing, so that it can be started anew with its data.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Debian from "./Debian.ts"
import * as Server from "./Server.ts"

// The last release of Debian that carries it.
const binary = Debian.locate({ package: "consul", binary: "consul", suite: "bullseye" })

/**
 * Why Consul can't be had on this machine; `undefined` where it can. Fetches it the first time.
 *
 * @category accessors
 * @since 0.1.0
 */
export const unavailable: Effect.Effect<string | undefined> = Effect.match(binary, {
  onFailure: (error) => error.reason,
  onSuccess: () => undefined
})

/**
 * Starts Consul until the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Server.Server, Server.ServerError | Debian.Unavailable, Scope.Scope> = Effect.flatMap(
  binary,
  (path) =>
    Server.make({
      name: "consul",
      binary: path,
      ports: 3,
      args: ([http, rpc, lan], data) => [
        "agent",
        "-server",
        "-bootstrap-expect=1",
        `-data-dir=${data}`,
        "-bind=127.0.0.1",
        "-client=127.0.0.1",
        `-http-port=${http}`,
        `-server-port=${rpc}`,
        `-serf-lan-port=${lan}`,
        "-serf-wan-port=-1",
        "-dns-port=-1",
        "-grpc-port=-1",
        "-node=one",
        "-disable-host-node-id",
        "-log-level=warn",
        // The defaults suit networks; on one machine the election may be quick.
        "-hcl=performance { raft_multiplier = 1 }"
      ],
      ready: { path: "/v1/status/leader", when: (body) => body.includes(":") }
    })
)
