/**
 * The adapters that the configuration knows, by their `type`. An adapter's code is loaded when a registry of its type is
 * opened, and never otherwise.
 */
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as RecordFormat from "@portolan/core/RecordFormat"
import { RegistryError } from "@portolan/core/Registry"
import * as Configuration from "@portolan/gateway/configuration/Configuration"
import { EncryptionEntry } from "@portolan/gateway/configuration/EncryptionEntry"
import { reveal, secret } from "@portolan/gateway/configuration/Secret"
import * as TlsEntry from "@portolan/gateway/configuration/TlsEntry"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Path from "node:path"

const optional = <S extends Schema.Top>(schema: S, description: string) =>
  Schema.optionalKey(schema.annotate({ description }))

/** The description stands on the string itself: that of a check doesn't reach the JSON Schema. */
const text = (expected: string, holds: (text: string) => boolean, description: string) => {
  const told = { expected, message: `expected ${expected}` }
  return Schema.String.annotate({ ...told, description }).pipe(
    Schema.check(Schema.makeFilter((value: string) => holds(value) ? undefined : told.message, told))
  )
}

const httpUrl = (description: string) =>
  text("an http(s) URL", (value) => ["http:", "https:"].includes(URL.parse(value)?.protocol ?? ""), description)

const hostPort = (description: string) =>
  text(
    "host:port",
    (value) => /^(\[[\da-f:.]+\]|[^\s/:@]+):\d{1,5}$/i.test(value) && URL.canParse(`tcp://${value}`),
    description
  )

/** Of what may follow the host only the number of a database means something; the rest would be passed over in silence. */
const isRedisUrl = (value: string): boolean => {
  const url = URL.parse(value)
  return url !== null && ["redis:", "rediss:"].includes(url.protocol) && url.hostname !== "" &&
    /^\/?\d*$/.test(url.pathname) && url.search === "" && url.hash === ""
}

const Names = Schema.Array(Schema.NonEmptyString)

/** What is secret of the way to a backend, and of the records in it. */
const protection = {
  tls: Schema.optionalKey(TlsEntry.TlsEntry),
  encryption: Schema.optionalKey(EncryptionEntry)
}

/** Whoever asks for TLS must not be without it because of an address. */
const withTls = (urls: ReadonlyArray<string>) =>
  urls.every((url) => URL.parse(url)?.protocol === "https:")
    ? undefined
    : { path: ["tls"], issue: "needs addresses that begin with https" }

interface Protection {
  readonly tls: TlsEntry.TlsEntry | undefined
  readonly encryption: EncryptionEntry | undefined
}

/** What every adapter takes beside its own options; the adapter's own trust holds where nothing is said. */
const common = ({ name, trust }: Configuration.OpenContext) => ({ name, ...(trust === undefined ? {} : { trust }) })

/** The same for those of backends that are reached over a network. */
const remote = (context: Configuration.OpenContext, { encryption, tls }: Protection) =>
  Effect.gen(function*() {
    const format = encryption === undefined
      ? undefined
      : yield* Effect.mapError(
        RecordFormat.sealed(encryption),
        (reason) => new RegistryError({ registry: context.name, operation: "open", reason })
      )
    return { ...common(context), format, tls: tls === undefined ? undefined : TlsEntry.toOptions(tls) }
  })

const file = Configuration.adapter({
  type: "file",
  options: Schema.Struct({
    path: Schema.NonEmptyString.annotate({ description: "JSON or YAML file, relative to the configuration file" })
  }),
  name: ({ path }) => path,
  open: ({ path }, context) =>
    Effect.flatMap(
      Effect.promise(() => import("@portolan/file/FileRegistry")),
      (FileRegistry) => FileRegistry.make({ ...common(context), path: Path.resolve(context.directory, path) })
    )
})

const memory = Configuration.adapter({
  type: "memory",
  // A struct without keys would take any.
  options: Schema.Record(Schema.String, Schema.Unknown).pipe(
    Schema.check(
      Schema.makeFilter((options) => Object.keys(options).map((key) => ({ path: [key], issue: "unknown key" })))
    )
  ),
  open: (_, context) => MemoryRegistry.make(common(context))
})

const consul = Configuration.adapter({
  type: "consul",
  options: Schema.Struct({
    url: httpUrl("Address of an agent, such as http://127.0.0.1:8500"),
    tag: optional(
      Schema.Union([Schema.NonEmptyString, Names]),
      "Only services with this tag, or with all of these; announced services get them"
    ),
    services: optional(Names, "Only services of these names"),
    datacenter: optional(Schema.NonEmptyString, "Datacenter that is read; that of the agent by default"),
    datacenters: optional(
      Schema.NonEmptyArray(Schema.NonEmptyString),
      "Datacenters that are read: a source each, called `<name>-<datacenter>`; earlier ones win"
    ),
    token: Schema.optionalKey(secret("ACL token")),
    stale: optional(Schema.Boolean, "Whether any server may answer, also while there is no leader; false by default"),
    kv: optional(Schema.NonEmptyString, "Prefix of keys, such as portolan/: records are keys and not services then"),
    ...protection
  }).pipe(Schema.check(Schema.makeFilter(({ datacenter, datacenters, kv, services, tag, tls, url }) => {
    if (datacenter !== undefined && datacenters !== undefined) {
      return { path: ["datacenters"], issue: "expected either `datacenter` or `datacenters`, not both" }
    }
    const twice = datacenters?.findIndex((name, index) => datacenters.indexOf(name) < index) ?? -1
    if (twice !== -1) return { path: ["datacenters", twice], issue: "it is named before" }
    if (kv !== undefined && tag !== undefined) return { path: ["tag"], issue: "has no meaning with `kv`" }
    if (kv !== undefined && services !== undefined) return { path: ["services"], issue: "has no meaning with `kv`" }
    return tls === undefined ? undefined : withTls([url])
  }))),
  several: ({ datacenters, ...options }) =>
    datacenters?.map((datacenter) => [datacenter, { ...options, datacenter }] as const),
  open: ({ encryption, tls, token, ...options }, context) =>
    Effect.gen(function*() {
      const ConsulRegistry = yield* Effect.promise(() => import("@portolan/consul/ConsulRegistry"))
      const shared = yield* remote(context, { encryption, tls })
      return yield* ConsulRegistry.make({ ...shared, ...options, token: reveal(token) })
    })
})

