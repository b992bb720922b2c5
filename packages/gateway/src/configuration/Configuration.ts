/**
 * The configuration file: `portolan.yaml` or `portolan.json`.
 *
 * **Mental model**: text goes in, a value or the list of *all* mistakes comes out, each with path, line and column. Every
 * key has a default, so the empty file is a configuration. `${NAME}` and `${NAME:-default}` stand for environment
 * variables, anywhere in a text; `$${` is a plain `${`.
 *
 * **Details**: the options of a registry belong to its adapter, which this package doesn't know. The program that knows
 * the adapters hands in a descriptor for each.
 *
 * @since 0.1.0
 */
import type { BalancerOptions } from "@portolan/core/Balancer"
import type { HealthOptions } from "@portolan/core/Health"
import type { RouterOptions } from "@portolan/core/Router"
import type { RoutingRule } from "@portolan/core/RoutingRule"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import type { LiveOptions as UpstreamsOptions } from "@portolan/mcp/upstream/Upstreams"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { ClientLimits } from "../Gateway.ts"
import type { Path as DocumentPath } from "../internal/document.ts"
import { read } from "../internal/document.ts"
import { millisOf } from "../internal/durations.ts"
import { bytesOf } from "../internal/fields.ts"
import { collect, explain, reread, valueAt } from "../internal/findings.ts"
import { Document, RegistryEntry } from "../internal/schema.ts"
import type { TlsFiles } from "../internal/tls.ts"
import { unreadable } from "../internal/unreadable.ts"
import { lookupIn, reading } from "../internal/variables.ts"
import type { Webhook } from "../rest/Webhooks.ts"
import type { TelemetryOptions } from "../telemetry/Telemetry.ts"
import { type Adapter, type ConfiguredRegistry, readRegistry } from "./Adapter.ts"
import * as CallsEntry from "./CallsEntry.ts"
import * as HealthEntry from "./HealthEntry.ts"
import { ConfigurationError, type Mistake } from "./Mistake.ts"
import * as RoutingEntry from "./RoutingEntry.ts"
import type { References } from "./Secret.ts"
import * as ServerEntry from "./ServerEntry.ts"
import * as UpstreamsEntry from "./UpstreamsEntry.ts"

export { type Adapter, adapter, type ConfiguredRegistry, type Decoded, type Open, type OpenContext } from "./Adapter.ts"
export { ConfigurationError, type Mistake, showMistake } from "./Mistake.ts"

/**
 * Settings of the listener and of the names it shows, with all defaults filled in.
 *
 * @category models
 * @since 0.1.0
 */
export interface GatewaySettings {
  readonly host: string
  readonly port: number
  readonly publicUrl: string | undefined
  readonly naming: "prefix" | "conflict" | "none"
  readonly separator: string
  readonly token: string | undefined
  readonly sessionKey: string | undefined
  readonly sessions: "sticky" | "strict" | "free"
  readonly pageSize: number
  readonly listTtl: Duration.Duration
  /** Bytes. */
  readonly resourceCache: number
  readonly showRouting: boolean
  readonly sessionLifetime: Duration.Duration
  readonly sessionIdleTimeout: Duration.Duration
  readonly inputTimeout: Duration.Duration
  readonly limits: ClientLimits
  /** Bytes. */
  readonly bodyLimit: number
  readonly allowedHosts: ReadonlyArray<string>
  readonly allowedOrigins: ReadonlyArray<string>
  readonly shutdownTimeout: Duration.Duration
  readonly sse: boolean
  readonly documents: boolean
  /** Absolute paths. */
  readonly tls: TlsFiles | undefined
}

