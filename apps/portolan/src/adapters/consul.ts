import * as Configuration from "@portolan/gateway/configuration/Configuration"
import { reveal, secret } from "@portolan/gateway/configuration/Secret"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { httpUrl, Names, optional, protection, remote, withTls } from "./fields.ts"

export const consul = Configuration.adapter({
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