const redis = Configuration.adapter({
  type: "redis",
  options: Schema.Struct({
    url: Schema.optionalKey(text(
      "a URL such as redis://127.0.0.1:6379, with no more than the number of a database behind it",
      isRedisUrl,
      "Address of a single node: redis://host:6379, or rediss://host:6379 for TLS"
    )),
    sentinels: optional(
      Schema.NonEmptyArray(hostPort("host:port")),
      "Addresses of sentinels, such as 10.0.0.5:26379; with `master`"
    ),
    master: optional(Schema.NonEmptyString, "Name of the primary that the sentinels watch"),
    cluster: optional(
      Schema.NonEmptyArray(hostPort("host:port")),
      "Addresses of nodes of a cluster, such as 10.0.0.5:6379; the others are found through them"
    ),
    nodeAddresses: optional(
      Schema.Record(Schema.String, hostPort("host:port")),
      "Where nodes are reached from here, by the host:port that sentinels or the cluster call them"
    ),
    username: optional(Schema.NonEmptyString, "Name of the ACL user"),
    password: Schema.optionalKey(secret("Password")),
    sentinelUsername: optional(Schema.NonEmptyString, "Name of the ACL user of the sentinels"),
    sentinelPassword: Schema.optionalKey(secret("Password of the sentinels, where they ask for one")),
    database: optional(
      Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))),
      "Number of the database; 0 by default, and in a cluster always"
    ),
    keyPrefix: optional(Schema.NonEmptyString, "What all keys and channels begin with; portolan: by default"),
    ...protection
  }).pipe(Schema.check(Schema.makeFilter(({ cluster, database, master, sentinels, url }) => {
    const ways = [url, sentinels, cluster].filter((way) => way !== undefined).length
    if (ways !== 1) return "expected one of `url`, `sentinels` with `master`, and `cluster`"
    if (sentinels !== undefined && master === undefined) return { path: ["sentinels"], issue: "needs `master` too" }
    if (sentinels === undefined && master !== undefined) return { path: ["master"], issue: "needs `sentinels` too" }
    if (cluster !== undefined && database !== undefined) return { path: ["database"], issue: "a cluster has only one" }
    return undefined
  }))),
  open: ({ encryption, password, sentinelPassword, tls, ...options }, context) =>
    Effect.gen(function*() {
      const RedisRegistry = yield* Effect.promise(() => import("@portolan/redis/RedisRegistry"))
      const shared = yield* remote(context, { encryption, tls })
      return yield* RedisRegistry.make({
        ...shared,
        ...options,
        password: reveal(password),
        sentinelPassword: reveal(sentinelPassword)
      })
    })
})

const etcd = Configuration.adapter({
  type: "etcd",
  options: Schema.Struct({
    endpoints: Schema.NonEmptyArray(httpUrl("an http(s) URL")).annotate({
      description: "Addresses of members, such as http://127.0.0.1:2379"
    }),
    prefix: optional(Schema.NonEmptyString, "Where the records are; /portolan/ by default"),
    username: optional(Schema.NonEmptyString, "Name of the user, with `password`"),
    password: Schema.optionalKey(secret("Password of the user")),
    ...protection
  }).pipe(Schema.check(Schema.makeFilter(({ endpoints, password, tls, username }) => {
    if ((password === undefined) !== (username === undefined)) {
      const path = [username === undefined ? "password" : "username"]
      return { path, issue: "`username` and `password` belong together" }
    }
    const named = endpoints.findIndex((url) => /^https?:\/\/[^/?#]*@/i.test(url))
    if (named !== -1) return { path: ["endpoints", named], issue: "its user belongs in `username` and `password`" }
    return tls === undefined ? undefined : withTls(endpoints)
  }))),
  open: ({ encryption, password, tls, ...options }, context) =>
    Effect.gen(function*() {
      const EtcdRegistry = yield* Effect.promise(() => import("@portolan/etcd/EtcdRegistry"))
      const shared = yield* remote(context, { encryption, tls })
      return yield* EtcdRegistry.make({ ...shared, ...options, password: reveal(password) })
    })
})

export const adapters: ReadonlyArray<Configuration.Adapter> = [file, consul, redis, etcd, memory]
