import * as Configuration from "@portolan/gateway/configuration/Configuration"
import { reveal, secret } from "@portolan/gateway/configuration/Secret"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { httpUrl, namesUser, optional, protection, remote, withTls } from "./fields.ts"

export const etcd = Configuration.adapter({
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
    const named = endpoints.findIndex(namesUser)
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
