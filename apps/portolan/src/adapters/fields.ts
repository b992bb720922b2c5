/**
 * What the entries of registries are made of.
 */
import type { Identification } from "@portolan/core/Identification"
import * as IpSet from "@portolan/core/IpSet"
import * as RecordFormat from "@portolan/core/RecordFormat"
import { RegistryError } from "@portolan/core/Registry"
import type * as Configuration from "@portolan/gateway/configuration/Configuration"
import { EncryptionEntry } from "@portolan/gateway/configuration/EncryptionEntry"
import * as TlsEntry from "@portolan/gateway/configuration/TlsEntry"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import { isDuration, millisOf } from "../duration.ts"

export const optional = <S extends Schema.Top>(schema: S, description: string) =>
  Schema.optionalKey(schema.annotate({ description }))

/** The description stands on the string itself: that of a check doesn't reach the JSON Schema. */
export const text = (expected: string, holds: (text: string) => boolean, description: string) => {
  const told = { expected, message: `expected ${expected}` }
  return Schema.String.annotate({ ...told, description }).pipe(
    Schema.check(Schema.makeFilter((value: string) => holds(value) ? undefined : told.message, told))
  )
}

export const httpUrl = (description: string) =>
  text("an http(s) URL", (value) => ["http:", "https:"].includes(URL.parse(value)?.protocol ?? ""), description)

/** Whether it holds a user or a password, which belong where secrets are. */
export const namesUser = (url: string): boolean => {
  const { password = "", username = "" } = URL.parse(url) ?? {}
  return username !== "" || password !== ""
}

export const hostPort = (description: string) =>
  text(
    "host:port",
    (value) => /^(\[[\da-f:.]+\]|[^\s/:@]+):\d{1,5}$/i.test(value) && URL.canParse(`tcp://${value}`),
    description
  )

/** A duration, of which the adapter has a default. */
export const time = (description: string) =>
  Schema.optionalKey(
    text(
      "a duration such as 250ms, 30s or 5m",
      (value) => isDuration(value) && millisOf(value) > 0,
      description
    ).pipe(
      Schema.decodeTo(Schema.Duration, {
        decode: SchemaGetter.transform((written: string) => Duration.millis(millisOf(written))),
        encode: SchemaGetter.forbiddenEncoding
      })
    )
  )

export const count = (minimum: number, maximum: number, description: string) =>
  optional(Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum, maximum }))), description)

export const network = text(
  "a network (10.0.0.0/24), a range (10.0.0.5-10.0.0.20) or an address",
  (value) => Result.isSuccess(IpSet.parse(value)),
  "Network, range or address"
)

/** Which servers are taken, by their addresses. */
export const networks = (byDefault: string) => ({
  allowNetworks: optional(Schema.Array(network), `Only servers in these networks; ${byDefault} by default`),
  denyNetworks: optional(Schema.Array(network), "Never servers in these networks, whatever else is said")
})

export const Names = Schema.Array(Schema.NonEmptyString)

/** What is secret of the way to a backend, and of the records in it. */
export const protection = {
  tls: Schema.optionalKey(TlsEntry.TlsEntry),
  encryption: Schema.optionalKey(EncryptionEntry)
}

/** Whoever asks for TLS must not be without it because of an address. */
export const withTls = (urls: ReadonlyArray<string>) =>
  urls.every((url) => URL.parse(url)?.protocol === "https:")
    ? undefined
    : { path: ["tls"], issue: "needs addresses that begin with https" }

interface Protection {
  readonly tls: TlsEntry.TlsEntry | undefined
  readonly encryption: EncryptionEntry | undefined
}

/** What every adapter takes beside its own options; the adapter's own trust holds where nothing is said. */
export const common = ({ name, trust }: Configuration.OpenContext) => ({
  name,
  ...(trust === undefined ? {} : { trust })
})

/** The same for those of backends that are reached over a network. */
export const remote = (context: Configuration.OpenContext, { encryption, tls }: Protection) =>
  Effect.gen(function*() {
    const format = encryption === undefined
      ? undefined
      : yield* Effect.mapError(
        RecordFormat.sealed(encryption),
        (reason) => new RegistryError({ registry: context.name, operation: "open", reason })
      )
    return { ...common(context), format, tls: tls === undefined ? undefined : TlsEntry.toOptions(tls) }
  })

/** Provides what finds servers by their addresses with what asks them who they are. */
export const identifying = <A, E, R>(effect: Effect.Effect<A, E, R | Identification>) =>
  Effect.gen(function*() {
    const Identifying = yield* Effect.promise(() => import("@portolan/mcp/upstream/Identifying"))
    return yield* Effect.provideContext(effect, yield* Layer.build(Identifying.layer))
  })
