/**
 * Real Consul for tests: one server, three of one datacenter, or two datacenters that know each other; on request with
 * TLS and access control.
 *
 * **Gotchas**: it isn't run with `-dev`, which keeps nothing, so that it can be started anew with its data. Sessions may
 * live for a second, which production refuses: `settings: { session_ttl_min: "10s" }` gives that back.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
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
 * How a server differs from one that is open to everybody on 127.0.0.1.
 *
 * @category models
 * @since 0.2.0
 */
export interface ConsulOptions {
  /** Serves HTTPS alone; `clients` only to those with a certificate of the same authority. PEM texts. */
  readonly tls?: {
    readonly ca: string
    readonly cert: string
    readonly key: string
    readonly clients?: boolean | undefined
  } | undefined
  /** Turns access control on: whoever has this token (a UUID) may do everything, whoever has none nothing. */
  readonly token?: string | undefined
  /** More of its configuration, by the names of Consul's files. */
  readonly settings?: Readonly<Record<string, unknown>> | undefined
}

/**
 * Where a member runs: an address of this machine, or one that a command leads to.
 *
 * @category models
 * @since 0.2.0
 */
export type Place = Pick<Server.ServerOptions, "host" | "launcher">

/**
 * Three servers of one datacenter.
 *
 * @category models
 * @since 0.2.0
 */
export interface Cluster {
  readonly members: ReadonlyArray<Server.Server>
  /** The member that leads now; waits for an election that is under way. */
  readonly leader: Effect.Effect<Server.Server, Server.ServerError>
  /** Ends all, forgets their data, starts them. */
  readonly restartEmpty: Effect.Effect<void, Server.ServerError>
}

/**
 * Two datacenters of one server each, which answer for each other.
 *
 * @category models
 * @since 0.2.0
 */
export interface Federation {
  readonly east: Server.Server
  readonly west: Server.Server
}

type Made<A> = Effect.Effect<A, Server.ServerError | Debian.Unavailable, Scope.Scope>

/**
 * Starts one server until the scope closes.
 *
 * @category constructors
 * @since 0.2.0
 */
export const single = (options: ConsulOptions = {}): Made<Server.Server> =>
  Effect.flatMap(Server.freePorts(portsOfMember), (ports) => member(options, { node: "one", ports }))

/**
 * Starts one server that is open to everybody until the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Made<Server.Server> = Effect.suspend(() => single())

/**
 * Starts three servers until the scope closes; by default on 127.0.0.1, .2 and .3.
 *
 * @category constructors
 * @since 0.2.0
 */
export const cluster = Effect.fnUntraced(function*(
  options: Omit<ConsulOptions, "tls"> & { readonly places?: ReadonlyArray<Place> | undefined } = {}
): Effect.fn.Return<Cluster, Server.ServerError | Debian.Unavailable, Scope.Scope> {
  // Each is told the addresses of all before any has started.
  const seats = yield* Effect.forEach(options.places ?? loopback, (place, index) =>
    Effect.map(
      Server.freePorts(portsOfMember, place.launcher === undefined ? place.host : undefined),
      (ports): Seat => ({ ...place, ports, node: `n${index + 1}` })
    ))
  const join = seats.map(({ host = "127.0.0.1", ports: [, , lan] }) => `${host}:${lan}`)
  const members = yield* Effect.forEach(
    seats,
    (seat) => member(options, { ...seat, settings: { bootstrap_expect: seats.length, retry_join: join } }),
    { concurrency: "unbounded" }
  )

  // A dead one is still named for a while by those that followed it: only one that names itself leads.
  const leads = (server: Server.Server, index: number) =>
    Effect.tryPromise({
      try: async () => {
        const response = await fetch(`${server.url}/v1/status/leader`, { signal: AbortSignal.timeout(1000) })
        const leader: unknown = await response.json()
        if (leader !== `${server.host}:${seats[index]?.ports[1]}`) throw new Error(`it follows "${String(leader)}"`)
        return server
      },
      catch: (cause) => new Server.ServerError({ server: server.url, reason: String(cause) })
    })
  return {
    members,
    leader: soon("no leader", Effect.raceAll(members.map(leads))),
    restartEmpty: Effect.andThen(
      // One that is still there would hand its data to one that comes back.
      Effect.forEach(members, (server) => server.kill, { discard: true }),
      Effect.forEach(members, (server) => server.restartEmpty, { concurrency: "unbounded", discard: true })
    )
  }
})

/**
 * Starts two datacenters until the scope closes.
 *
 * @category constructors
 * @since 0.2.0
 */
