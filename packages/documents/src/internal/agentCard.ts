/**
 * Agent cards of the Agent2Agent protocol, of versions 0.3 and 1.0.
 *
 * **Mental model**: a card lists the interfaces of one agent, the preferred one first. It becomes one instance, of kind
 * `agent`, that names its card and the first interface that is spoken over HTTP.
 *
 * @see https://github.com/a2aproject/A2A
 */
import * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Documents } from "./documents.ts"
import { list, text } from "./inputs.ts"
import { defined, type Listing, type Read, type Records, records, type Source, type Terms } from "./listing.ts"

/** Media type of an agent card where it is listed. */
export const mediaType = "application/a2a-agent-card+json"

/**
 * Schema of an agent card, as far as it is read: `supportedInterfaces` is how 1.0 says what 0.3 says with `url`,
 * `preferredTransport` and `additionalInterfaces`.
 */
export const AgentCard = Schema.Struct({
  name: text(500).pipe(Schema.check(Schema.isNonEmpty())),
  version: Schema.optionalKey(text(255)),
  description: Schema.optionalKey(text(4000)),
  documentationUrl: Schema.optionalKey(text(2048)),
  provider: Schema.optionalKey(Schema.Struct({ organization: Schema.optionalKey(text(500)) })),
  skills: Schema.optionalKey(
    list(Schema.Struct({ id: text(256), tags: Schema.optionalKey(list(text(256), 256)) }), 256)
  ),
  supportedInterfaces: Schema.optionalKey(
    list(
      Schema.Struct({
        url: text(2048),
        protocolBinding: text(256),
        protocolVersion: Schema.optionalKey(text(64))
      }),
      64
    )
  ),
  protocolVersion: Schema.optionalKey(text(64)),
  url: Schema.optionalKey(text(2048)),
  preferredTransport: Schema.optionalKey(text(256)),
  additionalInterfaces: Schema.optionalKey(list(Schema.Struct({ url: text(2048), transport: text(256) }), 64))
})
export type AgentCard = typeof AgentCard.Type

const decodeResult = Schema.decodeUnknownResult(AgentCard, { errors: "all" })

/** Decodes a card; the failure is one line. */
export const decode = (value: unknown): Result.Result<AgentCard, string> =>
  Result.mapError(decodeResult(value), (error) => ServiceInstance.explain(error.issue))

/** The service that an agent is: its name, in the form of one. */
const serviceOf = ({ name }: AgentCard): string =>
  name.normalize("NFKD").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "agent"

/** Makes the instance of a card. `url` is where the card is; none: it stood in the document that lists it. */
export const read = (card: AgentCard, url: URL | undefined, listing: Listing, terms: Terms): Records =>
  records(listing.id, [(id) =>
    Result.gen(function*() {
      const chosen = yield* interfaceOf(card)
      const refused = terms.reach.refusal(listing.from, chosen.url)
      if (refused !== undefined) return yield* Result.fail(`url: ${refused}`)
      return yield* ServiceInstance.decode(defined({
        id,
        service: serviceOf(card),
        kind: "agent",
        version: listing.version ?? card.version,
        endpoint: {
          transport: "a2a",
          card: (url ?? new URL(wellKnown, chosen.url)).href,
          interface: chosen.url.href
        },
        capabilities: card.skills?.map(({ id }) => id),
        tags: unique([...listing.tags ?? [], ...card.skills?.flatMap(({ tags }) => tags ?? []) ?? []]),
        metadata: defined({
          title: listing.title ?? card.name,
          description: listing.description ?? card.description,
          provider: card.provider?.organization,
          websiteUrl: card.documentationUrl,
          protocolVersion: chosen.version,
          ...listing.metadata
        })
      }))
    })])

/** Where a host has its card (RFC 8615), and where it was before version 0.3. */
const wellKnown = "/.well-known/agent-card.json"
const older = "/.well-known/agent.json"

/** Where the card of a domain is. */
export const location = ({ pathname }: URL): string => pathname === "/" ? wellKnown : pathname

/** Makes what reads the card of one agent. */
export const reader = ({ home, terms }: Source): Read => {
  const cards = new Documents(mediaType, decode)
  return (get) =>
    cards.get(get, home).pipe(
      Effect.catchIf(
        ({ status }) => status === 404 && home.pathname === wellKnown,
        () => cards.get(get, new URL(older, home))
      ),
      Effect.map(({ url, value }) => {
        const { instances, rejected } = read(value, url, { id: serviceOf(value), from: url }, terms)
        return Registry.snapshot(instances, rejected)
      })
    )
}

interface Interface {
  readonly url: string | undefined
  readonly binding: string
  readonly version: string | undefined
}

const interfacesOf = (card: AgentCard): ReadonlyArray<Interface> => {
  if (card.supportedInterfaces !== undefined && card.supportedInterfaces.length > 0) {
    return card.supportedInterfaces.map(({ protocolBinding, protocolVersion, url }) => ({
      url,
      binding: protocolBinding,
      version: protocolVersion
    }))
  }
  const version = card.protocolVersion
  return [
    { url: card.url, binding: card.preferredTransport ?? "JSONRPC", version },
    ...(card.additionalInterfaces ?? []).map(({ transport, url }) => ({ url, binding: transport, version }))
  ]
}

/** The first that is spoken over HTTP. */
const interfaceOf = (
  card: AgentCard
): Result.Result<{ readonly url: URL; readonly version: string | undefined }, string> => {
  for (const { binding, url, version } of interfacesOf(card)) {
    const parsed = URL.parse(url ?? "")
    if (!/^(JSONRPC|HTTP\+JSON)$/.test(binding) || parsed === null || !/^https?:$/.test(parsed.protocol)) continue
    if (parsed.username !== "" || parsed.password !== "") {
      return Result.fail("url: a user name or password can't be part of it")
    }
    return Result.succeed({ url: parsed, version })
  }
  return Result.fail("it has no interface that is JSONRPC or HTTP+JSON at an http(s) URL")
}

const unique = (values: ReadonlyArray<string>): ReadonlyArray<string> => Array.from(new Set(values))
