/**
 * What the configuration must know of a kind of registry, and how an entry of `registries` is read with it.
 *
 * @since 0.1.0
 */
import { hint } from "@portolan/core/NearestName"
import type { Registry, RegistryError } from "@portolan/core/Registry"
import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Finding, Path, PositionedDocument } from "../internal/document.ts"
import { explain, reread, valueAt } from "../internal/findings.ts"
import { RegistryEntry } from "../internal/schema.ts"

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
  readonly decode: (input: unknown) => Result.Result<Decoded, Schema.SchemaError>
}

/**
 * Options that an adapter took: how it opens the registry, and what that is called where the entry doesn't say.
 *
 * @category models
 * @since 0.1.0
 */
export interface Decoded {
  readonly name: string
  /** As the schema decoded them: what two entries are compared by. */
  readonly options: unknown
  readonly open: Open
}

/**
 * Makes the descriptor of an adapter.
 *
 * @category constructors
 * @since 0.1.0
 */
export const adapter = <S extends Schema.Top & { readonly DecodingServices: never }>(descriptor: {
  readonly type: string
  readonly options: S
  /** What a registry is called where its entry doesn't say. Default: the type. */
  readonly name?: ((options: S["Type"]) => string) | undefined
  readonly open: (options: S["Type"], context: OpenContext) => Effect.Effect<Registry, RegistryError, Scope.Scope>
}): Adapter => {
  const decode = Schema.decodeUnknownResult(descriptor.options, { errors: "all", onExcessProperty: "error" })
  return {
    type: descriptor.type,
    options: descriptor.options,
    decode: (input) =>
      Result.map(decode(input), (options): Decoded => ({
        name: descriptor.name?.(options) ?? descriptor.type,
        options,
        open: (context) => descriptor.open(options, context)
      }))
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
  /** Of the adapter, as its schema decoded them: what two configurations of a registry are compared by. */
  readonly options: unknown
  readonly open: Effect.Effect<Registry, RegistryError, Scope.Scope>
}

const decodeEntry = Schema.decodeUnknownResult(RegistryEntry, { errors: "all" })

/** An entry, read. */
interface Entry extends Decoded {
  readonly type: string
  /** Whether the entry says what it is called. */
  readonly named: boolean
  readonly trust: "full" | "limited" | undefined
}

/**
 * Reads the entry at a path of a document, with the adapter of its type.
 *
 * @category decoding
 * @since 0.1.0
 */
export const readRegistry = (
  document: PositionedDocument,
  root: unknown,
  entry: unknown,
  path: Path,
  adapters: ReadonlyArray<Adapter>
): Result.Result<Entry, ReadonlyArray<Finding>> => {
  const common = decodeEntry(entry)
  if (Result.isFailure(common)) return Result.fail(explain(document, RegistryEntry, common.failure, path, root))
  const { name, trust, type } = common.success
  const known = adapters.map((candidate) => candidate.type)
  const found = adapters.find((candidate) => candidate.type === type)
  if (found === undefined) {
    const where = [...path, "type"]
    return Result.fail([
      { path: where, ...document.valueAt(where), message: `expected one of ${known.join(", ")}${hint(type, known)}` }
    ])
  }
  const own = (whole: unknown): unknown => {
    const { name: _name, trust: _trust, type: _type, ...rest } = Object(valueAt(whole, path))
    return rest
  }
  let decoded = found.decode(own(root))
  if (Result.isFailure(decoded)) {
    decoded = found.decode(own(reread(document, root, explain(document, found.options, decoded.failure, path, root))))
  }
  return Result.mapBoth(decoded, {
    onFailure: (error) => explain(document, found.options, error, path, root),
    onSuccess: (made) => ({ ...made, type, name: name ?? made.name, named: name !== undefined, trust })
  })
}
