/**
 * Instances in published documents: MCP registries, catalogs of a domain, server cards, agent cards.
 *
 * **Mental model**: a document is polled; what it says becomes records. A read-only registry, since publishing is done
 * by whoever owns the document.
 *
 * @since 0.2.0
 */
import * as IpSet from "@portolan/core/IpSet"
import * as Registries from "@portolan/core/Registries"
import * as Registry from "@portolan/core/Registry"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as AgentCard from "./internal/agentCard.ts"
import * as AiCatalog from "./internal/aiCatalog.ts"
import * as Http from "./internal/http.ts"
import type { Read, Source, Terms } from "./internal/listing.ts"
import * as McpRegistry from "./internal/mcpRegistry.ts"
import * as Reach from "./internal/reach.ts"
import * as ServerCard from "./internal/serverCard.ts"

/**
 * Which document; one of these.
 *
 * @category models
 * @since 0.2.0
 */
export type Document =
  /** Base address of an MCP registry or of a sub-registry: `https://registry.modelcontextprotocol.io`. */
  | { readonly mcpRegistry: string; readonly search?: string | undefined }
  /** Address of a catalog, or of the domain whose `/.well-known/ai-catalog.json` it is. */
  | { readonly catalog: string }
  /** Address of a server card, which ends in `.json`, or of the MCP endpoint that serves it at `/server-card`. */
  | { readonly serverCard: string }
  /** Address of an agent card, or of the domain whose `/.well-known/agent-card.json` it is. */
  | { readonly agentCard: string }

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.2.0
 */
export type DocumentsRegistryOptions = Document & {
  /** Between two polls, moved by up to a tenth at random. Default 5 min. */
  readonly every?: Duration.Input | undefined
  /**
   * Values of what servers ask for by name: `{variables}` of an address or a header. Any server that names one gets it,
   * so none may be a secret; what a server calls a secret isn't taken from here.
   */
  readonly variables?: Readonly<Record<string, string>> | undefined
  /** Sent as `Authorization: Bearer …`, to the address itself only. */
  readonly token?: Redacted.Redacted | undefined
  /** For an `https:` address, and to the address itself only. */
  readonly tls?: Registry.TlsOptions | undefined
  /** Networks, ranges and addresses that a public document may point at besides public addresses. Default: none. */
  readonly allowNetworks?: ReadonlyArray<string> | undefined
  /** Default: the kind of the document and its host, such as `mcp-registry registry.example.com`. */
  readonly name?: string | undefined
  /** Default `limited`: packages that would be run here are rejected. With `full` a document may point anywhere. */
  readonly trust?: Registry.Registry["trust"] | undefined
}

/** What is special about a kind of document. */
interface Kind {
  readonly kind: string
  /** The setting that holds its address. */
  readonly setting: string
  readonly address: string
  /** The path of the document, also where the address is only that of what has it. */
  readonly location: (url: URL) => string
  readonly reader: (source: Source) => Read
}

const kindOf = (document: Document): Kind => {
  if ("mcpRegistry" in document) {
    const { location, reader } = McpRegistry
    return { kind: "mcp-registry", setting: "mcpRegistry", address: document.mcpRegistry, location, reader }
  }
  if ("catalog" in document) {
    const { location, reader } = AiCatalog
    return { kind: "catalog", setting: "catalog", address: document.catalog, location, reader }
  }
  if ("serverCard" in document) {
    const { location, reader } = ServerCard
    return { kind: "server-card", setting: "serverCard", address: document.serverCard, location, reader }
  }
  const { location, reader } = AgentCard
  return { kind: "agent-card", setting: "agentCard", address: document.agentCard, location, reader }
}

/**
 * The name of a registry with these settings.
 *
 * @category accessors
 * @since 0.2.0
 */
export const nameOf = (options: DocumentsRegistryOptions): string => {
  const { address, kind } = kindOf(options)
  return options.name ?? [kind, URL.parse(address)?.host].join(" ").trim()
}

/**
 * Makes a registry of published documents. Nothing is connected before it is used, and nothing stays connected between
 * two polls.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  options: DocumentsRegistryOptions
): Effect.Effect<Registry.Registry, Registry.RegistryError, Scope.Scope> =>
  Effect.gen(function*() {
    const { address, location, reader, setting } = kindOf(options)
    const home = URL.parse(address)
    const name = nameOf(options)
    const wrong = (reason: string) => new Registry.RegistryError({ registry: name, operation: "open", reason })
    if (home === null || !/^https?:$/.test(home.protocol)) {
      return yield* wrong(`${setting}: expected an http(s) URL`)
    }
    if (home.username !== "" || home.password !== "") {
      return yield* wrong(`${setting}: a user name or password can't be part of it; set \`token\``)
    }
    if (options.tls !== undefined && home.protocol === "http:") {
      return yield* wrong(`tls: expected an https address in \`${setting}\``)
    }
    const allow = yield* Effect.fromResult(
      Result.mapError(IpSet.parseAll(options.allowNetworks ?? []), (reason) => wrong(`allowNetworks: ${reason}`))
    )
    home.pathname = location(home)
    home.hash = ""

    const mayRun = options.trust === "full"
    const terms: Terms = {
      given: options.variables ?? {},
      reach: Reach.make({ allow, everywhere: mayRun }),
      mayRun
    }
    const open = yield* Http.make({ home, reach: terms.reach, token: options.token, tls: options.tls })
    const read = reader({ home, terms, search: "search" in options ? options.search : undefined })
    // One reading at a time: a `list` may come while a session polls.
    const turn = Semaphore.makeUnsafe(1)
    return yield* Registry.fromPoll({
      name,
      type: "documents",
      every: options.every ?? "5 minutes",
      poll: turn.withPermit(Effect.scoped(Effect.flatMap(open, read))).pipe(
        Effect.mapError((cause) =>
          new Registry.RegistryError({
            registry: name,
            operation: "poll",
            reason: cause.reason,
            ...(cause.unauthorized ? { unauthorized: true } : {}),
            cause
          })
        )
      ),
      // Thousands of servers are hundreds of pages.
      timeout: "5 minutes",
      trust: options.trust ?? "limited"
    })
  })

/**
 * Layer that adds a registry of published documents to `Registries`.
 *
 * @category layers
 * @since 0.2.0
 */
export const layer = (
  options: DocumentsRegistryOptions & { readonly precedence?: number | undefined }
): Layer.Layer<never, Registry.RegistryError, Registries.Registries> => Registries.layerOf(make(options), options)
