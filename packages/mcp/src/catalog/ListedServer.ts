/**
 * What is known of the lists of one server, and how they are read.
 *
 * @since 0.2.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import * as Effect from "effect/Effect"
import { type Fields, isFields } from "../JsonRpc.ts"
import type { Upstream } from "../upstream/Upstream.ts"
import * as Freshness from "./Freshness.ts"
import * as Listing from "./Listing.ts"
import type { Lists } from "./Merging.ts"
import * as MirroredArguments from "./MirroredArguments.ts"
import type { ListKind, OfferKind } from "./Offer.ts"
import * as TaskSupport from "./TaskSupport.ts"

/**
 * A server. It is written by whoever reads it.
 *
 * @category models
 * @since 0.2.0
 */
export interface ListedServer {
  upstream: Upstream
  /** Other ones each time that one of them was read: they are told apart by what they are. */
  lists: Lists
  /** What it said of its lists when they were read last. */
  readonly readings: Map<OfferKind, Freshness.Reading>
  readonly problems: Map<ListKind, string>
  /** Tools that it lists and that must not be offered, and why. */
  refused: ReadonlyMap<string, string>
  /** Kinds to read (again); a notice that comes while a list is read is not lost. */
  readonly wanted: Set<ListKind>
  /** A fiber reads it. */
  reading: boolean
  /** Readings since one without a problem. */
  failures: number
  /** Asked once, whatever came of it. */
  asked: boolean
  /** Epoch ms. */
  readonly announced: number
}

/**
 * Makes one of which nothing is known, or what is known of the same one at another place.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (upstream: Upstream, known: ListedServer | undefined, announced: number): ListedServer => ({
  upstream,
  lists: new Map(known?.lists),
  readings: new Map(known?.readings),
  problems: new Map(),
  refused: known?.refused ?? new Map(),
  wanted: new Set(),
  reading: false,
  failures: 0,
  asked: known !== undefined,
  announced
})

const refusedOf = (tools: ReadonlyMap<string, Fields>): ReadonlyMap<string, string> => {
  const refused = new Map<string, string>()
  for (const [name, definition] of tools) {
    const fault = MirroredArguments.fault(definition)
    if (fault !== undefined) refused.set(name, fault)
  }
  return refused
}

const allowed = (tools: ReadonlyMap<string, Fields>, refused: ReadonlyMap<string, string>) =>
  refused.size === 0 ? tools : new Map(Array.from(tools).filter(([name]) => !refused.has(name)))

const nothing: Listing.Listed = { items: new Map(), hints: undefined }

/**
 * Reads one list. Failed, the last good one stays, out of date from then on.
 *
 * @category listing
 * @since 0.2.0
 */
export const read = (
  server: ListedServer,
  kind: ListKind,
  limits: Listing.ListingLimits,
  now: () => number
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const at = now()
    const { profile } = server.upstream.state()
    const parts = Effect.forEach(Listing.kinds[kind], (part) =>
      profile !== undefined && profile.capabilities[kind] === undefined
        ? Effect.succeed([part, nothing] as const)
        : Effect.map(Listing.read(server.upstream, part, limits), (listed) =>
          [part, listed] as const))
    return Effect.match(parts, {
      onSuccess: (read) => {
        server.problems.delete(kind)
        const lists = new Map(server.lists)
        for (const [part, { hints, items }] of read) {
          if (part === "tools" && profile !== undefined) {
            server.refused = profile.era === "stateless" ? refusedOf(items) : new Map()
            lists.set(part, TaskSupport.normalized(profile, allowed(items, server.refused)))
          } else lists.set(part, items)
          if (hints === undefined) {
            server.readings.delete(part)
          } else server.readings.set(part, { ...hints, at })
        }
        server.lists = lists
      },
      onFailure: (error) => {
        server.problems.set(kind, error.reason)
        for (const part of Listing.kinds[kind]) {
          const { scope = "private" } = server.readings.get(part) ?? {}
          if (server.lists.has(part)) {
            server.readings.set(part, { ttl: 0, scope, at })
          }
        }
      }
    })
  })

/** Whether its server tells of changes of a list, and is heard. */
const tellsOf = ({ upstream }: ListedServer, kind: ListKind): boolean => {
  const { _tag, heard, profile } = upstream.state()
  const capability = profile?.capabilities[kind]
  return _tag === "connected" && heard !== false && isFields(capability) && capability["listChanged"] === true
}

/**
 * How long a list of all these servers may be kept, and those that are to be asked for it again; `maxAge` as in
 * `Freshness.isOutdated`. Plain.
 *
 * @category accessors
 * @since 0.2.0
 */
export const freshness = (
  servers: ReadonlyMap<InstanceKey, ListedServer>,
  kind: OfferKind,
  now: number,
  maxAge: number
): { readonly freshness: Freshness.Freshness; readonly outdated: ReadonlyArray<InstanceKey> } => {
  const list = kind === "resourceTemplates" ? "resources" : kind
  let all: Freshness.Freshness | undefined
  const outdated: Array<InstanceKey> = []
  for (const [key, server] of servers) {
    const reading = server.readings.get(kind)
    if (reading === undefined) continue
    const tells = tellsOf(server, list)
    all = Freshness.add(all, reading, now, tells)
    if (server.reading || server.upstream.state()._tag !== "connected") continue
    if (Freshness.isOutdated(reading, now, tells, maxAge)) outdated.push(key)
  }
  return { freshness: all ?? Freshness.nobodys, outdated }
}
