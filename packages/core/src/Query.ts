/**
 * A filter over the catalog: plain data, the same in TypeScript, JSON, YAML, URL parameters and the command line.
 *
 * **Mental model**: a query is a record of conditions, and all of them must hold. A condition is a value, a list of
 * values (any of them), or a record of operators. A text is a pattern in which `*` stands for any text; `$eq` compares
 * exactly. `compile` makes a predicate of a query once.
 *
 * **Details**
 * - `tags`, `capabilities` and `tools` ask for all of their patterns, `anyTags`, `anyCapabilities` and `anyTools` for one.
 * - A number compares with a text that is written as a number, and a boolean with `"true"` and `"false"`: several
 *   backends keep metadata as text only.
 * - A value that is a list meets a condition if one of its elements does; `$ne` and `$nin` ask for none.
 * - `$ne` and `$nin` hold where the value is absent, the other comparisons don't.
 * - `$regex` finds its pattern anywhere in the text, a leading `(?i)` ignores case; no back-references, no look-around, so
 *   that it takes linear time whatever it is.
 *
 * **Example** (Asking for the production weather servers of two regions)
 *
 * ```ts
 * import * as Query from "@portolan/core/Query"
 *
 * const query: Query.Query = {
 *   service: "weather*",
 *   region: ["us-west-2", "us-east-1"],
 *   tags: ["prod"],
 *   version: "^1.2",
 *   "metadata.priority": { $gte: 8 }
 * }
 * const matches = Query.compile(query)
 * ```
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SemVer from "effect/SemVer"
import * as SemVerRange from "effect/SemVerRange"
import type { CatalogEntry } from "./Catalog.ts"
import type { HealthStatus } from "./Health.ts"
import * as queryPredicates from "./internal/query/queryPredicates.ts"
import * as queryText from "./internal/query/queryText.ts"
import { explain, type ServiceInstance } from "./ServiceInstance.ts"

/**
 * Error raised when a query can't be used: where in it (`metadata.priority.$gte`; empty for the whole), and why.
 *
 * @category errors
 * @since 0.1.0
 */
export class QueryError extends Schema.TaggedError<QueryError>()("QueryError", {
  path: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return this.path === "" ? `query: ${this.reason}` : `query: ${this.path}: ${this.reason}`
  }
}

/**
 * A value that a field is compared with.
 *
 * @category models
 * @since 0.1.0
 */
export type Scalar = string | number | boolean | null

/**
 * Operators on one value; all of them must hold.
 *
 * @category models
 * @since 0.1.0
 */
export interface Operators {
  readonly $eq?: Scalar | undefined
  readonly $ne?: Scalar | undefined
  readonly $gt?: number | string | undefined
  readonly $gte?: number | string | undefined
  readonly $lt?: number | string | undefined
  readonly $lte?: number | string | undefined
  readonly $in?: ReadonlyArray<Scalar> | undefined
  readonly $nin?: ReadonlyArray<Scalar> | undefined
  /** Whether the value is there at all. */
  readonly $exists?: boolean | undefined
  /** Found anywhere in the text. */
  readonly $regex?: string | undefined
  readonly $and?: ReadonlyArray<Operators> | undefined
  readonly $or?: ReadonlyArray<Operators> | undefined
  readonly $not?: Operators | undefined
}

/**
 * What a field must be: a value, one of several, or what operators say.
 *
 * @category models
 * @since 0.1.0
 */
export type Condition = Scalar | ReadonlyArray<Scalar> | Operators

const Scalar = Schema.Union([Schema.String, Schema.Finite, Schema.Boolean, Schema.Null])
const Ordered = Schema.Union([Schema.Finite, Schema.String]).annotate({ expected: "a number or a text" })
const Operators: Schema.Codec<Operators> = Schema.Struct({
  $eq: Schema.optional(Scalar),
  $ne: Schema.optional(Scalar),
  $gt: Schema.optional(Ordered),
  $gte: Schema.optional(Ordered),
  $lt: Schema.optional(Ordered),
  $lte: Schema.optional(Ordered),
  $in: Schema.optional(Schema.Array(Scalar)),
  $nin: Schema.optional(Schema.Array(Scalar)),
  $exists: Schema.optional(Schema.Boolean),
  $regex: Schema.optional(Schema.String),
  $and: Schema.optional(Schema.Array(Schema.suspend((): Schema.Codec<Operators> => Operators))),
  $or: Schema.optional(Schema.Array(Schema.suspend((): Schema.Codec<Operators> => Operators))),
  $not: Schema.optional(Schema.suspend((): Schema.Codec<Operators> => Operators))
}).annotate({ identifier: "QueryOperators" })
const Condition = Schema.Union([Scalar, Schema.Array(Scalar), Operators])

