/**
 * AI catalogs: what a domain or a publisher has to offer, as a list that may hold other lists.
 *
 * **Mental model**: catalogs are read level by level, then the cards that they list. What can't be had or read is
 * rejected by itself: the rest of the catalog is there. A catalog that can't be had any more is taken as it was last.
 *
 * @see https://github.com/Agent-Card/ai-catalog
 */
import type { Rejected } from "@portolan/core/Registry"
import * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AgentCard from "./agentCard.ts"
import { type Document, Documents } from "./documents.ts"
import { DocumentError, type Get, shown } from "./http.ts"
import { list, text } from "./inputs.ts"
import { type Listing, type Read, type Records, rejection, type Source } from "./listing.ts"
import * as ServerCard from "./serverCard.ts"

/** Media type of a catalog. */
export const mediaType = "application/ai-catalog+json"

/** Schema of an entry, as far as it is read. Its kind is its `type`, which was once called `mediaType`. */
const Entry = Schema.Struct({
  identifier: text(512).pipe(Schema.check(Schema.isNonEmpty())),
  type: Schema.optionalKey(text(256)),
  mediaType: Schema.optionalKey(text(256)),
  url: Schema.optionalKey(text(2048)),
  data: Schema.optionalKey(Schema.Unknown),
  version: Schema.optionalKey(text(255)),
  displayName: Schema.optionalKey(text(500)),
  description: Schema.optionalKey(text(4000)),
  tags: Schema.optionalKey(list(text(256), 256))
})

/** Levels of catalogs, of entries in one, and documents of a reading: at most. The first is what the standard advises. */
const mostLevels = 4
const mostEntries = 1_000
const mostDocuments = 500

/** ms after which no further document of a reading is fetched. */
const longest = 180_000

/** Documents fetched at the same time. */
const concurrency = 8

/** Schema of a catalog. */
const AiCatalog = Schema.Struct({
  specVersion: Schema.String.pipe(
    Schema.check(Schema.isPattern(/^[01](\.\d{1,9})*$/, { expected: "version 1.0 of AI catalogs" }))
  ),
  // Each is judged by itself.
  entries: Schema.Array(Schema.Unknown).pipe(Schema.check(Schema.isMaxLength(mostEntries)))
})
type AiCatalog = typeof AiCatalog.Type

const decodeCatalog = Schema.decodeUnknownResult(AiCatalog)
const decodeEntry = Schema.decodeUnknownResult(Entry, { errors: "all" })

/** Decodes a catalog; the failure is one line. */
const decode = (value: unknown): Result.Result<AiCatalog, string> =>
  Result.mapError(decodeCatalog(value), (error) => ServiceInstance.explain(error.issue))

/** A catalog, and the addresses of those that it is in, its own too. */
interface Place extends Document<AiCatalog> {
  readonly within: ReadonlyArray<string>
}

/** An entry that names a document of ours, or holds it. */
interface Listed {
  readonly kind: "catalog" | "server" | "agent"
  readonly listing: Listing
  readonly content: { readonly url: URL } | { readonly data: unknown }
}

/** Where the catalog of a domain is. */
export const location = ({ pathname }: URL): string => pathname === "/" ? "/.well-known/ai-catalog.json" : pathname

