/**
 * A real etcd of one member for tests.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Debian from "./Debian.ts"
import * as Server from "./Server.ts"

const binary = Debian.locate({ package: "etcd-server", binary: "etcd" })

/**
 * Why etcd can't be had on this machine; `undefined` where it can. Fetches it the first time.
 *
 * @category accessors
 * @since 0.1.0
 */
export const unavailable: Effect.Effect<string | undefined> = Effect.match(binary, {
  onFailure: (error) => error.reason,
  onSuccess: () => undefined
})

/**
 * Starts etcd until the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Server.Server, Server.ServerError | Debian.Unavailable, Scope.Scope> = Effect.flatMap(
  binary,
  (path) =>
    Server.make({
      name: "etcd",
      binary: path,
      ports: 2,
      args: ([client, peer], data) => [
        "--name=one",
        `--data-dir=${data}`,
        "--unsafe-no-fsync",
        "--log-level=error",
        `--listen-client-urls=http://127.0.0.1:${client}`,
        `--advertise-client-urls=http://127.0.0.1:${client}`,
        `--listen-peer-urls=http://127.0.0.1:${peer}`,
        `--initial-advertise-peer-urls=http://127.0.0.1:${peer}`,
        `--initial-cluster=one=http://127.0.0.1:${peer}`
      ],
      ready: { path: "/health", when: (body) => body.includes("\"true\"") }
    })
)
