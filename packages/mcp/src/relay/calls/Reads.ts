/**
 * What servers answered to `resources/read`, kept for as long as they allow.
 *
 * **Mental model**: a public answer is for everybody, a private one for the principal that asked. Both go when their time is
 * over, when the server says that the resource changed or that its list did, when it is connected anew or goes, and when
 * there is no room: what was used longest ago goes first.
 *
 * @see https://modelcontextprotocol.io/specification/2026-07-28/server/utilities/caching
 * @since 0.2.0
 */
import * as Catalog from "@portolan/core/Catalog"
import type { InstanceKey } from "@portolan/core/Catalog"
import type { Routing } from "@portolan/core/Router"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Freshness from "../../catalog/Freshness.ts"
import { type Fields, isFields, type Reply } from "../../JsonRpc.ts"
import { Upstreams } from "../../upstream/Upstreams.ts"
import type { Call, Forwarding } from "./Forwarding.ts"

const everybody = Symbol("everybody")

/** Whom an answer is for: a principal, or those who have none. */
type Reader = string | undefined | typeof everybody

/** An answer that is kept. */
interface Kept {
  readonly shelf: Shelf
  readonly uri: string
  readonly reader: Reader
  readonly result: Fields
  readonly routing: Routing
  /** Epoch ms. */
  readonly at: number
  /** Epoch ms. */
  readonly expires: number
  readonly bytes: number
}

/** Those of one service. */
interface Shelf {
  readonly byUri: Map<string, Map<Reader, Kept>>
  /** Grows whenever something is dropped: an answer that was under way then is not kept. */
  drops: number
}

/** The share of all that one answer may have. */
const MaxShare = 0.25
/** What an answer takes beside its own bytes. */
const Overhead = 1_024
/** What one change can speak of. */
const MaxParents = 64

/** What of `_meta` says nothing about the answer. */
const traces: ReadonlySet<string> = new Set(["traceparent", "tracestate", "baggage"])

/** The URI where the answer depends on nothing else. */
const uriOf = ({ method, params }: Call): string | undefined => {
  if (method !== "resources/read") return undefined
  for (const name of Object.keys(params)) {
    if (name !== "uri" && name !== "_meta") return undefined
  }
  const { _meta: meta, uri } = params
  if (isFields(meta) && !Object.keys(meta).every((name) => traces.has(name))) return undefined
  return typeof uri === "string" ? uri : undefined
}

const instanceOf = ({ instance, source }: Routing): InstanceKey => Catalog.key(source, instance)

/** A resource, and those that it is a part of: a change may be told of either. */
const withParents = (uri: string): ReadonlyArray<string> => {
  const found = [uri]
  const root = uri.indexOf("://")
  for (let at = uri.lastIndexOf("/"); at > root + 2; at = uri.lastIndexOf("/", at - 1)) {
    if (found.length > MaxParents) break
    found.push(uri.slice(0, at + 1), uri.slice(0, at))
  }
  return found
}