/**
 * A configuration without mistakes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Configuration {
  readonly gateway: GatewaySettings
  /** Whether browsers get the dashboard, where the program brings one: `gateway.dashboard` of the file. */
  readonly dashboard: boolean
  readonly registries: ReadonlyArray<ConfiguredRegistry>
  /** The servers of `mcpServers` and `servers`. */
  readonly servers: ReadonlyArray<ServiceInstance>
  readonly upstreams: UpstreamsOptions
  readonly health: HealthOptions
  readonly balancing: BalancerOptions
  /** Of `calls`, `routing` and `balancing.panicThreshold`. */
  readonly routing: RouterOptions
  /** Services that are one to clients, tools that stand for capabilities, and how old lists may be. */
  readonly catalog: {
    readonly groups: Readonly<Record<string, ReadonlyArray<string>>>
    readonly aliases: Readonly<Record<string, ReadonlyArray<string>>>
    /** ms */
    readonly maxAge: number
  }
  readonly telemetry: TelemetryOptions
  readonly webhooks: ReadonlyArray<Webhook>
  /** What the file says, with defaults filled in and variables substituted. It holds secrets. */
  readonly document: Document
  readonly source: Source
}

/**
 * The file that a configuration was read from.
 *
 * @category models
 * @since 0.1.0
 */
export interface Source {
  /** Its name in mistakes. */
  readonly file: string
  /** Paths of the other files that were read: a change of theirs may change the configuration. */
  readonly others: ReadonlyArray<string>
  /** Where the value at a path comes from. */
  readonly originOf: (path: DocumentPath) => Origin
  /** A mistake about the part of the file at a path, or the nearest part around it. */
  readonly mistakeAt: (path: DocumentPath, message: string) => Mistake
}

/**
 * Where a value of a configuration comes from.
 *
 * @category models
 * @since 0.1.0
 */
export type Origin = "default" | "file" | "flag"

/**
 * What reading a configuration needs of the outside.
 *
 * @category models
 * @since 0.1.0
 */
export interface ParseOptions {
  /** Name of the file in mistakes. Default `portolan.yaml`. */
  readonly file?: string | undefined
  /** Where relative paths start. Default: the working directory. */
  readonly directory?: string | undefined
  readonly adapters: ReadonlyArray<Adapter>
  /** Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  /** What wins over the file: the flags of a command line. */
  readonly flags?: { readonly host?: string | undefined; readonly port?: number | undefined } | undefined
  /** Reads the files that the document names; the failure is why one can't be read, without its path. */
  readonly readFile?: ((path: string) => Result.Result<string, string>) | undefined
}

/**
 * Name of the registry that holds the servers of `mcpServers` and `servers`: no other may have it.
 *
 * @category models
 * @since 0.1.0
 */
export const serversName = "static"

const defaultName = "portolan.yaml"

const strict = { errors: "all", onExcessProperty: "error" } as const

const readFile = (path: string): Result.Result<string, string> =>
  Result.try({ try: () => Fs.readFileSync(path, "utf8"), catch: unreadable })

const cantRead = (path: string, reason: string): string => `can't read ${path}: ${reason}`

const decodeDocument = Schema.decodeUnknownResult(Document, strict)
const decodeServer = Schema.decodeUnknownResult(ServerEntry.ServerEntry, strict)

const durationOf = (text: string): Duration.Duration => Duration.millis(millisOf(text))

const showPath = (path: DocumentPath): string =>
  path.map((key, index) => typeof key === "number" ? `[${key}]` : index === 0 ? key : `.${key}`).join("")

/**
 * Reads the text of a configuration.
 *
 * @category decoding
 * @since 0.1.0
 */
