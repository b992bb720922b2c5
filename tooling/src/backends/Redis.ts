/**
 * Real Redis for tests: one node, a primary with replicas under Sentinel, a cluster.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Debian from "./Debian.ts"
import { make as node, type Node, type RedisOptions } from "./RedisNode.ts"
import * as Server from "./Server.ts"

export { type Node, type RedisOptions, unavailable } from "./RedisNode.ts"

/**
 * A primary and its replicas.
 *
 * @category models
 * @since 0.2.0
 */
export interface Replicated {
  /** The first one is the primary in the beginning. */
  readonly nodes: ReadonlyArray<Node>
  readonly sentinels: ReadonlyArray<Node>
  /** What the sentinels call the primary. */
  readonly master: string
  /** The primary by the sentinels' word. */
  readonly primary: Effect.Effect<Node, Server.ServerError>
}

/**
 * A cluster: three primaries with a replica each.
 *
 * @category models
 * @since 0.2.0
 */
export interface Cluster {
  readonly nodes: ReadonlyArray<Node>
  /** Those that serve slots, as a node sees it that is in touch with most of them. */
  readonly primaries: Effect.Effect<ReadonlyArray<Node>, Server.ServerError>
}

const until = <A>(
  what: string,
  ask: Effect.Effect<A, Server.ServerError>,
  holds: (answer: A) => boolean
): Effect.Effect<A, Server.ServerError> =>
  ask.pipe(
    Effect.filterOrFail(holds, () => new Server.ServerError({ server: "redis", reason: `no ${what} yet` })),
    Effect.retry(Schedule.spaced("50 millis")),
    Effect.timeoutOrElse({
      duration: "30 seconds",
      orElse: () => Effect.fail(new Server.ServerError({ server: "redis", reason: `no ${what} within 30 s` }))
    })
  )

const among = (nodes: ReadonlyArray<Node>, address: string): Effect.Effect<Node, Server.ServerError> => {
  const found = nodes.find((node) => node.address === address)
  return found === undefined
    ? Effect.fail(new Server.ServerError({ server: "redis", reason: `${address}: none of ours` }))
    : Effect.succeed(found)
}

/**
 * Starts one node until the scope closes.
 *
 * @category constructors
 * @since 0.2.0
 */
export const single = (
  options: RedisOptions = {}
): Effect.Effect<Node, Server.ServerError | Debian.Unavailable, Scope.Scope> => node(options, 0)

/**
 * Starts a primary, two replicas and three sentinels, which take it for dead after a second, until the scope closes.
 *
 * @category constructors
 * @since 0.2.0
 */
export const replicated = Effect.fnUntraced(function*(
  options: RedisOptions = {}
): Effect.fn.Return<Replicated, Server.ServerError | Debian.Unavailable, Scope.Scope> {
  const master = "portolan"
  const first = yield* node(options, 0)
  const replicas = yield* Effect.forEach(
    [1, 2],
    (index) => node(options, index, [`replicaof ${first.host} ${first.port}`]),
    { concurrency: "unbounded" }
  )
  // Sentinels that meet a primary without replicas look again only after 10 s.
  yield* until("replicas", first.cli("INFO", "replication"), (info) => info.match(/state=online/g)?.length === 2)
  const sentinels = yield* Effect.forEach([3, 4, 5], (index) =>
    node(options, index, [
      `sentinel monitor ${master} ${first.host} ${first.port} 2`,
      `sentinel down-after-milliseconds ${master} 1000`,
      `sentinel failover-timeout ${master} 5000`,
      ...(options.password === undefined ? [] : [`sentinel auth-pass ${master} ${options.password}`])
    ], "redis-sentinel"), { concurrency: "unbounded" })
  yield* Effect.forEach(sentinels, (sentinel) =>
    until(
      "agreement of the sentinels",
      sentinel.cli("SENTINEL", "MASTER", master),
      (state) => /^num-slaves\n2$/m.test(state) && /^num-other-sentinels\n2$/m.test(state)
    ))
  const nodes = [first, ...replicas]
  return {
    nodes,
    sentinels,
    master,
    // One that is cut off from the others doesn't know better.
    primary: Effect.flatMap(
      Effect.forEach(
        sentinels,
        (sentinel) => Effect.option(sentinel.cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", master)),
        { concurrency: "unbounded" }
      ),
      (answers) => {
        const said = answers.flatMap(Option.toArray).map((answer) => answer.replace("\n", ":"))
        return among(nodes, said.find((address, at) => said.indexOf(address) !== at) ?? "no agreed primary")
      }
    )
  }
})

/**
 * Starts six nodes, which take one another for dead after two seconds, until the scope closes.
 *
 * @category constructors
 * @since 0.2.0
 */
export const cluster = Effect.fnUntraced(function*(
  options: RedisOptions = {}
): Effect.fn.Return<Cluster, Server.ServerError | Debian.Unavailable, Scope.Scope> {
  const lines = ["cluster-enabled yes", "cluster-node-timeout 2000"]
  if (options.tls !== undefined) lines.push("tls-cluster yes")
  const nodes = yield* Effect.forEach([0, 1, 2, 3, 4, 5], (index) => node(options, index, lines), {
    concurrency: "unbounded"
  })
  const first = nodes[0]!
  const buses = yield* Effect.forEach(nodes, (node) => node.cli("CONFIG", "GET", "cluster-port"))
  yield* first.cli(
    "--cluster",
    "create",
    ...nodes.map((node, index) => `${node.address}@${buses[index]?.split("\n")[1]}`),
    "--cluster-replicas",
    "1",
    "--cluster-yes"
  )
  yield* Effect.forEach(nodes, (node) =>
    until(
      "cluster",
      Effect.all([node.cli("CLUSTER", "INFO"), node.cli("CLUSTER", "NODES")]),
      ([info, nodes]) => info.includes("cluster_state:ok") && nodes.match(/slave /g)?.length === 3
    ))
  yield* Effect.forEach(
    nodes,
    (node) =>
      until("replicas", node.cli("INFO", "replication"), (info) => /state=online|master_link_status:up/.test(info))
  )

  // One that is cut off from most says that the cluster has failed.
  const table = Effect.raceAll(nodes.map((node) =>
    Effect.andThen(
      Effect.filterOrFail(
        node.cli("CLUSTER", "INFO"),
        (info) => info.includes("cluster_state:ok"),
        () => new Server.ServerError({ server: "redis", reason: "the cluster is down" })
      ),
      node.cli("CLUSTER", "NODES")
    )
  ))
  return {
    nodes,
    primaries: Effect.flatMap(table, (table) =>
      Effect.forEach(
        table.split("\n").map((line) => line.split(" ")).filter(([, , flags = "", , , , , , slots]) =>
          flags.includes("master") && !flags.includes("fail") && slots !== undefined
        ),
        ([, address = ""]) => among(nodes, address.replace(/@.*$/, ""))
      ))
  }
})
