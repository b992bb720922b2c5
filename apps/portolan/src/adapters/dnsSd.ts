import * as Configuration from "@portolan/gateway/configuration/Configuration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { count, identifying, networks, optional, text, time } from "./fields.ts"

export const dnsSd = Configuration.adapter({
  type: "dns-sd",
  options: Schema.Struct({
    service: Schema.optionalKey(text(
      "a type of services such as _mcp._tcp",
      (value) => /^_[a-z0-9](-?[a-z0-9]){0,14}\._(tcp|udp)$/i.test(value),
      "Type of the services; _mcp._tcp by default"
    )),
    interfaces: optional(
      Schema.NonEmptyArray(Schema.NonEmptyString),
      "Names or addresses of interfaces; all that are up by default"
    ),
    port: count(1, 65_535, "UDP port; 5353 by default, another one only where all announcers have it"),
    ...networks("private, link-local and loopback ones"),
    identify: optional(Schema.Boolean, "Whether a server must answer by MCP before it is taken; true by default"),
    identifyTimeout: time("Time for that; 3s by default")
  }),
  open: (options, { name }) =>
    Effect.gen(function*() {
      const DnsSdRegistry = yield* Effect.promise(() => import("@portolan/dns-sd/DnsSdRegistry"))
      return yield* identifying(DnsSdRegistry.make({ name, ...options }))
    })
})
