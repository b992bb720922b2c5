/**
 * Where Redis is: what the settings say of it, and the ioredis client that they make.
 *
 * @since 0.2.0
 */
import type { TlsOptions } from "@portolan/core/Registry"
import * as Result from "effect/Result"
import { Cluster, Redis as Node } from "ioredis"

/**
 * Where Redis is, and who we are there. One of `url`, `sentinels` with `master`, and `cluster` is needed.
 *
 * @category models
 * @since 0.2.0
 */
export interface TargetOptions {
  /** A single node: `redis://[user[:password]@]host[:port][/database]`, or `rediss://` for TLS. */
  readonly url?: string | undefined
  /** Sentinels, as `host:port`. */
  readonly sentinels?: ReadonlyArray<string> | undefined
  /** Name of the primary that the sentinels watch. */
  readonly master?: string | undefined
  /** Nodes of a cluster, as `host:port`; the others are found through them. */
  readonly cluster?: ReadonlyArray<string> | undefined
  /** Where nodes are reached from here, by the `host:port` that sentinels or the cluster call them: through a tunnel, say. */
  readonly nodeAddresses?: Readonly<Record<string, string>> | undefined
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** Of the sentinels, where they ask for one. */
  readonly sentinelUsername?: string | undefined
  readonly sentinelPassword?: string | undefined
  /** Of a single node or behind sentinels. Default 0. */
  readonly database?: number | undefined
  /** Turns TLS on, towards sentinels too. Default: only with a `rediss:` URL. */
  readonly tls?: TlsOptions | undefined
}

/** ms that a connection may take, and each command. */
export const deadline = 3_000

/** ms after which a connection is cut that isn't closed by the other side. */
const farewell = 50

/**
 * Where a node listens.
 *
 * @category models
 * @since 0.2.0
 */
export interface Address {
  readonly host: string
  readonly port: number
}

/**
 * What the settings say.
 *
 * @category models
 * @since 0.2.0
 */
export interface Target {
  /** A client that isn't connected yet. Behind sentinels `primary` is where they say that it is. */
  readonly client: (primary?: Address) => Node | Cluster
  /** The same of each sentinel, and the name that they know the primary by. */
  readonly sentinels: ReadonlyArray<() => Node>
  readonly master: string | undefined
  readonly database: number
  /** Where a node is reached from here that sentinels or the cluster call so. */
  readonly reachedAt: (named: Address) => Address
  /** What no message may hold. */
  readonly secrets: ReadonlyArray<string>
}

