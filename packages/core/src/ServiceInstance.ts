/**
 * The one record everything speaks about: an announced endpoint of a service.
 *
 * **Mental model**: an instance is JSON. Decoding checks it and fills in the defaults and changes nothing else, so the
 * same value stands in a file, in etcd, in the REST API and in memory.
 *
 * **Gotchas**: fields that Portolan does not know survive the round trip, at every level. The identity of an instance is
 * its `id` in its registry, never its address: addresses are reused.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"

// The open end of a record: fields of others are kept.
const Rest = Schema.Record(Schema.String, Schema.Unknown)

/**
 * Reference to a secret, resolved to a redacted value at the moment of use: the environment variable `env`, or the
 * content of the file `file` without its last line break.
 *
 * @category schemas
 * @since 0.1.0
 */
export const SecretReference = Schema.Union([
  Schema.Struct({ env: Schema.NonEmptyString }),
  Schema.Struct({ file: Schema.NonEmptyString })
])
export type SecretReference = typeof SecretReference.Type

const SecretValue = Schema.Union([Schema.String, SecretReference])

const url = (protocols: ReadonlyArray<string>, expected: string) =>
  Schema.String.pipe(Schema.check(Schema.makeFilter(
    (text: string) => {
      const parsed = URL.parse(text)
      return parsed !== null && protocols.includes(parsed.protocol) && parsed.hostname !== ""
        ? undefined
        : `expected ${expected}`
    },
    { expected }
  )))

const HttpUrl = url(["http:", "https:"], "an http(s) URL")
const WebSocketUrl = url(["ws:", "wss:", "http:", "https:"], "a ws(s) URL")

const Headers = Schema.Record(Schema.String, SecretValue)

// A text is a path: keys and certificates are never written into a record.
const PemFile = Schema.Union([Schema.NonEmptyString, SecretReference]).annotate({
  expected: "the path of a PEM file, or a reference to one"
})

const Pair = Schema.makeFilter(
  (tls: { readonly cert?: unknown; readonly key?: unknown }) =>
    (tls.cert === undefined) === (tls.key === undefined) ? undefined : "`cert` and `key` belong together",
  { expected: "`cert` and `key` together" }
)

/**
 * How TLS towards an endpoint differs from the usual: an authority of its own, a certificate that names us.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Tls = Schema.StructWithRest(
  Schema.Struct({
    /** Certificates that the server's must come from, in place of the well-known authorities. */
    ca: Schema.optionalKey(PemFile),
    /** Our certificate, for servers that ask for one; with `key`. */
    cert: Schema.optionalKey(PemFile),
    key: Schema.optionalKey(PemFile),
    /** Of the key. */
    passphrase: Schema.optionalKey(SecretValue),
    /** Name that the server's certificate must hold, where that isn't the host of the URL. */
    serverName: Schema.optionalKey(Schema.NonEmptyString)
  }),
  [Rest]
).pipe(Schema.check(Pair))
export type Tls = typeof Tls.Type

/**
 * How we are authorised towards an endpoint with OAuth 2: as ourselves, or for a person who agreed once.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Auth = Schema.Union([
  Schema.StructWithRest(
    Schema.Struct({
      type: Schema.Literal("client-credentials"),
      clientId: Schema.NonEmptyString,
      clientSecret: SecretValue,
      /** What to ask for; what the server names, by default. */
      scope: Schema.optionalKey(Schema.String),
      /** Where tokens are got; found by the server's metadata, by default. */
      tokenUrl: Schema.optionalKey(HttpUrl)
    }),
    [Rest]
  ),
  Schema.StructWithRest(
    Schema.Struct({
      type: Schema.Literal("authorization-code"),
      /** Registered beforehand; without one we register ourselves. */
      clientId: Schema.optionalKey(Schema.NonEmptyString),
      clientSecret: Schema.optionalKey(SecretValue),
      scope: Schema.optionalKey(Schema.String),
      /** File that holds the token. */
      store: Schema.optionalKey(Schema.NonEmptyString)
    }),
    [Rest]
  )
]).annotate({ expected: "type client-credentials (with clientId and clientSecret) or authorization-code" })
export type Auth = typeof Auth.Type

/** What endpoints that are reached over a network have in common. */
const remote = {
  headers: Schema.optionalKey(Headers),
  tls: Schema.optionalKey(Tls),
  auth: Schema.optionalKey(Auth)
}

