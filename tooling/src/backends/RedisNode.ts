/**
 * One process of Redis for tests: a node, or a sentinel.
 *
 * **Gotchas**: what a node wrote survives its end, as the append-only file is written before a command is answered.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { execFile } from "node:child_process"
import type * as Certificates from "./Certificates.ts"
import * as Debian from "./Debian.ts"
import * as Server from "./Server.ts"

// The server is a link to a program of the tools' package.
const packages = {
  package: "redis-server",
  with: ["redis-tools", "libatomic1", "libjemalloc2", "liblzf1", "libssl3"]
}
const binary = Debian.locate({ ...packages, binary: "redis-server" })
const client = Debian.locate({ ...packages, binary: "redis-cli" })

/**
 * Why Redis can't be had on this machine; `undefined` where it can. Fetches it the first time.
 *
 * @category accessors
 * @since 0.2.0
 */
export const unavailable: Effect.Effect<string | undefined> = Effect.match(Effect.andThen(binary, client), {
  onFailure: (error) => error.reason,
  onSuccess: () => undefined
})

/**
 * How Redis is run.
 *
 * @category models
 * @since 0.2.0
 */
export interface RedisOptions {
  /** Of the user `default`, for clients, replicas and sentinels. Default: none. */
  readonly password?: string | undefined
  /** Who vouches for its certificate; plain connections are refused then. Clients may show one of the same authority. */
  readonly tls?: Certificates.Authority | undefined
  /** Settings of the nodes as in `redis.conf`, such as `notify-keyspace-events`. */
  readonly config?: Readonly<Record<string, string>> | undefined
  /** Where the nodes run, in their order, then the sentinels. Default: all on 127.0.0.1. */
  readonly places?: ReadonlyArray<Pick<Server.ServerOptions, "host" | "launcher">> | undefined
}

/**
 * A running node or sentinel.
 *
 * @category models
 * @since 0.2.0
 */
export interface Node extends Server.Server {
  /** As `host:port`. */
  readonly address: string
  /** Answers what `redis-cli` prints; fails with what the node says against it, or after 2 s. */
  readonly cli: (...command: ReadonlyArray<string>) => Effect.Effect<string, Server.ServerError>
}

const cliAt =
  (options: RedisOptions, at: { readonly host: string; readonly port: number }) =>
  (...command: ReadonlyArray<string>): Effect.Effect<string, Server.ServerError> =>
    Effect.flatMap(client, (path) =>
      Effect.callback<string, Server.ServerError>((resume) => {
        const where = ["-h", at.host, "-p", `${at.port}`]
        const child = execFile(
          path,
          // Nobody is fooled here: these are the servers that this process started.
          [...(options.tls === undefined ? [] : ["--tls", "--insecure"]), ...where, "-e", ...command],
          {
            timeout: command[0] === "--cluster" ? 60_000 : 2000,
            killSignal: "SIGKILL",
            env: { ...process.env, ...(options.password === undefined ? {} : { REDISCLI_AUTH: options.password }) }
          },
          (error, stdout, stderr) => {
            const reason = `redis-cli ${command[0]}: ${stderr.trim() || stdout.trim() || error?.message}`
            if (error !== null) {
              resume(Effect.fail(new Server.ServerError({ server: `redis ${at.host}:${at.port}`, reason })))
            } else resume(Effect.succeed(stdout.trim()))
          }
        )
        return Effect.sync(() => child.kill("SIGKILL"))
      })).pipe(
        Effect.catchTag("Unavailable", ({ reason }) => Effect.fail(new Server.ServerError({ server: "redis", reason })))
      )

/**
 * Starts a node, or a sentinel, until the scope closes. `index` is that of its place; `lines` are its own in its settings.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = Effect.fnUntraced(function*(
  options: RedisOptions,
  index: number,
  lines: ReadonlyArray<string> = [],
  kind: "redis" | "redis-sentinel" = "redis"
): Effect.fn.Return<Node, Server.ServerError | Debian.Unavailable, Scope.Scope> {
  const { config = {}, password, tls } = options
  const place = options.places?.[index]
  const host = place?.host ?? "127.0.0.1"
  const certificates = tls === undefined ? {} : yield* Effect.map(
    tls.issue("redis", [host]),
    ({ cert, key }) => ({ "ca.pem": tls.cert, "redis.pem": cert, "redis.key": key })
  )
  const settings = (ports: ReadonlyArray<number>, data: string) => [
    `bind ${host}`,
    // Nobody else is in its network.
    "protected-mode no",
    `dir ${data}`,
    "loglevel warning",
    `port ${tls === undefined ? ports[0] : 0}`,
    ...(tls === undefined ? [] : [
      `tls-port ${ports[0]}`,
      `tls-cert-file ${data}/redis.pem`,
      `tls-key-file ${data}/redis.key`,
      `tls-ca-cert-file ${data}/ca.pem`,
      "tls-auth-clients optional",
      "tls-replication yes"
    ]),
    ...(kind === "redis-sentinel" ? [] : [
      `cluster-port ${ports[1]}`,
      "save \"\"",
      "appendonly yes",
      // Written before each answer, and never held back until the disk has it: it is the process that dies, not the machine.
      "appendfsync no",
      // Replicas are in step at once instead of after 5 s.
      "repl-diskless-sync-delay 0",
      ...(password === undefined ? [] : [`requirepass ${password}`, `masterauth ${password}`]),
      ...Object.entries(config).map(([name, value]) => `${name} ${value}`)
    ]),
    ...lines
  ]
  const server = yield* Server.make({
    ...place,
    name: kind,
    binary: yield* binary,
    scheme: tls === undefined ? "redis" : "rediss",
    // For clients, and for the bus of a cluster.
    ports: 2,
    files: (ports, data) => ({
      // What it learns of its role it writes there too.
      "redis.conf": `${settings(ports, data).join("\n")}\n`,
      ...certificates
    }),
    args: (_, data) => [`${data}/redis.conf`, ...(kind === "redis-sentinel" ? ["--sentinel"] : [])],
    ready: (at) => Effect.filterOrFail(cliAt(options, at)("PING"), (answer) => answer === "PONG")
  })
  return { ...server, address: `${server.host}:${server.port}`, cli: cliAt(options, server) }
})
