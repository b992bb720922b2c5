/**
 * What the configuration must know of a kind of registry, and how an entry of `registries` is read with it.
 *
 * @since 0.1.0
 */
import { hint } from "@portolan/core/NearestName"
import type { AllowList, Registry, RegistryError } from "@portolan/core/Registry"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Finding, Path, PositionedDocument } from "../internal/document.ts"
import { explain, reread, valueAt } from "../internal/findings.ts"
import { RegistryEntry } from "../internal/schema.ts"
import { References } from "./Secret.ts"

/**
 * What a registry is opened with, beside its adapter's options.
 *
 * @category models
 * @since 0.1.0
 */
export interface OpenContext {
  readonly name: string
  readonly trust: "full" | "limited" | undefined
  /** Directory of the configuration file: where relative paths start. */
  readonly directory: string
}

/**
 * Opens a registry for the life of the scope.
 *
 * @category models
 * @since 0.1.0
 */
export type Open = (context: OpenContext) => Effect.Effect<Registry, RegistryError, Scope.Scope>

/**
 * What the configuration must know of an adapter.
 *
 * @category models
 * @since 0.1.0
 */
export interface Adapter {
  readonly type: string
  /** Schema of the options, for checks, suggestions and the JSON Schema. */
  readonly options: Schema.Top
  readonly decode: (input: unknown, references: References["Service"]) => Result.Result<Decoded, Schema.SchemaError>
}

/**
 * Options that an adapter took: what its entry is called where it doesn't say, and the registries that it stands for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Decoded {
  readonly name: string
  readonly registries: ReadonlyArray<{
    /** After the entry's name and a hyphen, where an entry stands for several. */
    readonly suffix?: string | undefined
    /** As the schema decoded them: what two registries are compared by. */
    readonly options: unknown
    readonly open: Open
  }>
}

/**
 * Makes the descriptor of an adapter.
 *
 * @category constructors
 * @since 0.1.0
 */
export const adapter = <A>(descriptor: {
  readonly type: string
  readonly options: Schema.Top & Schema.ConstraintDecoder<A, References>
  /** What a registry is called where its entry doesn't say. Default: the type. */
  readonly name?: ((options: A) => string) | undefined
  /** The registries that an entry stands for: what follows its name, and their options. None: it is one registry. */
  readonly several?: ((options: A) => ReadonlyArray<readonly [suffix: string, options: A]> | undefined) | undefined
  readonly open: (options: A, context: OpenContext) => Effect.Effect<Registry, RegistryError, Scope.Scope>
}): Adapter => {
  const decode = Schema.decodeUnknownEffect(descriptor.options, { errors: "all", onExcessProperty: "error" })
  const registry = (options: A, suffix?: string): Decoded["registries"][number] => ({
    suffix,
    options,
    open: (context) => descriptor.open(options, context)
  })
  return {
    type: descriptor.type,
    options: descriptor.options,
    decode: (input, references) =>
      Effect.runSync(
        decode(input).pipe(
          Effect.map((options): Decoded => ({
            name: descriptor.name?.(options) ?? descriptor.type,
            registries: descriptor.several?.(options)?.map(([suffix, own]) => registry(own, suffix)) ??
              [registry(options)]
          })),
          Effect.provideService(References, references),
          Effect.result
        )
      )
  }
}

/**
 * A configured registry.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConfiguredRegistry {
  readonly type: string
  readonly name: string
  readonly trust: "full" | "limited" | undefined
  readonly allow: AllowList | undefined
  /** Of the adapter, as its schema decoded them: what two configurations of a registry are compared by. */
  readonly options: unknown
  readonly open: Effect.Effect<Registry, RegistryError, Scope.Scope>
  /** What its entry in `registries` is called: several registries may stand in one. */
  readonly entry: string
  /** Place of the entry. */
  readonly index: number
}

const decodeCommon = Schema.decodeUnknownResult(RegistryEntry, { errors: "all", onExcessProperty: "error" })

/** What reading an entry needs of the outside. */
interface EntryOptions {
  readonly adapters: ReadonlyArray<Adapter>
  /** Where relative paths start. */
  readonly directory: string
  readonly references: References["Service"]
}

/** An entry, read. */
interface Entry {
  /** Whether the entry says what it is called. */
  readonly named: boolean
  readonly registries: ReadonlyArray<ConfiguredRegistry>
}

/** What every entry has, and what belongs to the adapter. */
const parts = (entry: unknown): { readonly common: unknown; readonly own: unknown } => {
  if (!Predicate.isObject(entry)) return { common: entry, own: entry }
  const { allow, name, trust, type, ...own }: Record<string, unknown> = { ...entry }
  const given = Object.entries({ allow, name, trust, type }).filter(([, value]) => value !== undefined)
  return { common: Object.fromEntries(given), own }
}

/**
 * Reads the entry at this place of `registries`, with the adapter of its type.
 *
 * @category decoding
 * @since 0.1.0
 */
export const readRegistry = (
  document: PositionedDocument,
  root: unknown,
  index: number,
  { adapters, directory, references }: EntryOptions
): Result.Result<Entry, ReadonlyArray<Finding>> => {
  const path: Path = ["registries", index]
  const partsOf = (whole: unknown) => parts(valueAt(whole, path))
  const common = decodeCommon(partsOf(root).common)
  if (Result.isFailure(common)) return Result.fail(explain(document, RegistryEntry, common.failure, path, root))
  const { allow, name, trust, type } = common.success
  const known = adapters.map((candidate) => candidate.type)
  const found = adapters.find((candidate) => candidate.type === type)
  if (found === undefined) {
    const where = [...path, "type"]
    return Result.fail([
      { path: where, ...document.valueAt(where), message: `expected one of ${known.join(", ")}${hint(type, known)}` }
    ])
  }
  const decode = (whole: unknown) => found.decode(partsOf(whole).own, references)
  // Mistyped keys may be meant for either part.
  const schema = Schema.Union([found.options, RegistryEntry])
  const findings = (error: Schema.SchemaError) => explain(document, schema, error, path, root)
  let decoded = decode(root)
  if (Result.isFailure(decoded)) decoded = decode(reread(document, root, decoded.failure, path))
  return Result.mapBoth(decoded, {
    onFailure: findings,
    onSuccess: (made) => ({
      named: name !== undefined,
      registries: made.registries.map(({ open, options, suffix }) => {
        const entry = name ?? made.name
        const called = suffix === undefined ? entry : `${entry}-${suffix}`
        return {
          type,
          name: called,
          trust,
          allow,
          options,
          entry,
          index,
          open: Effect.map(
            Effect.suspend(() => open({ name: called, trust, directory })),
            (registry) => allow === undefined ? registry : { ...registry, allow }
          )
        }
      })
    })
  })
}