export const parse = (text: string, options: ParseOptions): Result.Result<Configuration, ConfigurationError> => {
  const directory = options.directory ?? process.cwd()
  const { variable, withNames } = reading(options.env ?? process.env)
  const readText = options.readFile ?? readFile
  const document = read(text, lookupIn(variable, directory))
  const findings = collect(document)
  const others: Array<string> = []
  const readOther = (path: string) => {
    if (!others.includes(path)) others.push(path)
    return readText(path)
  }
  const references: References["Service"] = {
    variable,
    file: (path) => readOther(Path.resolve(directory, path))
  }
  const fail = () =>
    Result.fail(
      new ConfigurationError({
        file: options.file ?? defaultName,
        others,
        mistakes: findings.all
          .toSorted((a, b) => a.line - b.line || a.column - b.column)
          .map(({ column, line, message, path }) => ({
            path: showPath(path),
            line,
            column,
            message: withNames(message)
          }))
      })
    )
  if (findings.all.some((finding) => finding.path.length === 0)) return fail()

  let root = document.value
  let decoded = decodeDocument(root)
  if (Result.isFailure(decoded)) {
    root = reread(document, root, decoded.failure)
    decoded = decodeDocument(root)
  }
  if (Result.isFailure(decoded)) findings.add(...explain(document, Document, decoded.failure, [], root))

  // The registries and servers are looked at even if the rest has mistakes: all are told at once.
  const registries: Array<ConfiguredRegistry> = []
  const entries = valueAt(root, ["registries"])
  if (Array.isArray(entries)) {
    for (const index of entries.keys()) {
      const result = readRegistry(document, root, index, { adapters: options.adapters, directory, references })
      if (Result.isFailure(result)) {
        findings.add(...result.failure)
        continue
      }
      const { named, registries: found } = result.success
      for (const registry of found) {
        const { name } = registry
        if (name === serversName || registries.some((other) => other.name === name)) {
          const path = named ? ["registries", index, "name"] : ["registries", index]
          const message = `another registry is called ${name}; give this one another name`
          findings.add({ path, ...document.valueAt(path), message })
        }
        registries.push(registry)
      }
    }
  }
  const servers: Array<ServiceInstance> = []
  for (const section of ["mcpServers", "servers"] as const) {
    for (const [key, value] of Object.entries(Object(valueAt(root, [section])))) {
      const entry = decodeServer(value)
      if (Result.isFailure(entry) || entry.success.disabled === true) continue
      const made = ServerEntry.toInstance(key, entry.success, { directory, readFile: readOther })
      if (Result.isFailure(made)) {
        for (const { message, path } of made.failure) {
          const full = [section, key, ...path]
          findings.add({ path: full, ...(path.length === 0 ? document.keyAt(full) : document.valueAt(full)), message })
        }
        continue
      }
      if (servers.some((server) => server.id === key)) {
        findings.add({ path: [section, key], ...document.keyAt([section, key]), message: "stands in mcpServers too" })
      }
      servers.push(made.success)
    }
  }
  const rules: Array<RoutingRule> = []
  if (Result.isSuccess(decoded)) {
    for (const [index, entry] of decoded.success.routing.entries()) {
      const rule = RoutingEntry.toRule(entry, durationOf)
      if (Result.isSuccess(rule)) rules.push(rule.success)
      else {
        const path = ["routing", index, ...rule.failure.path]
        findings.add({ path, ...document.valueAt(path), message: rule.failure.message })
      }
    }
  }
  if (Result.isSuccess(decoded)) {
    const groupOf = new Map<string, string>()
    for (const [group, services] of Object.entries(decoded.success.catalog.groups)) {
      for (const [index, service] of services.entries()) {
        const other = groupOf.get(service)
        groupOf.set(service, group)
        if (other === undefined) continue
        const path = ["catalog", "groups", group, index]
        findings.add({ path, ...document.valueAt(path), message: `"${service}" is in group "${other}" already` })
      }
    }
  }
  const tls = Result.isFailure(decoded) ? undefined : decoded.success.gateway.tls
  const absolute = (path: string) => Path.resolve(directory, path)
  for (const name of ["cert", "key", "ca"] as const) {
    const path = tls?.[name]
    if (path === undefined) continue
    const text = readText(absolute(path))
    if (Result.isSuccess(text)) continue
    const where = ["gateway", "tls", name]
    findings.add({ path: where, ...document.valueAt(where), message: cantRead(path, text.failure) })
  }
  if (Result.isFailure(decoded) || findings.all.length > 0) return fail()

  const flags = Object.fromEntries(Object.entries(options.flags ?? {}).filter(([, value]) => value !== undefined))
  const settings: Document = { ...decoded.success, gateway: { ...decoded.success.gateway, ...flags } }
  const {
    balancing: { panicThreshold, slowStart, strategy },
    gateway: { dashboard, ...gateway },
    telemetry: { log, otlp }
  } = settings
  return Result.succeed({
    gateway: {
      ...gateway,
      publicUrl: gateway.publicUrl,
      token: gateway.token,
      sessionKey: gateway.sessionKey,
      bodyLimit: bytesOf(gateway.bodyLimit),
      listTtl: durationOf(gateway.listTtl),
      resourceCache: bytesOf(gateway.resourceCache),
      sessionLifetime: durationOf(gateway.sessionLifetime),
      sessionIdleTimeout: durationOf(gateway.sessionIdleTimeout),
      inputTimeout: durationOf(gateway.inputTimeout),
      limits: { ...gateway.limits, replay: bytesOf(gateway.limits.replay) },
      tls: tls === undefined ? undefined : {
        ...tls,
        cert: absolute(tls.cert),
        key: absolute(tls.key),
        ca: tls.ca === undefined ? undefined : absolute(tls.ca)
      },
      shutdownTimeout: durationOf(gateway.shutdownTimeout)
    },
    dashboard,
    registries,
    servers,
    upstreams: UpstreamsEntry.toOptions(settings.upstreams, durationOf),
    health: HealthEntry.toOptions(settings.health, durationOf),
    balancing: { strategy, slowStart: durationOf(slowStart) },
    routing: { ...CallsEntry.toOptions(settings.calls, durationOf), panicThreshold, rules },
    catalog: { ...settings.catalog, maxAge: millisOf(settings.catalog.maxAge) },
    telemetry: { log, ...(otlp === undefined ? {} : { otlp: { ...otlp, interval: durationOf(otlp.interval) } }) },
    webhooks: settings.webhooks,
    document: settings,
    source: {
      file: options.file ?? defaultName,
      others,
      originOf: (path) =>
        path[0] === "gateway" && path[1] !== undefined && Object.hasOwn(flags, path[1])
          ? "flag"
          : valueAt(root, path) === undefined
          ? "default"
          : "file",
      mistakeAt: (path, message) => ({ path: showPath(path), ...document.valueAt(path), message })
    }
  })
}