/**
 * Reads the settings. The failure is a line that tells what is wrong about them.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (options: TargetOptions): Result.Result<Target, string> =>
  Result.gen(function*() {
    const { cluster, database = 0, master, sentinels } = options
    const ways = [options.url, sentinels, cluster].filter((way) => way !== undefined).length
    if (ways !== 1) return yield* Result.fail("expected one of url, sentinels (with master) and cluster")
    if (master !== undefined && sentinels === undefined) return yield* Result.fail("master: only sentinels know one")
    const url = options.url === undefined ? undefined : yield* urlOf(options.url)
    const secrets = [options.password, options.sentinelPassword, url?.password].filter((secret) => secret !== undefined)
    const tls = options.tls === undefined && url?.secure !== true ? {} : { tls: tlsOf(options.tls ?? {}) }
    const reached = new Map<string, Address>()
    for (const [named, text] of Object.entries(options.nodeAddresses ?? {})) {
      reached.set(named, yield* addressFrom("nodeAddresses", text, 6379))
    }
    const natMap = (named: string) => reached.get(named) ?? null
    const reachedAt = (named: Address) => natMap(`${named.host}:${named.port}`) ?? named
    const common = {
      username: options.username ?? url?.username,
      password: options.password ?? url?.password,
      ...tls,
      lazyConnect: true,
      retryStrategy: null,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      connectTimeout: deadline,
      commandTimeout: deadline,
      disconnectTimeout: farewell,
      // Asks for permissions that a user of its own needs not have; a node that is still loading says so anyway.
      enableReadyCheck: false,
      disableClientInfo: true,
      connectionName: "portolan"
    }
    if (cluster !== undefined) {
      if (database !== 0) return yield* Result.fail("database: a cluster has none but 0")
      const nodes = yield* addresses("cluster", cluster, 6379)
      const client = () =>
        asked(
          new Cluster(nodes, {
            natMap,
            lazyConnect: true,
            clusterRetryStrategy: () => null,
            // What is moved is followed; what is down is not waited for.
            retryDelayOnFailover: 0,
            retryDelayOnClusterDown: 0,
            // Asked for when it matters: ioredis's own timer can outlive its client.
            slotsRefreshInterval: 0,
            enableReadyCheck: false,
            // A name is left to the connection, as a certificate may be of that name.
            dnsLookup: (address, found) => found(null, address),
            redisOptions: common
          })
        )
      return { client, sentinels: [], master, database, reachedAt, secrets }
    }
    if (sentinels !== undefined) {
      if (master === undefined) return yield* Result.fail("master: expected the name that the sentinels know it by")
      const nodes = yield* addresses("sentinels", sentinels, 26_379)
      const client = (primary?: Address) => {
        const at = primary === undefined ? {} : reachedAt(primary)
        return new Node({ ...common, ...at, db: database })
      }
      const credentials = { username: options.sentinelUsername, password: options.sentinelPassword }
      return {
        client,
        sentinels: nodes.map((node) => () => new Node({ ...common, ...node, ...credentials })),
        master,
        database,
        reachedAt,
        secrets
      }
    }
    const db = options.database ?? url?.database ?? 0
    const at = url === undefined ? {} : { host: url.host, port: url.port }
    return { client: () => new Node({ ...common, ...at, db }), sentinels: [], master, database: db, reachedAt, secrets }
  })

/**
 * ioredis asks a node that a slot moves to for leave (`ASKING`) and looks at no answer: one that fails would be a rejection
 * of nobody's, and end the process. The command after it tells by itself.
 */
const asked = (cluster: Cluster): Cluster =>
  cluster.on("+node", (node: Node) => {
    const ask = node.asking.bind(node)
    node.asking = () => {
      const answer = ask()
      answer.catch(() => {})
      return answer
    }
  })

const urlOf = (text: string) => {
  const url = URL.parse(text)
  const secure = url?.protocol === "rediss:"
  const database = url === null || url.pathname.length < 2 ? undefined : Number(url.pathname.slice(1))
  if (
    url === null || !secure && url.protocol !== "redis:" || url.hostname === "" ||
    database !== undefined && !Number.isInteger(database)
  ) return Result.fail("url: expected redis://[user[:password]@]host[:port][/database], or rediss:// for TLS")
  return Result.succeed({
    secure,
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? 6379 : Number(url.port),
    database,
    username: url.username === "" ? undefined : decoded(url.username),
    password: url.password === "" ? undefined : decoded(url.password)
  })
}

const decoded = (text: string): string => Result.getOrElse(Result.try(() => decodeURIComponent(text)), () => text)

const addressFrom = (what: string, text: string, defaultPort: number): Result.Result<Address, string> => {
  const groups = /^(?:\[(?<v6>[^\]]+)\]|(?<name>[^:[\]\s/@]+))(?::(?<port>\d+))?$/.exec(text)?.groups
  const host = groups?.["v6"] ?? groups?.["name"]
  // Not the text itself: somebody may have written a URL with a password.
  if (host === undefined) return Result.fail(`${what}: expected host:port of each node`)
  return Result.succeed({ host, port: Number(groups?.["port"] ?? defaultPort) })
}

const addresses = (what: string, texts: ReadonlyArray<string>, defaultPort: number) =>
  texts.length === 0
    ? Result.fail(`${what}: expected host:port of at least one node`)
    : Result.all(texts.map((text) => addressFrom(what, text, defaultPort)))

const tlsOf = ({ ca, cert, key, passphrase, serverName }: TlsOptions) => ({
  ...(ca === undefined ? {} : { ca }),
  ...(cert === undefined ? {} : { cert }),
  ...(key === undefined ? {} : { key }),
  ...(passphrase === undefined ? {} : { passphrase }),
  ...(serverName === undefined ? {} : { servername: serverName })
})