const http = <const Transport extends string>(transport: Transport) =>
  Schema.StructWithRest(Schema.Struct({ transport: Schema.Literal(transport), url: HttpUrl, ...remote }), [Rest])

/**
 * Where an instance is reached, by transport.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Endpoint = Schema.Union([
  http("streamable-http"),
  http("sse"),
  Schema.StructWithRest(
    Schema.Struct({ transport: Schema.Literal("websocket"), url: WebSocketUrl, ...remote }),
    [Rest]
  ),
  Schema.StructWithRest(
    Schema.Struct({
      transport: Schema.Literal("stdio"),
      command: Schema.NonEmptyString,
      args: Schema.optionalKey(Schema.Array(Schema.String)),
      env: Schema.optionalKey(Schema.Record(Schema.String, SecretValue)),
      cwd: Schema.optionalKey(Schema.String)
    }),
    [Rest]
  ),
  Schema.StructWithRest(
    Schema.Struct({
      transport: Schema.Literal("a2a"),
      card: HttpUrl,
      interface: Schema.optionalKey(Schema.String)
    }),
    [Rest]
  ),
  Schema.StructWithRest(Schema.Struct({ transport: Schema.Literal("in-process") }), [Rest])
]).annotate({ expected: "an endpoint with transport streamable-http, sse, websocket, stdio, a2a or in-process" })
export type Endpoint = typeof Endpoint.Type

const Strings = Schema.Array(Schema.String)
// A name is a segment of a URL somewhere, and half a character can't be written in one.
const Name = Schema.NonEmptyString.pipe(
  Schema.check(Schema.makeFilter(
    (text: string) => text.isWellFormed() ? undefined : "expected whole characters",
    { expected: "whole characters" }
  ))
)
const NonNegative = Schema.Finite.pipe(Schema.check(Schema.isGreaterThanOrEqualTo(0)))

/**
 * Text of a duration as configuration and records write it: `250ms`, `30s`, `5m`, `1h`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const DurationText = Schema.String.pipe(
  Schema.check(Schema.makeFilter(
    (text: string) =>
      /^\d+(\.\d+)?(ms|s|m|h|d)$/.test(text) ? undefined : "expected a duration such as 250ms, 30s or 5m",
    { expected: "a duration such as 250ms, 30s or 5m" }
  ))
)

/**
 * Schema of an announced instance. Everything except `id`, `service` and `endpoint` has a default.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ServiceInstance = Schema.StructWithRest(
  Schema.Struct({
    /** Unique in its registry. */
    id: Name,
    /** Logical name that replicas share. */
    service: Name,
    kind: Schema.Literals(["mcp-server", "agent", "tool-provider"]).pipe(
      Schema.withDecodingDefaultKey(Effect.succeed("mcp-server" as const))
    ),
    version: Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed("0.0.0"))),
    endpoint: Endpoint,
    capabilities: Strings.pipe(Schema.withDecodingDefaultKey(Effect.succeed([]))),
    tags: Strings.pipe(Schema.withDecodingDefaultKey(Effect.succeed([]))),
    /** Tool names the announcer names beforehand; what the server lists is what counts. */
    tools: Strings.pipe(Schema.withDecodingDefaultKey(Effect.succeed([]))),
    /** What the announcer says of itself. */
    status: Schema.Literals(["up", "draining", "down"]).pipe(
      Schema.withDecodingDefaultKey(Effect.succeed("up" as const))
    ),
    region: Schema.optionalKey(Schema.String),
    zone: Schema.optionalKey(Schema.String),
    /** Share of traffic relative to its peers; 0 takes none. */
    weight: NonNegative.pipe(Schema.withDecodingDefaultKey(Effect.succeed(1))),
    /** Lower is preferred. */
    priority: Schema.Int.pipe(Schema.withDecodingDefaultKey(Effect.succeed(0))),
    limits: Schema.optionalKey(
      Schema.StructWithRest(
        Schema.Struct({
          /** Calls in flight at the same time. */
          maxConcurrency: Schema.optionalKey(Schema.Int.pipe(Schema.check(Schema.isGreaterThan(0))))
        }),
        [Rest]
      )
    ),
    cost: Schema.optionalKey(
      Schema.StructWithRest(Schema.Struct({ perCall: Schema.optionalKey(NonNegative) }), [Rest])
    ),
    /** Tenants that may see it; `*` is everybody. */
    tenants: Strings.pipe(Schema.withDecodingDefaultKey(Effect.succeed(["*"]))),
    health: Schema.optionalKey(
      Schema.StructWithRest(
        Schema.Struct({
          path: Schema.optionalKey(Schema.String),
          interval: Schema.optionalKey(DurationText)
        }),
        [Rest]
      )
    ),
    metadata: Rest.pipe(Schema.withDecodingDefaultKey(Effect.succeed({})))
  }),
  [Rest]
)
export type ServiceInstance = typeof ServiceInstance.Type

