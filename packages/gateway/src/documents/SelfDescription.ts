/**
 * What the gateway publishes about itself, in the forms by which MCP servers are found: an entry of an MCP registry, a
 * server card, and the catalog of a domain, which leads to the card.
 *
 * **Mental model**: to the world outside the gateway is one MCP server. Where the servers behind it are is nobody's
 * business, and what they offer is asked of the gateway by MCP; so the documents say who it is, where it is and which
 * versions of MCP it speaks, and nothing else.
 *
 * @see https://github.com/modelcontextprotocol/registry/blob/main/docs/reference/api/openapi.yaml
 * @see https://github.com/modelcontextprotocol/modelcontextprotocol/pull/2127
 * @see https://github.com/Agent-Card/ai-catalog
 * @since 0.2.0
 */
import { handshakeVersions, statelessVersions } from "@portolan/mcp/Era"
import * as Context from "effect/Context"
import * as Schema from "effect/Schema"

const Transport = Schema.Literals(["streamable-http", "sse"])

const identity = {
  $schema: Schema.String,
  name: Schema.String.annotate({ description: "Its domain backwards, and what it is: `com.example.mcp/portolan`" }),
  title: Schema.String,
  description: Schema.String,
  version: Schema.String
}

/**
 * Media type of a server card.
 *
 * @category constants
 * @since 0.2.0
 */
export const serverCardType = "application/mcp-server-card+json"

/**
 * Media type of a catalog.
 *
 * @category constants
 * @since 0.2.0
 */
export const catalogType = "application/ai-catalog+json"

/**
 * Schema of a server card (SEP-2127).
 *
 * @category schemas
 * @since 0.2.0
 */
export const ServerCard = Schema.Struct({
  ...identity,
  remotes: Schema.Array(
    Schema.Struct({
      type: Transport,
      url: Schema.String,
      supportedProtocolVersions: Schema.Array(Schema.String)
    })
  )
}).annotate({ identifier: "ServerCard" })
export type ServerCard = typeof ServerCard.Type

/**
 * Schema of a server in an MCP registry, with what the registry says of it.
 *
 * @category schemas
 * @since 0.2.0
 */
export const RegistryEntry = Schema.Struct({
  /** `server.json` of 2025-12-11. */
  server: Schema.Struct({
    ...identity,
    remotes: Schema.Array(Schema.Struct({ type: Transport, url: Schema.String }))
  }),
  _meta: Schema.Struct({
    "io.modelcontextprotocol.registry/official": Schema.Struct({
      status: Schema.Literal("active"),
      publishedAt: Schema.String.annotate({ description: "ISO 8601" }),
      updatedAt: Schema.String.annotate({ description: "ISO 8601" }),
      isLatest: Schema.Boolean
    })
  })
}).annotate({ identifier: "RegistryEntry" })
export type RegistryEntry = typeof RegistryEntry.Type

/**
 * Schema of a page of an MCP registry.
 *
 * @category schemas
 * @since 0.2.0
 */
export const RegistryPage = Schema.Struct({
  servers: Schema.Array(RegistryEntry),
  metadata: Schema.Struct({ count: Schema.Int })
}).annotate({ identifier: "RegistryPage" })

/**
 * Schema of the catalog of a domain.
 *
 * @category schemas
 * @since 0.2.0
 */
export const AiCatalog = Schema.Struct({
  specVersion: Schema.String,
  entries: Schema.Array(
    Schema.Struct({
      identifier: Schema.String,
      displayName: Schema.String,
      type: Schema.String,
      mediaType: Schema.String.annotate({ description: "What `type` was called in earlier drafts" }),
      url: Schema.String
    })
  )
}).annotate({ identifier: "AiCatalog" })
export type AiCatalog = typeof AiCatalog.Type

/**
 * Everything that the gateway publishes.
 *
 * @category models
 * @since 0.2.0
 */
export interface Documents {
  readonly card: ServerCard
  readonly entry: RegistryEntry
  readonly catalog: AiCatalog
}

/**
 * Service that tells what the gateway publishes to whoever reached it under a host, as a `Host` header names it; nothing
 * where it publishes nothing.
 *
 * @category services
 * @since 0.2.0
 */
export class SelfDescription extends Context.Service<SelfDescription, {
  /** Plain. */
  readonly documents: (host: string) => Documents | undefined
}>()("@portolan/gateway/documents/SelfDescription") {}

/**
 * What the documents are made of.
 *
 * @category models
 * @since 0.2.0
 */
export interface Described {
  /** Address of the gateway for clients; what is secret in it isn't told. */
  readonly url: string
  readonly version: string
  /** Whether it serves `/sse` too. */
  readonly sse: boolean
  /** Epoch ms at which it began to be as it is now. */
  readonly since: number
}

/** What stands for the host in names, which can hold letters, digits, dots and hyphens. */
const publisherOf = ({ hostname }: URL): string =>
  hostname === "[::1]" || hostname.startsWith("127.")
    ? "localhost"
    : hostname.replace(/[[\]]/g, "").replace(/[^a-z0-9.-]/g, "-")

const backwards = (domain: string): string =>
  /^[\d.]+$/.test(domain) ? domain : domain.split(".").toReversed().join(".")

/**
 * Makes the documents.
 *
 * @category constructors
 * @since 0.2.0
 */
export const describe = ({ since, sse, url, version }: Described): Documents => {
  const address = new URL(url)
  const base = address.origin + address.pathname.replace(/\/+$/, "")
  const publisher = publisherOf(address)
  const self = {
    name: `${backwards(publisher)}/portolan`,
    title: "Portolan",
    description: "One MCP endpoint in front of every MCP server that is announced to this gateway",
    version
  }
  const http = { type: "streamable-http", url: `${base}/mcp` } as const
  const old = sse ? [{ type: "sse", url: `${base}/sse` } as const] : []
  const at = new Date(since).toISOString()
  return {
    card: {
      $schema: "https://static.modelcontextprotocol.io/schemas/v1/server-card.schema.json",
      ...self,
      remotes: [
        { ...http, supportedProtocolVersions: [...statelessVersions, ...handshakeVersions] },
        ...old.map((remote) => ({ ...remote, supportedProtocolVersions: ["2024-11-05"] }))
      ]
    },
    entry: {
      server: {
        $schema: "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
        ...self,
        remotes: [http, ...old]
      },
      _meta: {
        "io.modelcontextprotocol.registry/official": {
          status: "active",
          publishedAt: at,
          updatedAt: at,
          isLatest: true
        }
      }
    },
    catalog: {
      specVersion: "1.0",
      entries: [{
        identifier: `urn:air:${publisher}:mcp:portolan`,
        displayName: self.title,
        type: serverCardType,
        mediaType: serverCardType,
        url: `${http.url}/server-card`
      }]
    }
  }
}