const oneOrMore = <S extends Schema.Codec<string>>(schema: S) => Schema.Union([schema, Schema.Array(schema)])
const Texts = oneOrMore(Schema.String)
const MetadataKey = Schema.TemplateLiteral(["metadata.", Schema.String])

/**
 * A filter over catalog entries. All of its conditions must hold; the empty query matches everything.
 *
 * @category models
 * @since 0.1.0
 */
export interface Query {
  readonly kind?: ServiceInstance["kind"] | ReadonlyArray<ServiceInstance["kind"]> | undefined
  readonly id?: Condition | undefined
  readonly service?: Condition | undefined
  /** The same as `service`. */
  readonly name?: Condition | undefined
  /** Range as npm writes it: `^1.2`, `>=1 <3`, `1.x || 2.x`. */
  readonly version?: string | undefined
  readonly tags?: string | ReadonlyArray<string> | undefined
  readonly anyTags?: string | ReadonlyArray<string> | undefined
  readonly capabilities?: string | ReadonlyArray<string> | undefined
  readonly anyCapabilities?: string | ReadonlyArray<string> | undefined
  readonly tools?: string | ReadonlyArray<string> | undefined
  readonly anyTools?: string | ReadonlyArray<string> | undefined
  readonly health?: HealthStatus | ReadonlyArray<HealthStatus> | undefined
  /** Whether calls may go to it: `healthy`, `degraded` or `unknown`. */
  readonly available?: boolean | undefined
  /** Whether its registry is lost, so that this is its last known state. */
  readonly stale?: boolean | undefined
  /** What the announcer says of itself. */
  readonly status?: ServiceInstance["status"] | ReadonlyArray<ServiceInstance["status"]> | undefined
  readonly source?: Condition | undefined
  readonly region?: Condition | undefined
  readonly zone?: Condition | undefined
  /** A tenant that may see it. */
  readonly tenant?: string | undefined
  readonly weight?: Condition | undefined
  readonly priority?: Condition | undefined
  readonly score?: Condition | undefined
  readonly "endpoint.transport"?: Condition | undefined
  readonly "endpoint.url"?: Condition | undefined
  readonly "limits.maxConcurrency"?: Condition | undefined
  readonly "cost.perCall"?: Condition | undefined
  /** Words that all occur in its names, tags, capabilities, tools or metadata, in any case. */
  readonly search?: string | undefined
  /** Conditions by metadata key. */
  readonly metadata?: { readonly [key: string]: Condition } | undefined
  /** A condition on one metadata key; a dot leads into a nested record. */
  readonly [path: `metadata.${string}`]: Condition | undefined
  readonly $and?: ReadonlyArray<Query> | undefined
  readonly $or?: ReadonlyArray<Query> | undefined
  readonly $not?: Query | undefined
}