const decodeResult = Schema.decodeUnknownResult(ServiceInstance, { errors: "all" })
const standard = SchemaIssue.makeFormatterStandardSchemaV1()

/**
 * Decodes one record; the failure is one line that names every wrong field: `endpoint.url: expected an http(s) URL`.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decode = (input: unknown): Result.Result<ServiceInstance, string> =>
  Result.mapBoth(decodeResult(input), { onFailure: (error) => explain(error.issue), onSuccess: compact })

// What most records have in common is one value for all of them: with thousands of records that is half of their memory.
const none: ReadonlyArray<string> = Object.freeze([])
const everybody: ReadonlyArray<string> = Object.freeze(["*"])
const nothing: ServiceInstance["metadata"] = Object.freeze({})

const compact = (record: ServiceInstance): ServiceInstance => ({
  ...record,
  capabilities: shared(record.capabilities),
  tags: shared(record.tags),
  tools: shared(record.tools),
  tenants: shared(record.tenants),
  metadata: Object.keys(record.metadata).length === 0 ? nothing : record.metadata
})

const shared = (values: ReadonlyArray<string>): ReadonlyArray<string> =>
  values.length === 0 ? none : values.length === 1 && values[0] === "*" ? everybody : values

/**
 * Tells a schema issue in one line: `path: message; path: message`.
 *
 * @category decoding
 * @since 0.1.0
 */
export const explain = (issue: SchemaIssue.Issue): string => {
  const seen = new Set<string>()
  for (const { message, path } of standard(issue).issues) {
    const where = (path ?? []).map((key) => String(typeof key === "object" ? key.key : key)).join(".")
    const what = message.replace(/\s+/g, " ").replace(/^([EM])/, (letter) => letter.toLowerCase())
    seen.add(where === "" ? what : `${where}: ${what}`)
  }
  return Array.from(seen).join("; ")
}

/**
 * Makes an instance from the fields a person writes; throws where a field is wrong. For code and tests.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (input: typeof ServiceInstance.Encoded): ServiceInstance =>
  Result.getOrThrowWith(decode(input), (reason) => new TypeError(`instance ${JSON.stringify(input.id)}: ${reason}`))

/**
 * Whether two records say the same, whatever the order of their keys. Costs no allocation.
 *
 * @category equality
 * @since 0.1.0
 */
export const equals = (self: unknown, that: unknown): boolean => {
  // As JSON has it: -0 is written as 0.
  if (self === that || Object.is(self, that)) return true
  if (Array.isArray(self)) {
    return Array.isArray(that) && self.length === that.length &&
      self.every((value, index) => equals(value, that[index]))
  }
  if (!isRecord(self) || !isRecord(that)) return false
  let keys = 0
  for (const key in self) {
    if (!Object.hasOwn(that, key) || !equals(self[key], that[key])) return false
    keys++
  }
  for (const _ in that) keys--
  return keys === 0
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/**
 * Text that two endpoints share exactly when a call to the one is a call to the other. `in-process` endpoints have no
 * address, so they are told apart by the instance's id.
 *
 * @category identity
 * @since 0.1.0
 */
export const endpointKey = (instance: ServiceInstance): string => {
  const endpoint = instance.endpoint
  switch (endpoint.transport) {
    case "stdio":
      return JSON.stringify(["stdio", endpoint.command, endpoint.args ?? [], endpoint.env ?? {}, endpoint.cwd ?? ""])
    case "a2a":
      return `a2a ${endpoint.card} ${endpoint.interface ?? ""}`
    case "in-process":
      return `in-process ${instance.id}`
    // The most common: no text of its own for each of thousands. No URL looks like one of the other texts.
    case "streamable-http":
      return endpoint.url
    default:
      return `${endpoint.transport} ${endpoint.url}`
  }
}
