/**
 * Answers what changes something.
 */
import * as Catalog from "@portolan/core/Catalog"
import { Discovery } from "@portolan/core/Discovery"
import { Health } from "@portolan/core/Health"
import type * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { ConfigurationState } from "../configuration/ConfigurationState.ts"
import { Api, type WrittenView } from "../rest/Api.ts"
import { defaultRegistry, Leases, type Written } from "../rest/Leases.ts"
import {
  Conflict,
  type Mistake,
  mistaken,
  NotFound,
  PreconditionFailed,
  RegistryFailed,
  TooLarge
} from "../rest/Problems.ts"
import { Views } from "../rest/Views.ts"
import { millisOf } from "./durations.ts"
import * as etag from "./etag.ts"
import { noConfiguration, noInstance, tagged } from "./reads.ts"
import { hidden } from "./redact.ts"

const iso = (time: number): string => new Date(time).toISOString()

// A record is kept in memory, sent to registries and shown in lists.
const recordLimit = 64 * 1024
const textLimit = 128 * 1024
const ttlDefault = 60_000
const ttlShortest = 1_000
const ttlLongest = 24 * 60 * 60 * 1000

// What an answer says beside the record: who reads, edits and writes shouldn't make it part of that.
const shown = new Set(["source", "alsoIn", "firstSeen", "changedAt", "stale", "upstream", "lease"])
const shownOfHealth = new Set(["status", "score", "reason", "changedAt", "circuit"])

const without = (value: object, names: ReadonlySet<string>) =>
  Object.fromEntries(Object.entries(value).filter(([name]) => !names.has(name)))

/** The record in a body. */
const recordOf = (body: ServiceInstance.ServiceInstance): ServiceInstance.ServiceInstance => {
  const health = without(body.health ?? {}, shownOfHealth)
  const { health: _, ...rest } = body
  const record = { ...rest, ...Object.keys(health).length === 0 ? {} : { health } }
  for (const name of shown) Reflect.deleteProperty(record, name)
  return record
}

/** Values that stand for what isn't shown. */
const masks = (value: unknown, path: string): ReadonlyArray<Mistake> => {
  if (typeof value === "string") {
    return value.includes(hidden) || value.includes(encodeURIComponent(hidden))
      ? [{ path, message: "this stands for a value that isn't shown; send the value" }]
      : []
  }
  return typeof value === "object" && value !== null
    ? Object.entries(value).flatMap(([name, child]) => masks(child, `${path}.${name}`))
    : []
}

