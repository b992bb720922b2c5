/**
 * The adapters that the configuration knows, by their `type`. An adapter's code is loaded when a registry of its type is
 * opened, and never otherwise.
 */
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Configuration from "@portolan/gateway/configuration/Configuration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Path from "node:path"

const optional = <S extends Schema.Top>(schema: S, description: string) =>
  Schema.optionalKey(schema.annotate({ description }))

/** What every adapter takes beside its own options; the adapter's own trust holds where nothing is said. */
const common = ({ name, trust }: Configuration.OpenContext) => ({ name, ...(trust === undefined ? {} : { trust }) })

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
  options: Schema.Struct({}),
  open: (_, context) => MemoryRegistry.make(common(context))
})

const Address = Schema.String.pipe(
  Schema.check(Schema.makeFilter(
    (text: string) =>
      ["http:", "https:"].includes(URL.parse(text)?.protocol ?? "") ? undefined : "expected an http(s) URL",
    { expected: "an http(s) URL" }
  ))
)

const consul = Configuration.adapter({
  type: "consul",
  options: Schema.Struct({
    url: Address.annotate({ description: "Address of an agent, such as http://127.0.0.1:8500" }),
    tag: optional(
      Schema.Union([Schema.NonEmptyString, Schema.Array(Schema.NonEmptyString)]),
      "Only services with this tag, or with all of these"
    ),
    services: optional(Schema.Array(Schema.NonEmptyString), "Only services of these names"),
    datacenter: optional(Schema.NonEmptyString, "Datacenter that is asked; that of the agent by default"),
    token: optional(Schema.NonEmptyString, "ACL token")
  }),
  open: (options, context) =>
    Effect.flatMap(
      Effect.promise(() => import("@portolan/consul/ConsulRegistry")),
      (ConsulRegistry) => ConsulRegistry.make({ ...common(context), ...options })
    )
})

const etcd = Configuration.adapter({
  type: "etcd",
  options: Schema.Struct({
    endpoints: Schema.NonEmptyArray(Address).annotate({
      description: "Addresses of members, such as http://127.0.0.1:2379"
    }),
    prefix: optional(Schema.NonEmptyString, "Where the records are; /portolan/ by default")
  }),
  open: (options, context) =>
    Effect.flatMap(
      Effect.promise(() => import("@portolan/etcd/EtcdRegistry")),
      (EtcdRegistry) => EtcdRegistry.make({ ...common(context), ...options })
    )
})

export const adapters: ReadonlyArray<Configuration.Adapter> = [file, consul, etcd, memory]