/**
 * Schema of a query. Decode with `onExcessProperty: "error"`, or use `decode`, which does.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Query: Schema.Codec<Query> = Schema.StructWithRest(
  Schema.Struct({
    kind: Schema.optional(oneOrMore(Schema.Literals(["mcp-server", "agent", "tool-provider"]))),
    id: Schema.optional(Condition),
    service: Schema.optional(Condition),
    name: Schema.optional(Condition),
    version: Schema.optional(Schema.String),
    tags: Schema.optional(Texts),
    anyTags: Schema.optional(Texts),
    capabilities: Schema.optional(Texts),
    anyCapabilities: Schema.optional(Texts),
    tools: Schema.optional(Texts),
    anyTools: Schema.optional(Texts),
    health: Schema.optional(
      oneOrMore(Schema.Literals(["healthy", "degraded", "unhealthy", "draining", "down", "unknown"]))
    ),
    available: Schema.optional(Schema.Boolean),
    stale: Schema.optional(Schema.Boolean),
    status: Schema.optional(oneOrMore(Schema.Literals(["up", "draining", "down"]))),
    source: Schema.optional(Condition),
    region: Schema.optional(Condition),
    zone: Schema.optional(Condition),
    tenant: Schema.optional(Schema.String),
    weight: Schema.optional(Condition),
    priority: Schema.optional(Condition),
    score: Schema.optional(Condition),
    "endpoint.transport": Schema.optional(Condition),
    "endpoint.url": Schema.optional(Condition),
    "limits.maxConcurrency": Schema.optional(Condition),
    "cost.perCall": Schema.optional(Condition),
    search: Schema.optional(Schema.String),
    metadata: Schema.optional(Schema.Record(Schema.String, Condition)),
    $and: Schema.optional(Schema.Array(Schema.suspend((): Schema.Codec<Query> => Query))),
    $or: Schema.optional(Schema.Array(Schema.suspend((): Schema.Codec<Query> => Query))),
    $not: Schema.optional(Schema.suspend((): Schema.Codec<Query> => Query))
  }),
  [Schema.Record(MetadataKey, Schema.UndefinedOr(Condition))]
).annotate({ identifier: "Query", expected: "a query" })

/**
 * What a query is asked about.
 *
 * @category models
 * @since 0.1.0
 */
export interface QuerySubject {
  readonly entry: Pick<CatalogEntry, "instance" | "source">
  readonly health: HealthStatus
  readonly score?: number | undefined
  /** Whether the entry's source is stale. */
  readonly stale: boolean
}

const maxDepth = 32
const maxValues = 10_000

// Bounds what the decoder below would follow recursively.
const tooLarge = (input: unknown): string | undefined => {
  let values = 0
  const pending: Array<readonly [unknown, number]> = [[input, 0]]
  for (let item = pending.pop(); item !== undefined; item = pending.pop()) {
    const [value, depth] = item
    if (depth > maxDepth) return `it is nested more than ${maxDepth} levels deep`
    if (++values > maxValues) return `it has more than ${maxValues} values`
    if (typeof value === "object" && value !== null) {
      for (const child of Object.values(value)) pending.push([child, depth + 1])
    }
  }
  return undefined
}

const decodeResult = Schema.decodeUnknownResult(Query, { onExcessProperty: "error" })

// Says what the schema found in the words of this language.
const reword = (path: string, reason: string): string => {
  if (reason === "expected no excess property") {
    const key = path.slice(path.lastIndexOf(".") + 1)
    return key.startsWith("$") ? `unknown operator ${key}` : "unknown key"
  }
  return reason.replace(" | undefined", "").replace(/^expected Query(Operators)?$/, "expected a record of conditions")
}

/**
 * Checks that a value is a query.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decode = (input: unknown): Result.Result<Query, QueryError> => {
  const large = tooLarge(input)
  if (large !== undefined) return Result.fail(new QueryError({ path: "", reason: large }))
  return Result.mapError(decodeResult(input), (error) => {
    const [first = ""] = explain(error.issue).split("; ")
    const colon = first.indexOf(": ")
    const path = colon === -1 ? "" : first.slice(0, colon)
    return new QueryError({ path, reason: reword(path, colon === -1 ? first : first.slice(colon + 2)) })
  })
}

/**
 * Makes the predicate of a pattern: a text in which `*` stands for any text.
 *
 * @category constructors
 * @since 0.1.0
 */
export const pattern: (text: string) => (value: string) => boolean = queryPredicates.pattern

type Predicate = (subject: QuerySubject) => boolean

const own = (value: unknown, key: string): unknown =>
  typeof value === "object" && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined

// A key that holds dots itself (`example.com/team`) comes before the path that it also spells.
const at = (value: unknown, path: string): unknown => {
  for (let from = value, rest = path;;) {
    const whole = own(from, rest)
    const dot = rest.indexOf(".")
    if (whole !== undefined || dot === -1) return whole
    from = own(from, rest.slice(0, dot))
    rest = rest.slice(dot + 1)
  }
}