export const layer = HttpApiBuilder.group(
  Api,
  "writes",
  Effect.fnUntraced(function*(handlers) {
    const views = yield* Views
    const discovery = yield* Discovery
    const health = yield* Health
    const leases = yield* Leases
    const configuration = yield* ConfigurationState

    const lengthOf = (text: string | undefined) =>
      Effect.suspend(() => {
        const ttl = text === undefined ? ttlDefault : millisOf(text)
        return ttl < ttlShortest || ttl > ttlLongest
          ? Effect.fail(mistaken([{ path: "ttl", message: "expected 1s to 24h" }]))
          : Effect.succeed(ttl)
      })

    const valid = Effect.fnUntraced(function*(body: ServiceInstance.ServiceInstance, id: string) {
      const record = recordOf(body)
      const size = Buffer.byteLength(JSON.stringify(record))
      if (size > recordLimit) {
        return yield* new TooLarge({ detail: `the record has ${size} bytes; one may have ${recordLimit}` })
      }
      const mistakes = [
        ...record.id === id ? [] : [{ path: "id", message: `expected ${id}, as in the path` }],
        ...masks(record.endpoint, "endpoint")
      ]
      if (mistakes.length > 0) return yield* mistaken(mistakes)
      return record
    })

    const matching = (id: string, registry: string, ifMatch: string | undefined) =>
      Effect.suspend(() => {
        if (ifMatch === undefined) return Effect.void
        const key = Catalog.key(registry, id)
        const known = views.entry(key)
        if (known === undefined) {
          return Effect.fail(new PreconditionFailed({ detail: `${id} is no longer announced in ${registry}` }))
        }
        // Of writes at the same time the first one counts, before the catalog has it.
        const entry = { ...known, instance: leases.written(key) ?? known.instance }
        const now = etag.ofRecord(entry.instance, JSON.stringify(views.instance(entry)))
        return etag.matchesRecord(ifMatch, now) ? Effect.void : Effect.fail(
          new PreconditionFailed({
            detail: `${id} was changed in ${entry.source} at ${iso(entry.changedAt)}; read it again`,
            source: entry.source,
            changedAt: iso(entry.changedAt),
            etag: now
          })
        )
      })

    const unmarkedSince = ({ instance: { id }, key, source }: Catalog.CatalogEntry, ifMatch: string | undefined) =>
      Effect.suspend(() => {
        const mark = views.mark(key)
        const now = etag.ofRecord(mark, "")
        if (ifMatch === undefined || etag.matchesRecord(ifMatch, now)) return Effect.void
        const detail = mark === undefined
          ? `the mark of ${id} was taken away meanwhile; read its health again`
          : `${id} was marked ${mark.as} at ${mark.at}: ${mark.reason}; read its health again`
        return Effect.fail(
          new PreconditionFailed({
            detail,
            source,
            etag: now,
            ...mark === undefined ? {} : { changedAt: mark.at, mark }
          })
        )
      })

    const answer = ({ created, entry, lease }: Written) => {
      const view: WrittenView = {
        ...views.instance(entry),
        lease: { registry: lease.registry, ttl: lease.ttl / 1000, expiresAt: iso(lease.expiresAt) }
      }
      const location = `/api/v1/instances/${encodeURIComponent(entry.instance.id)}?source=${
        encodeURIComponent(entry.source)
      }`
      return tagged(entry.instance, view, created ? { status: 201, location } : {})
    }

    const only = (id: string, source: string | undefined) =>
      Effect.suspend((): Effect.Effect<Catalog.CatalogEntry, NotFound | Conflict> => {
        const [entry, ...others] = views.withId(id, source)
        if (entry === undefined) return Effect.fail(noInstance(views, id, source))
        return others.length === 0 ? Effect.succeed(entry) : Effect.fail(
          new Conflict({
            detail: `${id} is announced in ${[entry, ...others].map((one) => one.source).join(" and ")}: ` +
              "choose one with ?source="
          })
        )
      })

    return handlers.handleAll({
      create: Effect.fnUntraced(function*({ payload, query }) {
        const instance = yield* valid(payload, payload.id)
        const ttl = yield* lengthOf(query.ttl)
        return answer(yield* leases.put({ registry: query.registry ?? defaultRegistry, instance, ttl, create: true }))
      }),
      replace: Effect.fnUntraced(function*({ headers, params, payload, query }) {
        const instance = yield* valid(payload, params.id)
        const ttl = yield* lengthOf(query.ttl)
        const registry = query.registry ?? defaultRegistry
        yield* matching(params.id, registry, headers["if-match"])
        return answer(yield* leases.put({ registry, instance, ttl, create: false }))
      }),
      remove: Effect.fnUntraced(function*({ headers, params, query }) {
        const registry = query.registry ?? defaultRegistry
        yield* matching(params.id, registry, headers["if-match"])
        yield* leases.remove(registry, params.id)
      }),
      mark: Effect.fnUntraced(function*({ headers, params, payload, query }) {
        const entry = yield* only(params.id, query.source)
        yield* unmarkedSince(entry, headers["if-match"])
        yield* health.override(entry.key, payload.as === "up" ? undefined : payload.as, payload.reason ?? "by hand")
        const view = views.health(entry)
        return tagged(view.mark, view)
      }),
      check: Effect.fnUntraced(function*({ params, query }) {
        const entry = yield* only(params.id, query.source)
        yield* health.check(entry.key)
        return views.health(entry)
      }),
      refresh: Effect.fnUntraced(function*({ query }) {
        const names = views.sources().map(({ name }) => name)
        if (query.source !== undefined && !names.includes(query.source)) {
          return yield* new NotFound({
            detail: `no registry is called ${query.source}; there are: ${names.join(", ") || "none"}`
          })
        }
        yield* Effect.mapError(
          discovery.refresh(query.source),
          (error) => new RegistryFailed({ detail: error.message, source: error.registry })
        )
        return {
          items: views.sources().filter(({ name }) => query.source === undefined || name === query.source)
        }
      }),
      validate: Effect.fnUntraced(function*({ payload: { text } }) {
        const size = Buffer.byteLength(text)
        if (size > textLimit) {
          return yield* new TooLarge({ detail: `the text has ${size} bytes; one may have ${textLimit}` })
        }
        const told = configuration.validate(text)
        if (told === undefined) return yield* noConfiguration
        return told
      })
    })
  })
)
