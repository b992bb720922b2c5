/**
 * `discovery/discover`: what the fleet offers, filtered, with where it comes from and whether it is available. A method of
 * Portolan's own, beside those of MCP.
 *
 * **Mental model**: the filters choose instances and what they offer; what an answer says of an offer is said of the
 * instances that were chosen.
 *
 * @since 0.2.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import type { Discovery } from "@portolan/core/Discovery"
import type { Health } from "@portolan/core/Health"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { offerKinds } from "../../catalog/Offer.ts"
import type { ToolCatalog } from "../../catalog/ToolCatalog.ts"
import { Code, type Fields, type Reply } from "../../JsonRpc.ts"
import type { Client } from "../calls/Exchange.ts"
import * as Translation from "../calls/Translation.ts"
import type { Destination } from "../Destination.ts"
import { everyEra, failure, type Part } from "../Method.ts"
import * as DiscoveryFilter from "./DiscoveryFilter.ts"
import * as Origins from "./Origins.ts"

/**
 * By which clients are told that there is such a method: a key of `capabilities.experimental`, in the stateless era of
 * `capabilities.extensions`.
 *
 * @category constants
 * @since 0.2.0
 */
export const extension = "dev.portolan/discovery"

/**
 * What the part needs.
 *
 * @category models
 * @since 0.2.0
 */
export interface DiscoveriesOptions {
  readonly discovery: Pick<Discovery["Service"], "catalog" | "updates">
  readonly health: Pick<Health["Service"], "status">
  readonly catalog: Pick<ToolCatalog["Service"], "version" | "changes">
  readonly destination: Pick<Destination, "offersFor" | "settledFor">
  /** Read for each page. */
  readonly settings: { readonly pageSize: number }
  /** The `_meta` with which the gateway says who it is. */
  readonly identity: Fields
}

/** The place of an item among all: its kind's, then its name's. */
type Place = readonly [kind: number, name: string]

const isAfter = (kind: number, name: string, [lastKind, lastName]: Place): boolean =>
  kind > lastKind || (kind === lastKind && name > lastName)

const encodeCursor = (filter: DiscoveryFilter.DiscoveryFilter, place: Place): string =>
  Buffer.from(JSON.stringify([filter.id, ...place]), "utf8").toString("base64url")

const decodeCursor = (filter: DiscoveryFilter.DiscoveryFilter, cursor: unknown): Place | string => {
  const invalid = "cursor: expected the nextCursor of an earlier page"
  if (typeof cursor !== "string") return invalid
  let decoded: unknown
  try {
    decoded = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8"))
  } catch {
    return invalid
  }
  if (!Array.isArray(decoded) || decoded.length !== 3) return invalid
  const [id, kind, name]: ReadonlyArray<unknown> = decoded
  if (typeof kind !== "number" || typeof name !== "string") return invalid
  return id === filter.id ? [kind, name] : "cursor: it belongs to a page of other filters"
}

/**
 * Makes the part.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  options: DiscoveriesOptions
): Effect.Effect<Part, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { catalog, destination, discovery, health, identity, settings } = options
    const clock = yield* Clock.Clock
    const now = () => clock.currentTimeMillisUnsafe()

    /** Epoch ms of the last change of an instance, or of what one offers. */
    let lastUpdate = now()
    const changed = Effect.sync(() => {
      lastUpdate = now()
    })
    yield* discovery.updates.pipe(
      Stream.filter(({ changes }) => changes.length > 0),
      Stream.runForEach(() => changed),
      Effect.forkScoped({ startImmediately: true })
    )
    yield* Stream.runForEach(catalog.changes, () => changed).pipe(Effect.forkScoped({ startImmediately: true }))

    const page = (filter: DiscoveryFilter.DiscoveryFilter, client: Client, after: Place | undefined): Fields => {
      const dialect = Translation.dialectOf(client)
      const offers = destination.offersFor(client)
      const fleet = discovery.catalog()
      const originOf = Origins.make(fleet, (key: InstanceKey) => health.status(key), filter.matches, now())
      const found: Record<string, Array<Fields>> = {}
      let left = settings.pageSize
      let last: Place | undefined
      let nextCursor: string | undefined
      for (const [place, kind] of offerKinds.entries()) {
        const items: Array<Fields> = []
        found[kind] = items
        if (nextCursor !== undefined) continue
        for (const offer of offers.list(kind)) {
          if (after !== undefined && !isAfter(place, offer.publicName, after)) continue
          const origin = originOf(offer.instances())
          if (origin === undefined || !filter.takes(offer, origin)) continue
          const definition = Translation.definition(dialect, kind, offer.definition)
          if (definition === undefined) continue
          if (left === 0) {
            nextCursor = last === undefined ? undefined : encodeCursor(filter, last)
            break
          }
          left--
          last = [place, offer.publicName]
          items.push({ ...definition, service: offer.service, ...origin })
        }
      }
      return {
        ...found,
        lastUpdate: new Date(lastUpdate).toISOString(),
        version: `${fleet.revision}.${catalog.version()}`,
        ...(nextCursor === undefined ? undefined : { nextCursor })
      }
    }

    const discover = (params: Fields, client: Client): Reply => {
      const filter = DiscoveryFilter.decode(params)
      if (typeof filter === "string") return failure(Code.invalidParams, filter)
      const { cursor } = params
      const after = cursor === undefined ? undefined : decodeCursor(filter, cursor)
      if (typeof after === "string") return failure(Code.invalidParams, after)
      const result = page(filter, client, after)
      return {
        // Whether something is available changes at any moment.
        result: client.era === "handshake"
          ? result
          : { ...result, resultType: "complete", ttlMs: 0, cacheScope: "private", _meta: identity }
      }
    }

    return {
      methods: {
        "discovery/discover": {
          eras: everyEra,
          answer: ({ params = {} }, { client }) =>
            Effect.map(destination.settledFor(client), () => discover(params, client))
        }
      },
      capabilities: (era) => ({ [era === "handshake" ? "experimental" : "extensions"]: { [extension]: {} } })
    }
  })
