/**
 * Real etcd for tests: one member, or a cluster of three.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Certificates from "./Certificates.ts"
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
 * How etcd is run.
 *
 * @category models
 * @since 0.2.0
 */
export interface EtcdOptions {
  /** More of its flags, such as `--auth-token-ttl=1`. */
  readonly flags?: ReadonlyArray<string> | undefined
  /** Who vouches for the members towards clients; clients must show a certificate of the same authority. */
  readonly tls?: Certificates.Authority | undefined
  /** Where the members run, in their order. Default: 127.0.0.1, .2 and .3. */
  readonly places?: ReadonlyArray<Pick<Server.ServerOptions, "host" | "launcher">> | undefined
}

/**
 * Members that decide by majority.
 *
 * @category models
 * @since 0.2.0
 */
export interface Cluster {
  readonly members: ReadonlyArray<Server.Server>
  /** The addresses of all members, for clients. */
  readonly endpoints: ReadonlyArray<string>
  /** The member that leads, by the word of most; waits for an election under way. */
  readonly leader: Effect.Effect<Server.Server, Server.ServerError>
  /** Ends all members, forgets their data, starts them. */
  readonly restartEmpty: Effect.Effect<void, Server.ServerError>
}

interface Member {
  readonly name: string
  readonly host: string
  readonly launcher?: ReadonlyArray<string> | undefined
  /** For clients, and for the other members. */
  readonly ports: ReadonlyArray<number>
}

const member = Effect.fnUntraced(function*(
  { host, launcher, name, ports }: Member,
  cluster: ReadonlyArray<Member>,
  { flags = [], tls }: EtcdOptions
): Effect.fn.Return<Server.Server, Server.ServerError | Debian.Unavailable, Scope.Scope> {
  const path = yield* binary
  const issued = tls === undefined ? undefined : yield* tls.issue(name, [host])
  const scheme = tls === undefined ? "http" : "https"
  const peer = (member: Member) => `http://${member.host}:${member.ports[1]}`
  return yield* Server.make({
    name: "etcd",
    binary: path,
    host,
    launcher,
    ports,
    args: ([client], data) => [
      `--name=${name}`,
      `--data-dir=${data}/etcd`,
      "--unsafe-no-fsync",
      "--log-level=error",
      `--listen-client-urls=${scheme}://${host}:${client}`,
      `--advertise-client-urls=${scheme}://${host}:${client}`,
      `--listen-peer-urls=${peer({ host, name, ports })}`,
      `--initial-advertise-peer-urls=${peer({ host, name, ports })}`,
      `--initial-cluster=${cluster.map((member) => `${member.name}=${peer(member)}`).join()}`,
      ...(tls === undefined ? [] : [
        "--client-cert-auth",
        `--trusted-ca-file=${data}/ca.pem`,
        `--cert-file=${data}/etcd.pem`,
        `--key-file=${data}/etcd.key`
      ]),
      ...flags
    ],
    ...(tls === undefined || issued === undefined ? {} : {
      files: () => ({ "ca.pem": tls.cert, "etcd.pem": issued.cert, "etcd.key": issued.key }),
      tls: { ca: tls.cert, ...issued }
    }),
    ready: { path: "/health", when: (body) => body.includes("\"true\"") }
  })
})

// In a network of its own every port is as free as here.
const membersAt = (places: NonNullable<EtcdOptions["places"]>) =>
  Effect.forEach(
    places,
    ({ host = "127.0.0.1", launcher }, index): Effect.Effect<Member, Server.ServerError> =>
      Effect.map(
        Server.freePorts(2, launcher === undefined ? host : undefined),
        (ports) => ({ name: `member-${index + 1}`, host, launcher, ports })
      )
  )

/**
 * Starts one member until the scope closes.
 *
 * @category constructors
 * @since 0.2.0
 */
export const single = Effect.fnUntraced(function*(
  options: EtcdOptions = {}
): Effect.fn.Return<Server.Server, Server.ServerError | Debian.Unavailable, Scope.Scope> {
  const [only] = yield* membersAt([options.places?.[0] ?? {}])
  if (only === undefined) return yield* Effect.die("one place is one member")
  return yield* member(only, [only], options)
})

/**
 * One member as it comes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Server.Server, Server.ServerError | Debian.Unavailable, Scope.Scope> = single()

const Status = Schema.fromJsonString(Schema.Struct({
  header: Schema.Struct({ member_id: Schema.String }),
  /** Zero where the member knows none. */
  leader: Schema.optionalKey(Schema.String)
}))

/** The member's id and whom it takes for the leader; none where it doesn't answer within a second. */
const statusOf = (member: Server.Server) =>
  Effect.tryPromise(async () => {
    const url = `${member.url}/v3/maintenance/status`
    const response = await fetch(url, { method: "POST", body: "{}", signal: AbortSignal.timeout(1000) })
    return response.text()
  }).pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(Status)),
    Effect.map(({ header, leader }) => ({ member, id: header.member_id, leader })),
    Effect.option
  )

const leaderOf = (members: ReadonlyArray<Server.Server>): Effect.Effect<Server.Server, Server.ServerError> =>
  Effect.gen(function*() {
    const statuses = (yield* Effect.forEach(members, statusOf, { concurrency: "unbounded" })).flatMap(Option.toArray)
    // One that is cut off from the others doesn't know better.
    const leader = statuses.find(({ id }) =>
      statuses.filter((status) => status.leader === id).length * 2 > members.length
    )
    if (leader === undefined) return yield* new Server.ServerError({ server: "etcd", reason: "no leader" })
    return leader.member
  }).pipe(Effect.retry({ schedule: Schedule.spaced("50 millis"), times: 400 }))

/**
 * Starts three members until the scope closes.
 *
 * **Details**: members alone are not ready, so they are started together; one that is started anew while no other runs
 * waits for a second one for as long as `Server` waits.
 *
 * @category constructors
 * @since 0.2.0
 */
export const cluster = Effect.fnUntraced(function*(
  options: Omit<EtcdOptions, "tls"> = {}
): Effect.fn.Return<Cluster, Server.ServerError | Debian.Unavailable, Scope.Scope> {
  const all = yield* membersAt(options.places ?? [{}, { host: "127.0.0.2" }, { host: "127.0.0.3" }])
  const members = yield* Effect.forEach(all, (one) => member(one, all, options), { concurrency: "unbounded" })
  const each = <A, E>(act: (member: Server.Server) => Effect.Effect<A, E>) =>
    Effect.forEach(members, act, { concurrency: "unbounded", discard: true })
  return {
    members,
    endpoints: members.map(({ url }) => url),
    leader: leaderOf(members),
    restartEmpty: Effect.andThen(each(({ kill }) => kill), each(({ restartEmpty }) => restartEmpty))
  }
})