/** Makes what reads a catalog and everything that it lists. */
export const reader = ({ home, terms }: Source): Read => {
  const catalogs = new Documents(mediaType, decode)
  const servers = new Documents(ServerCard.mediaType, ServerCard.decode)
  const agents = new Documents(AgentCard.mediaType, AgentCard.decode)
  let known: ReadonlyMap<string, Records> = new Map()

  return Effect.fnUntraced(function*(get: Get) {
    const found = new Found(known)
    const until = (yield* Clock.currentTimeMillis) + longest
    const visited = new Set([home.href])
    let documents = 1

    /** What an entry holds, or what is where it says. */
    const contentOf = <A>(
      { content, listing }: Listed,
      kind: Documents<A>
    ): Effect.Effect<Document<A>, DocumentError> => {
      if (!("url" in content)) {
        const value = Effect.mapError(
          Effect.fromResult(kind.decode(content.data)),
          (reason) => refused(`data: ${reason}`)
        )
        return Effect.map(value, (value) => ({ url: listing.from, value }))
      }
      if (++documents > mostDocuments) {
        return Effect.fail(refused(`it is one of more than ${mostDocuments} documents`))
      }
      return Effect.flatMap(Clock.currentTimeMillis, (now) =>
        now > until
          ? Effect.fail(refused("the documents before it took too long"))
          : kind.get(get, content.url, listing.from))
    }

    const nested = Effect.fnUntraced(function*(listed: Listed, { within }: Place, depth: number) {
      const { content } = listed
      if (depth === mostLevels) return yield* refused(`it is more than ${mostLevels} catalogs deep`)
      if (!("url" in content)) return [{ ...(yield* contentOf(listed, catalogs)), within }]
      const { href } = content.url
      if (within.includes(href)) return yield* refused("url: it leads back to a catalog that it is in")
      if (visited.has(href)) return []
      visited.add(href)
      const catalog = yield* contentOf(listed, catalogs).pipe(Effect.catch((error) => {
        const last = catalogs.last(content.url)
        if (last === undefined) return Effect.fail(error)
        found.reject({ id: listed.listing.id, reason: error.reason })
        return Effect.succeed(last)
      }))
      return [{ ...catalog, within: [...within, href] }]
    })

    const cardOf = (listed: Listed): Effect.Effect<Records, DocumentError> => {
      const { content, kind, listing } = listed
      return kind === "agent"
        ? Effect.map(
          contentOf(listed, agents),
          ({ url, value }) =>
            AgentCard.read(value, "url" in content ? url : undefined, { ...listing, from: url }, terms)
        )
        : Effect.map(
          contentOf(listed, servers),
          ({ url, value }) => ServerCard.read(value, { ...listing, from: url }, terms)
        )
    }

    const cards: Array<Listed> = []
    let level: ReadonlyArray<Place> = [{ ...(yield* catalogs.get(get, home)), within: [home.href] }]
    for (let depth = 1; level.length > 0; depth++) {
      const inner: Array<{ readonly listed: Listed; readonly place: Place }> = []
      for (const place of level) {
        for (const listed of found.newIn(place)) {
          if (listed.kind === "catalog") inner.push({ listed, place })
          else cards.push(listed)
        }
      }
      const places = yield* Effect.forEach(
        inner,
        ({ listed, place }) =>
          Effect.catch(nested(listed, place, depth), ({ reason }) => {
            found.reject({ id: listed.listing.id, reason })
            return Effect.succeed([])
          }),
        { concurrency }
      )
      level = places.flat()
    }
    const read = yield* Effect.forEach(
      cards,
      (listed) => Effect.map(Effect.result(cardOf(listed)), (records) => ({ id: listed.listing.id, records })),
      { concurrency }
    )
    for (const { id, records } of read) found.add(id, records)
    for (const kind of [catalogs, servers, agents]) kind.turn()
    known = found.records
    return Registry.snapshot(found.instances, found.rejected)
  })
}

const refused = (reason: string) => new DocumentError({ reason })

/** What a reading found, each id once: the same artifact may be listed in several catalogs. */
class Found {
  readonly instances: Array<ServiceInstance.ServiceInstance> = []
  readonly rejected: Array<Rejected> = []
  /** By the ids of entries. */
  readonly records = new Map<string, Records>()
  private readonly ids = new Set<string>()
  private readonly known: ReadonlyMap<string, Records>

  /** `known` is what the reading before found. */
  constructor(known: ReadonlyMap<string, Records>) {
    this.known = known
  }

  /** What a catalog lists that is ours and wasn't listed before. */
  newIn(place: Place): ReadonlyArray<Listed> {
    return place.value.entries.flatMap((value, index) => {
      const listed = listedIn(value, index, place.url)
      if (Result.isFailure(listed)) this.reject(listed.failure)
      else if (listed.success !== undefined && !this.ids.has(listed.success.listing.id)) {
        this.ids.add(listed.success.listing.id)
        return [listed.success]
      }
      return []
    })
  }

  add(id: string, records: Result.Result<Records, DocumentError>): void {
    if (Result.isSuccess(records)) this.take(id, records.success)
    else this.reject({ id, reason: records.failure.reason })
  }

  reject({ id, reason }: Rejected): void {
    this.take(id, rejection(id, reason, this.known.get(id)))
  }

  private take(id: string, records: Records): void {
    this.records.set(id, records)
    this.instances.push(...records.instances)
    this.rejected.push(...records.rejected)
  }
}

const kinds: ReadonlyMap<string, Listed["kind"]> = new Map([
  [mediaType, "catalog"],
  [ServerCard.mediaType, "server"],
  [AgentCard.mediaType, "agent"]
])

/** What an entry of the catalog at an address names or holds; none: something that is no server. */
const listedIn = (value: unknown, index: number, from: URL): Result.Result<Listed | undefined, Rejected> => {
  const decoded = decodeEntry(value)
  if (Result.isFailure(decoded)) {
    const id = Predicate.hasProperty(value, "identifier") && Predicate.isString(value.identifier)
      ? value.identifier.slice(0, 512)
      : `${shown(from)} entries.${index}`
    return Result.fail({ id, reason: ServiceInstance.explain(decoded.failure.issue) })
  }
  const { data, description, displayName, identifier, mediaType, tags, type = mediaType, version } = decoded.success
  const kind = kinds.get((type ?? "").replace(/;.*$/, "").trim().toLowerCase())
  if (kind === undefined) return Result.succeed(undefined)
  const id = version === undefined ? identifier : `${identifier}@${version}`
  const listing = { id, from, version, title: displayName, description, tags }
  if ((decoded.success.url === undefined) === (data === undefined)) {
    return Result.fail({ id, reason: "expected either `url` or `data`" })
  }
  if (decoded.success.url === undefined) return Result.succeed({ kind, listing, content: { data } })
  const url = URL.parse(decoded.success.url, from.href)
  return url === null || !/^https?:$/.test(url.protocol)
    ? Result.fail({ id, reason: "url: expected an http(s) URL, or one relative to the catalog" })
    : Result.succeed({ kind, listing, content: { url } })
}