const fields = {
  id: ({ entry }: QuerySubject) => entry.instance.id,
  service: ({ entry }: QuerySubject) => entry.instance.service,
  name: ({ entry }: QuerySubject) => entry.instance.service,
  source: ({ entry }: QuerySubject) => entry.source,
  region: ({ entry }: QuerySubject) => entry.instance.region,
  zone: ({ entry }: QuerySubject) => entry.instance.zone,
  weight: ({ entry }: QuerySubject) => entry.instance.weight,
  priority: ({ entry }: QuerySubject) => entry.instance.priority,
  score: ({ score }: QuerySubject) => score,
  "endpoint.transport": ({ entry }: QuerySubject) => entry.instance.endpoint.transport,
  "endpoint.url": ({ entry }: QuerySubject) => own(entry.instance.endpoint, "url"),
  "limits.maxConcurrency": ({ entry }: QuerySubject) => entry.instance.limits?.maxConcurrency,
  "cost.perCall": ({ entry }: QuerySubject) => entry.instance.cost?.perCall
} satisfies Partial<Record<keyof Query, (subject: QuerySubject) => unknown>>

const isField = (key: string): key is keyof typeof fields => Object.hasOwn(fields, key)

const list = <A extends string>(value: A | ReadonlyArray<A>): ReadonlyArray<A> =>
  typeof value === "string" ? [value] : value

const patterns = (
  wanted: string | ReadonlyArray<string>,
  all: boolean,
  of: (instance: ServiceInstance) => ReadonlyArray<string>
): Predicate => {
  const tests = list(wanted).map(queryPredicates.pattern)
  return ({ entry }) => {
    const has = of(entry.instance)
    return all ? tests.every((test) => has.some(test)) : tests.some((test) => has.some(test))
  }
}

const isAvailable = (health: HealthStatus) => health === "healthy" || health === "degraded" || health === "unknown"

const searchable = ({ entry: { instance, source } }: QuerySubject): string =>
  [
    instance.id,
    instance.service,
    instance.kind,
    instance.version,
    instance.region ?? "",
    instance.zone ?? "",
    source,
    ...instance.tags,
    ...instance.capabilities,
    ...instance.tools,
    ...Object.entries(instance.metadata).map(([key, value]) =>
      typeof value === "object" ? key : `${key} ${String(value)}`
    )
  ].join("\n").toLowerCase()

const search = (text: string): Predicate => {
  const words = text.toLowerCase().split(/\s+/).filter((word) => word !== "")
  return (subject) => {
    const haystack = searchable(subject)
    return words.every((word) => haystack.includes(word))
  }
}

const version = (text: string, path: string): Result.Result<Predicate, QueryError> =>
  Result.mapBoth(SemVerRange.parse(text), {
    onFailure: (error) => new QueryError({ path: `${path}version`, reason: error.message }),
    onSuccess: (range): Predicate => ({ entry }) => {
      const parsed = SemVer.parse(entry.instance.version.replace(/^v/, ""))
      return Result.isSuccess(parsed) && SemVerRange.matches(range, parsed.success)
    }
  })