/**
 * Puts the kept answers before the way to the servers. `maxCached` is read for each answer, bytes; 0 keeps none.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  { ordinary, forward }: Pick<Forwarding, "forward" | "ordinary">,
  options: { readonly maxCached: number }
): Effect.Effect<Forwarding["forward"], never, Scope.Scope | Upstreams> =>
  Effect.gen(function*() {
    const upstreams = yield* Upstreams
    const clock = yield* Clock.Clock
    const now = () => clock.currentTimeMillisUnsafe()
    const shelves = new Map<string, Shelf>()
    /** In the order of use. */
    const all = new Set<Kept>()
    let bytes = 0

    const shelfOf = (service: string): Shelf => {
      let shelf = shelves.get(service)
      if (shelf === undefined) shelves.set(service, shelf = { byUri: new Map(), drops: 0 })
      return shelf
    }

    const drop = (kept: Kept) => {
      if (!all.delete(kept)) return
      bytes -= kept.bytes
      const { reader, shelf: { byUri }, uri } = kept
      const readers = byUri.get(uri)
      readers?.delete(reader)
      if (readers?.size === 0) byUri.delete(uri)
    }

    const dropUris = (service: string, uris: Iterable<string>) => {
      const shelf = shelves.get(service)
      if (shelf === undefined) return
      shelf.drops++
      for (const uri of uris) {
        for (const kept of shelf.byUri.get(uri)?.values() ?? []) drop(kept)
      }
    }

    const dropService = (service: string) => dropUris(service, Array.from(shelves.get(service)?.byUri.keys() ?? []))

    /** Services are announced and go for as long as the gateway runs. */
    const forget = () => {
      if (shelves.size === 0) return
      const gone = new Set(shelves.keys())
      for (const upstream of upstreams.all()) gone.delete(upstream.instance().service)
      for (const service of gone) {
        dropService(service)
        shelves.delete(service)
      }
    }

    yield* upstreams.events.pipe(
      Stream.runForEach((event) =>
        Effect.sync(() => {
          if (event._tag === "Connected") return dropService(event.upstream.instance().service)
          if (event._tag === "Closed") {
            for (const kept of all) if (instanceOf(kept.routing) === event.key) drop(kept)
            return forget()
          }
          if (event._tag !== "Notified") return
          const { notification: { method, params }, upstream } = event
          const { service } = upstream.instance()
          if (method === "notifications/resources/list_changed") return dropService(service)
          const uri = params?.["uri"]
          if (method === "notifications/resources/updated" && typeof uri === "string") {
            dropUris(service, withParents(uri))
          }
        })
      ),
      Effect.forkScoped({ startImmediately: true })
    )

    const find = (services: ReadonlyArray<string>, uri: string, principal: string | undefined): Kept | undefined => {
      for (const service of services) {
        const readers = shelves.get(service)?.byUri.get(uri)
        for (const reader of [everybody, principal] as const) {
          const kept = readers?.get(reader)
          if (kept === undefined) continue
          if (kept.expires > now()) return kept
          drop(kept)
        }
      }
      return undefined
    }

    const keep = (shelf: Shelf, uri: string, principal: string | undefined, result: Fields, routing: Routing) => {
      const { scope, ttl = 0 } = Freshness.hints(result)
      // One of the handshake era may answer each session in its own way; one that went meanwhile is closed already.
      if (ttl === 0 || upstreams.get(instanceOf(routing))?.state().profile?.era !== "stateless") return
      const size = Buffer.byteLength(JSON.stringify(result)) + Overhead
      if (size > options.maxCached * MaxShare) return
      const at = now()
      const reader = scope === "public" ? everybody : principal
      const kept: Kept = { shelf, uri, reader, result, routing, at, expires: at + ttl, bytes: size }
      const before = shelf.byUri.get(uri)?.get(reader)
      if (before !== undefined) drop(before)
      const readers = shelf.byUri.get(uri) ?? new Map<Reader, Kept>()
      shelf.byUri.set(uri, readers.set(reader, kept))
      all.add(kept)
      bytes += size
      for (const oldest of all) {
        if (bytes <= options.maxCached) break
        drop(oldest)
      }
    }

    const again = (call: Call, kept: Kept): Reply => {
      all.delete(kept)
      all.add(kept)
      const time = now()
      const why = `answered ${time - kept.at} ms ago, and kept`
      return ordinary(
        call,
        { ...kept.result, ttlMs: kept.expires - time },
        { ...kept.routing, latency: 0, attempts: 0, failovers: 0, hedged: false, queued: 0, failed: [], why }
      )
    }

    return (call) => {
      if (options.maxCached === 0) {
        for (const kept of all) drop(kept)
        return forward(call)
      }
      const uri = uriOf(call)
      if (uri === undefined) return forward(call)
      return Effect.suspend(() => {
        const { exchange: { client: { principal } }, offer: { service, target } } = call
        const services = target.services ?? [service]
        const kept = find(services, uri, principal)
        if (kept !== undefined) return Effect.succeed(again(call, kept))
        const before = new Map(services.map((service) => {
          const shelf = shelfOf(service)
          return [service, { shelf, drops: shelf.drops }]
        }))
        return forward({
          ...call,
          onResult: (result, routing) => {
            const { drops, shelf } = before.get(routing.service) ?? {}
            if (shelf === undefined || shelf.drops !== drops) return
            if (shelves.get(routing.service) === shelf) keep(shelf, uri, principal, result, routing)
          }
        })
      })
    }
  })