/**
 * Reads a configuration file.
 *
 * @category constructors
 * @since 0.1.0
 */
export const load = (
  path: string,
  options: Omit<ParseOptions, "file" | "directory">
): Effect.Effect<Configuration, ConfigurationError> =>
  Effect.suspend(() => {
    const text = readFile(path)
    if (Result.isFailure(text)) {
      return Effect.fail(
        new ConfigurationError({
          file: path,
          others: [],
          mistakes: [{ path: "", line: 1, column: 1, message: cantRead(path, text.failure) }]
        })
      )
    }
    return Effect.fromResult(
      parse(text.success, { ...options, file: path, directory: Path.dirname(Path.resolve(path)) })
    )
  })

/**
 * Makes the JSON Schema of the configuration file, with the options of these adapters.
 *
 * @category converting
 * @since 0.1.0
 */
export const jsonSchema = (adapters: ReadonlyArray<Adapter>): Record<string, unknown> => {
  const generate = (schema: Schema.Top) => Schema.toJsonSchemaDocument(schema, { onExcessProperty: "error" })
  const document = generate(Document)
  const common = generate(RegistryEntry).schema
  const definitions: Record<string, unknown> = { ...document.definitions }
  const entries = adapters.map(({ options, type }) => {
    const own = generate(options)
    Object.assign(definitions, own.definitions)
    return {
      type: "object",
      properties: { ...Object(common["properties"]), type: { const: type }, ...Object(own.schema["properties"]) },
      required: ["type", ...Array.isArray(own.schema["required"]) ? own.schema["required"] : []],
      additionalProperties: false
    }
  })
  const properties = Object(document.schema["properties"])
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Portolan configuration",
    ...document.schema,
    properties: { ...properties, registries: { ...Object(properties["registries"]), items: { oneOf: entries } } },
    ...(Object.keys(definitions).length === 0 ? {} : { $defs: definitions })
  }
}
