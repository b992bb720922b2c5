import * as Configuration from "@portolan/gateway/configuration/Configuration"
import { reveal, secret } from "@portolan/gateway/configuration/Secret"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { hostPort, optional, protection, remote, text } from "./fields.ts"

/** Of what may follow the host only the number of a database means something; the rest would be passed over in silence. */
const isRedisUrl = (value: string): boolean => {
  const url = URL.parse(value)
  return url !== null && ["redis:", "rediss:"].includes(url.protocol) && url.hostname !== "" &&
    /^\/?\d*$/.test(url.pathname) && url.search === "" && url.hash === ""
}

export const redis = Configuration.adapter({
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