const build = (query: Query, path: string): Result.Result<Predicate, QueryError> =>
  Result.gen(function*() {
    const tests: Array<Predicate> = []
    const condition = function*(input: Condition, key: string, value: (subject: QuerySubject) => unknown) {
      const test = yield* Result.mapError(
        queryPredicates.condition(input, path + key),
        (wrong) => new QueryError(wrong)
      )
      tests.push((subject) => test(value(subject)))
    }
    const { kind, health, available, stale, status, tenant } = query
    if (kind !== undefined) tests.push(({ entry }) => list(kind).includes(entry.instance.kind))
    if (health !== undefined) tests.push((subject) => list(health).includes(subject.health))
    if (available !== undefined) tests.push((subject) => isAvailable(subject.health) === available)
    if (stale !== undefined) tests.push((subject) => subject.stale === stale)
    if (status !== undefined) tests.push(({ entry }) => list(status).includes(entry.instance.status))
    if (tenant !== undefined) {
      tests.push(({ entry: { instance: { tenants } } }) => tenants.includes("*") || tenants.includes(tenant))
    }
    if (query.tags !== undefined) tests.push(patterns(query.tags, true, (_) => _.tags))
    if (query.anyTags !== undefined) tests.push(patterns(query.anyTags, false, (_) => _.tags))
    if (query.capabilities !== undefined) tests.push(patterns(query.capabilities, true, (_) => _.capabilities))
    if (query.anyCapabilities !== undefined) tests.push(patterns(query.anyCapabilities, false, (_) => _.capabilities))
    if (query.tools !== undefined) tests.push(patterns(query.tools, true, (_) => _.tools))
    if (query.anyTools !== undefined) tests.push(patterns(query.anyTools, false, (_) => _.tools))
    if (query.version !== undefined) tests.push(yield* version(query.version, path))
    for (const [key, input] of Object.entries(query)) {
      if (input === undefined) continue
      if (isField(key)) yield* condition(query[key] ?? null, key, fields[key])
      if (isMetadataKey(key)) {
        const name = key.slice("metadata.".length)
        yield* condition(query[key] ?? null, key, ({ entry }) => at(entry.instance.metadata, name))
      }
    }
    for (const [name, input] of Object.entries(query.metadata ?? {})) {
      yield* condition(input, `metadata.${name}`, ({ entry }) => at(entry.instance.metadata, name))
    }
    // Last, as it costs most.
    if (query.search !== undefined) tests.push(search(query.search))
    if (query.$and !== undefined) {
      for (const [index, part] of query.$and.entries()) tests.push(yield* build(part, `${path}$and.${index}.`))
    }
    if (query.$or !== undefined) {
      const parts: Array<Predicate> = []
      for (const [index, part] of query.$or.entries()) parts.push(yield* build(part, `${path}$or.${index}.`))
      tests.push((subject) => parts.some((test) => test(subject)))
    }
    if (query.$not !== undefined) {
      const inner = yield* build(query.$not, `${path}$not.`)
      tests.push((subject) => !inner(subject))
    }
    return (subject) => tests.every((test) => test(subject))
  })

const isMetadataKey = (key: string): key is `metadata.${string}` => key.startsWith("metadata.")

/**
 * Makes a predicate of a query. What isn't a query (it may come from anywhere) is refused in one line that names the
 * place.
 *
 * @category combinators
 * @since 0.1.0
 */
export const compile = (query: Query): Result.Result<(subject: QuerySubject) => boolean, QueryError> =>
  Result.flatMap(decode(query), (checked) => build(checked, ""))

/**
 * Reads a query from URL parameters: `?service=weather*&tags=prod&tags=eu&metadata.priority[$gte]=8&$or=[{…},{…}]`.
 *
 * **Details**: a repeated key is a list. A value that begins with `[`, `{` or `"` is JSON, and in a condition numbers,
 * `true`, `false` and `null` are what they look like; everything else is text. `tag`, `anyTag`, `capability`,
 * `anyCapability`, `tool` and `anyTool` may stand for their plurals.
 *
 * @category decoding
 * @since 0.1.0
 */
export const fromUrlParameters = (parameters: URLSearchParams): Result.Result<Query, QueryError> =>
  fromPairs(Array.from(parameters))

/**
 * Writes a query as URL parameters, which `fromUrlParameters` reads as the same query.
 *
 * @category encoding
 * @since 0.1.0
 */
export const toUrlParameters = (query: Query): URLSearchParams => new URLSearchParams(queryText.toPairs(query))

/**
 * Reads a query as a person types it: `weather tag=prod region!=us-* version=^1.2 metadata.priority>=8`.
 *
 * **Details**: the operators are `=`, `!=`, `>=`, `<=`, `>`, `<` and `~` (regular expression). A word without operator
 * is searched for. Values are read as in URL parameters; `"…"` holds spaces.
 *
 * @category decoding
 * @since 0.1.0
 */
export const parse = (text: string): Result.Result<Query, QueryError> => fromPairs(queryText.pairsOfText(text))

const fromPairs = (pairs: ReadonlyArray<readonly [string, string]>): Result.Result<Query, QueryError> => {
  const read = queryText.fromPairs(pairs)
  return Result.isFailure(read) ? Result.fail(new QueryError(read.failure)) : decode(read.success)
}
