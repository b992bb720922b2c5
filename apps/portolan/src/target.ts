/**
 * Where an instance is announced: in a registry that this process writes itself, or through a running gateway.
 */
import { hint } from "@portolan/core/NearestName"
import type { Registry, RegistryError } from "@portolan/core/Registry"
import * as Configuration from "@portolan/gateway/configuration/Configuration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { adapters } from "./adapters.ts"
import { defaultFile } from "./defaults.ts"
import { failed, type Failure, misconfigured, wrong } from "./Failure.ts"

export type Target =
  | { readonly _tag: "Registry"; readonly type: string; readonly name: string; readonly registry: Registry }
  /** The gateway's own name of the registry; none: the one it chooses. */
  | { readonly _tag: "Gateway"; readonly registry: string | undefined }

/** How an adapter that can be named without a configuration gets its options. */
interface Addressed {
  /** The address that is meant where none is given. */
  readonly usual: string
  /** An address to show, where the usual one is none. */
  readonly example?: string
  readonly options: (address: string) => object
}

const addressed: Readonly<Record<string, Addressed>> = {
  file: { usual: "./services.json", options: (path) => ({ path }) },
  consul: { usual: "http://127.0.0.1:8500", options: (url) => ({ url }) },
  redis: { usual: "redis://127.0.0.1:6379", options: (url) => ({ url }) },
  etcd: { usual: "http://127.0.0.1:2379", options: (urls) => ({ endpoints: urls.split(",") }) },
  // Without a namespace it is that of the service account or of the kubeconfig.
  kubernetes: {
    usual: "",
    example: "mcp",
    options: (namespace) => namespace === "" ? {} : { namespaces: [namespace] }
  },
  "dns-sd": { usual: "_mcp._tcp", options: (service) => ({ service }) }
}

const opened = (
  type: string,
  name: string,
  open: Effect.Effect<Registry, RegistryError, Scope.Scope>
): Effect.Effect<Target, Failure, Scope.Scope> =>
  Effect.mapBoth(open, {
    onFailure: (error) => failed(error.message),
    onSuccess: (registry) => ({ _tag: "Registry" as const, type, name, registry })
  })

/**
 * The configured registry of this name, or that of the only entry of this type. Of an entry that stands for several it is
 * the first: it doesn't matter which of them is written, as all are reached at one place.
 */
const configured = (
  wanted: string,
  file: string
): Effect.Effect<Configuration.ConfiguredRegistry | undefined, Failure> =>
  Effect.gen(function*() {
    const { registries } = yield* Effect.mapError(Configuration.load(file, { adapters }), misconfigured)
    const named = registries.find(({ name }) => name === wanted) ?? registries.find(({ entry }) => entry === wanted)
    if (named !== undefined) return named
    const typed = registries.filter(({ type }) => type === wanted)
    const names = Array.from(new Set(typed.map(({ entry }) => entry)))
    if (names.length < 2) return typed[0]
    return yield* wrong(
      `--registry: ${file} has several registries of type ${wanted}: ${names.join(", ")}; name one of them`
    )
  })

/**
 * Finds what `--registry` names: a registry of the configuration by its name or type, or a type with an address
 * (`consul:http://10.0.0.5:8500`, `kubernetes:mcp`), or else a registry of the gateway. What lives in the memory of a
 * gateway is always reached through that.
 */
export const resolve = (
  registry: string | undefined,
  config: string | undefined
): Effect.Effect<Target, Failure, Scope.Scope> =>
  Effect.gen(function*() {
    if (registry === undefined) return { _tag: "Gateway", registry: undefined }
    const file = config ?? defaultFile()
    const found = file === undefined ? undefined : yield* configured(registry, file)
    if (found !== undefined) {
      return found.type === "memory"
        ? { _tag: "Gateway", registry: found.name }
        : yield* opened(found.type, found.entry, found.open)
    }
    const [, type = "", given] = /^([a-z][a-z0-9-]*)(?::(.*))?$/s.exec(registry) ?? []
    const adapter = Object.hasOwn(addressed, type) ? addressed[type] : undefined
    if (adapter === undefined) {
      if (given?.includes("//") !== true) return { _tag: "Gateway", registry }
      return yield* wrong(`--registry: no registry is of type "${type}"${hint(type, Object.keys(addressed))}`)
    }
    const address = given === undefined || given === "" ? adapter.usual : given
    // A name is shown; an address may hold a password.
    const [first = address] = type === "etcd" ? address.split(",") : [address]
    const name = URL.parse(first)?.host || address || type
    const read = Configuration.parse(
      JSON.stringify({ registries: [{ type, name, ...adapter.options(address) }] }),
      { adapters }
    )
    const [entry] = Result.isSuccess(read) ? read.success.registries : []
    if (entry === undefined) {
      return yield* wrong(
        `--registry: ${type}: expected an address such as ${type}:${adapter.example ?? adapter.usual}`
      )
    }
    return yield* opened(type, name, entry.open)
  })

/** The part of a registry that writes. */
export const registrarOf = (registry: Registry) =>
  Option.match(registry.registrar, {
    onNone: () => Effect.fail(failed(`${registry.name}: a ${registry.type} registry is read-only`)),
    onSome: Effect.succeed
  })
