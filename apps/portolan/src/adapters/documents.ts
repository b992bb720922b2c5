import type { Document } from "@portolan/documents/DocumentsRegistry"
import * as Configuration from "@portolan/gateway/configuration/Configuration"
import { secret } from "@portolan/gateway/configuration/Secret"
import * as TlsEntry from "@portolan/gateway/configuration/TlsEntry"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { common, httpUrl, namesUser, network, optional, protection, time, withTls } from "./fields.ts"

/** The keys that name a document, and what the registry of one is called with the host of its address. */
const kinds = {
  mcpRegistry: "mcp-registry",
  catalog: "catalog",
  serverCard: "server-card",
  agentCard: "agent-card"
} as const

type Kind = keyof typeof kinds

interface Addresses extends Partial<Readonly<Record<Kind, string>>> {
  readonly search?: string
}

const kindsOf = (options: Addresses): ReadonlyArray<Kind> =>
  Object.keys(kinds).filter((kind): kind is Kind => Object.hasOwn(options, kind))

/** The document of options that name one. */
const documentOf = ({ agentCard, catalog, mcpRegistry = "", search, serverCard }: Addresses): Document =>
  catalog !== undefined
    ? { catalog }
    : serverCard !== undefined
    ? { serverCard }
    : agentCard !== undefined
    ? { agentCard }
    : { mcpRegistry, search }

export const documents = Configuration.adapter({
  type: "documents",
  options: Schema.Struct({
    mcpRegistry: Schema.optionalKey(
      httpUrl("Address of an MCP registry, such as https://registry.modelcontextprotocol.io")
    ),
    catalog: Schema.optionalKey(
      httpUrl("Address of a catalog, or of the domain whose /.well-known/ai-catalog.json it is")
    ),
    serverCard: Schema.optionalKey(
      httpUrl("Address of a server card, or of the MCP endpoint that has it at /server-card")
    ),
    agentCard: Schema.optionalKey(
      httpUrl("Address of an agent card, or of the domain whose /.well-known/agent-card.json it is")
    ),
    search: optional(Schema.NonEmptyString, "Only servers of the MCP registry with this in their names"),
    every: time("Time between two readings; 5m by default"),
    variables: optional(
      Schema.Record(Schema.String, Schema.String),
      "Values of the {variables} that servers name in addresses and headers; any of them gets them, so no secrets"
    ),
    allowNetworks: optional(
      Schema.Array(network),
      "Networks beside the public ones that a public document may point at; none by default"
    ),
    token: Schema.optionalKey(secret("Bearer token, sent to that address only")),
    tls: protection.tls
  }).pipe(Schema.check(Schema.makeFilter((options) => {
    const [kind, ...more] = kindsOf(options)
    if (kind === undefined || more.length > 0) {
      return `expected one of ${Object.keys(kinds).map((key) => `\`${key}\``).join(", ")}`
    }
    const url = options[kind] ?? ""
    if (namesUser(url)) return { path: [kind], issue: "what is secret of it belongs in `token`" }
    if (kind !== "mcpRegistry" && options.search !== undefined) {
      return { path: ["search"], issue: "needs `mcpRegistry`" }
    }
    return options.tls === undefined ? undefined : withTls([url])
  }))),
  name: (options) => kindsOf(options).map((kind) => `${kinds[kind]} ${URL.parse(options[kind] ?? "")?.host}`).join(),
  open: ({ allowNetworks, every, tls, token, variables, ...addresses }, context) =>
    Effect.flatMap(
      Effect.promise(() => import("@portolan/documents/DocumentsRegistry")),
      (DocumentsRegistry) =>
        DocumentsRegistry.make({
          ...documentOf(addresses),
          ...common(context),
          allowNetworks,
          every,
          variables,
          token,
          tls: tls === undefined ? undefined : TlsEntry.toOptions(tls)
        })
    )
})
