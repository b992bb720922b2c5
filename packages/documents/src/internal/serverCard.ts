/**
 * Server cards: what an MCP server says of itself before anybody connects to it.
 *
 * **Mental model**: a card lists the addresses of one server. Each becomes an instance of one service; SSE takes calls
 * only where nothing better can. A registry's `server.json` is a card with packages.
 *
 * @see https://github.com/modelcontextprotocol/experimental-ext-server-card
 */
import * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Documents } from "./documents.ts"
import { fill, list, NamedInput, resolve, text, Variables } from "./inputs.ts"
import { defined, type Listing, type Read, type Records, records, type Source, type Terms } from "./listing.ts"

/** Media type of a server card. */
export const mediaType = "application/mcp-server-card+json"

/** Schema of an address of a server: a template, with the inputs that it takes. */
const Remote = Schema.Struct({
  type: text(64),
  url: text(2048),
  variables: Schema.optionalKey(Variables),
  headers: Schema.optionalKey(list(NamedInput, 64)),
  supportedProtocolVersions: Schema.optionalKey(list(text(64), 64))
})
type Remote = typeof Remote.Type

/** What a card and a `server.json` have in common. */
export const fields = {
  /** Unique, such as `com.example/weather`. */
  name: Schema.String.pipe(
    Schema.check(Schema.isPattern(/^[\w.@-]+(\/[\w.@-]+)*$/, { expected: "a name such as com.example/weather" })),
    Schema.check(Schema.isMaxLength(200))
  ),
  version: text(255),
  title: Schema.optionalKey(text(500)),
  description: Schema.optionalKey(text(2000)),
  websiteUrl: Schema.optionalKey(text(2048)),
  repository: Schema.optionalKey(Schema.Struct({ url: Schema.optionalKey(text(2048)) })),
  remotes: Schema.optionalKey(list(Remote, 64))
}

/** Schema of a server card, as far as it is read. */
export const ServerCard = Schema.Struct(fields)
export type ServerCard = typeof ServerCard.Type

const decodeResult = Schema.decodeUnknownResult(ServerCard, { errors: "all" })

/** Decodes a card; the failure is one line. */
export const decode = (value: unknown): Result.Result<ServerCard, string> =>
  Result.mapError(decodeResult(value), (error) => ServiceInstance.explain(error.issue))

/** Makes the instances of a card, one for each of its addresses. */
export const read = (card: ServerCard, listing: Listing, terms: Terms): Records =>
  card.remotes === undefined || card.remotes.length === 0
    ? { instances: [], rejected: [{ id: listing.id, reason: "remotes: it says no address" }] }
    : records(
      listing.id,
      card.remotes.map((remote) => (id: string) =>
        Result.flatMap(
          endpointOf(remote, listing.from, terms),
          (endpoint) =>
            instanceOf(card, { ...listing, id }, endpoint, {
              priority: remote.type === "sse" ? 1 : undefined,
              metadata: { protocolVersions: remote.supportedProtocolVersions }
            })
        )
      )
    )

/** Where an MCP endpoint has its card. */
export const location = ({ pathname }: URL): string =>
  /(\.json|\/server-card)$/.test(pathname) ? pathname : `${pathname.replace(/\/+$/, "")}/server-card`

/** Makes what reads the card of one server. */
export const reader = ({ home, terms }: Source): Read => {
  const cards = new Documents(mediaType, decode)
  return (get) =>
    Effect.map(cards.get(get, home), ({ url, value }) => {
      const { instances, rejected } = read(value, { id: value.name, from: url }, terms)
      return Registry.snapshot(instances, rejected)
    })
}

/** Makes an instance of what a card and its listing say of a server. */
export const instanceOf = (
  card: Omit<ServerCard, "remotes">,
  listing: Listing,
  endpoint: unknown,
  more: { readonly priority?: number | undefined; readonly metadata?: Readonly<Record<string, unknown>> } = {}
): Result.Result<ServiceInstance.ServiceInstance, string> =>
  ServiceInstance.decode(defined({
    id: listing.id,
    service: card.name,
    version: listing.version ?? card.version,
    endpoint,
    tags: listing.tags,
    priority: more.priority,
    metadata: defined({
      title: listing.title ?? card.title,
      description: listing.description ?? card.description,
      websiteUrl: card.websiteUrl,
      repository: card.repository?.url,
      ...more.metadata,
      ...listing.metadata
    })
  }))

const endpointOf = (remote: Remote, from: URL, { given, reach }: Terms): Result.Result<unknown, string> =>
  Result.gen(function*() {
    const { type } = remote
    if (type !== "streamable-http" && type !== "sse") {
      return yield* Result.fail(`type: expected streamable-http or sse, not ${JSON.stringify(type)}`)
    }
    const named = Result.mapError((reason: string) => `url: ${reason}`)
    const filled = yield* named(fill(remote.url, remote.variables, given))
    const url = URL.parse(filled)
    if (url === null || !/^https?:$/.test(url.protocol) || /[{}]/.test(filled)) {
      return yield* Result.fail("url: expected an http(s) URL")
    }
    if (url.username !== "" || url.password !== "") {
      return yield* Result.fail("url: a user name or password can't be part of it")
    }
    const refused = reach.refusal(from, url)
    if (refused !== undefined) return yield* Result.fail(`url: ${refused}`)

    const headers: Record<string, string> = {}
    for (const header of remote.headers ?? []) {
      const value = yield* Result.mapError(resolve(header, given), (reason) => `headers: ${reason}`)
      if (value === undefined) continue
      // RFC 9110 §5.1 and §5.5.
      if (!/^[\w!#$%&'*+.^`|~-]+$/.test(header.name) || /[^\t\x20-\x7e\x80-\xff]/.test(value)) {
        return yield* Result.fail(`headers: ${JSON.stringify(header.name)} can't be a header`)
      }
      headers[header.name] = value
    }
    return { transport: type, url: url.href, ...(Object.keys(headers).length === 0 ? {} : { headers }) }
  })