export const federation: Made<Federation> = Effect.gen(function*() {
  const seats = yield* Effect.all({
    east: Server.freePorts(portsOfMember),
    west: Server.freePorts(portsOfMember, "127.0.0.2")
  })
  const settings = {
    retry_join_wan: [`127.0.0.1:${seats.east[3]}`, `127.0.0.2:${seats.west[3]}`],
    // The defaults suit oceans.
    gossip_wan: { probe_interval: "200ms", probe_timeout: "100ms", gossip_interval: "100ms" }
  }
  const servers = yield* Effect.all({
    east: member({}, { node: "east", ports: seats.east, settings: { ...settings, datacenter: "east" } }),
    west: member({}, {
      node: "west",
      host: "127.0.0.2",
      ports: seats.west,
      settings: { ...settings, datacenter: "west" }
    })
  }, { concurrency: "unbounded" })
  const sees = (server: Server.Server, other: string) =>
    Effect.tryPromise({
      try: async () => {
        const response = await fetch(`${server.url}/v1/catalog/nodes?dc=${other}`, {
          signal: AbortSignal.timeout(1000)
        })
        if (!response.ok) throw new Error(await response.text())
      },
      catch: (cause) => new Server.ServerError({ server: server.url, reason: `no way to ${other}: ${String(cause)}` })
    })
  yield* soon(
    "the datacenters don't see each other",
    Effect.all([sees(servers.east, "west"), sees(servers.west, "east")])
  )
  return servers
})

/** Asks again and again, for half a minute at most. */
const soon = <A>(lacking: string, effect: Effect.Effect<A, Server.ServerError>): Effect.Effect<A, Server.ServerError> =>
  Effect.timeoutOrElse(Effect.retry(effect, Schedule.spaced("50 millis")), {
    duration: "30 seconds",
    orElse: () => Effect.fail(new Server.ServerError({ server: "consul", reason: `${lacking} after 30 s` }))
  })

/** Of one server: for clients, servers, members of its datacenter, other datacenters. */
const portsOfMember = 4

const loopback: ReadonlyArray<Place> = ["127.0.0.1", "127.0.0.2", "127.0.0.3"].map((host) => ({ host }))

interface Seat extends Place {
  readonly node: string
  readonly ports: ReadonlyArray<number>
}

const member = (
  { settings, tls, token }: ConsulOptions,
  { host = "127.0.0.1", launcher, node, ports, ...seat }: Seat & Pick<ConsulOptions, "settings">
): Made<Server.Server> =>
  Effect.flatMap(binary, (path) =>
    Server.make({
      name: "consul",
      binary: path,
      host,
      launcher,
      ports,
      tls,
      args: (_, data) => ["agent", `-config-file=${data}/consul.json`, `-data-dir=${data}`],
      files: ([client, rpc, lan, wan], data) => ({
        ...(tls === undefined ? {} : { "ca.pem": tls.ca, "cert.pem": tls.cert, "key.pem": tls.key }),
        "consul.json": JSON.stringify({
          server: true,
          bootstrap_expect: 1,
          node_name: node,
          bind_addr: host,
          client_addr: host,
          ports: {
            http: -1,
            [tls === undefined ? "http" : "https"]: client,
            server: rpc,
            serf_lan: lan,
            serf_wan: wan,
            dns: -1,
            grpc: -1
          },
          disable_host_node_id: true,
          disable_update_check: true,
          log_level: "warn",
          // The defaults suit networks; on one machine an election may be quick.
          performance: { raft_multiplier: 1 },
          retry_interval: "200ms",
          retry_interval_wan: "200ms",
          session_ttl_min: "1s",
          ...(tls === undefined ? {} : {
            ca_file: `${data}/ca.pem`,
            cert_file: `${data}/cert.pem`,
            key_file: `${data}/key.pem`,
            verify_incoming_https: tls.clients ?? false
          }),
          ...(token === undefined ? {} : {
            acl: { enabled: true, default_policy: "deny", tokens: { master: token, agent: token } }
          }),
          ...seat.settings,
          ...settings
        })
      }),
      // It has a leader, and has told it all about itself, which it does within 3 s. What is registered while it does so
      // makes it tell of checks that lapse up to 30 s late.
      ready: {
        path: `/v1/catalog/node/${node}${token === undefined ? "" : `?token=${token}`}`,
        when: (body) => body.includes(`"${node}"`) && /"TaggedAddresses":\s*\{/.test(body)
      }
    }))
