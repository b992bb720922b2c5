/**
 * The last changes of the fleet, kept in memory, so that whoever looks later sees what happened: instances that came, went
 * or changed, their health, and the sources.
 *
 * **Details**: the last 1,000 are kept. What happens to more than 20 instances of a source at once is one change, so that a
 * registry which comes or goes pushes nothing out. That an instance is well once it is known isn't told.
 *
 * @since 0.2.0
 */
import type { CatalogChange, CatalogEntry, CatalogUpdate, InstanceKey, SourceState } from "@portolan/core/Catalog"
import { Discovery } from "@portolan/core/Discovery"
import { Health, type HealthChange } from "@portolan/core/Health"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { HealthStatus, SourceView } from "./Representations.ts"

const State = Schema.Union([HealthStatus, SourceView.fields.state])

/**
 * Something that changed.
 *
 * @category schemas
 * @since 0.2.0
 */
export const Change = Schema.Struct({
  id: Schema.String.annotate({ description: "Digits, always as many; rises with time, over restarts too" }),
  at: Schema.String.annotate({ description: "ISO 8601" }),
  /** Of an instance, or of several of a source at once; `source` is that a source came into another state. */
  type: Schema.Literals(["added", "updated", "removed", "health", "source"]),
  /** Absent where it is about a source, or about several instances. */
  service: Schema.optionalKey(Schema.String),
  instance: Schema.optionalKey(Schema.String),
  source: Schema.String,
  /** Of `health` and `source`; absent: the source is there no more. */
  status: Schema.optionalKey(State),
  /** Absent: the source wasn't there before. */
  previous: Schema.optionalKey(State),
  /** Of `health`, where the circuit isn't closed. */
  circuit: Schema.optionalKey(Schema.Literals(["open", "half-open"])),
  reason: Schema.String.annotate({ description: "One line" })
}).annotate({ identifier: "Change" })
export type Change = typeof Change.Type

/**
 * What is asked for.
 *
 * @category models
 * @since 0.2.0
 */
export interface ChangesRequest {
  readonly limit: number
  readonly service?: string | undefined
  readonly source?: string | undefined
  /** Only those before the one of this id. */
  readonly before?: string | undefined
}

/**
 * Service that keeps the changes.
 *
 * @category services
 * @since 0.2.0
 */
export class Changes extends Context.Service<Changes, {
  /** The newest first; `nextCursor` is the `before` of what follows. Plain. */
  readonly list: (request: ChangesRequest) => { readonly items: ReadonlyArray<Change>; readonly nextCursor?: string }
}>()("@portolan/gateway/rest/Changes") {}

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.2.0
 */
export interface ChangesOptions {
  /** How many are kept. Default 1,000. */
  readonly kept?: number | undefined
}

/** More instances of a source that change at once are told as one. */
const most = 20

type Told = Omit<Change, "id" | "at">

/**
 * Layer that keeps the last changes.
 *
 * @category layers
 * @since 0.2.0
 */
export const layer = (options: ChangesOptions = {}): Layer.Layer<Changes, never, Discovery | Health> =>
  Layer.effect(Changes, make(options))

const make = Effect.fnUntraced(function*(options: ChangesOptions) {
  const discovery = yield* Discovery
  const health = yield* Health
  const clock = yield* Clock.Clock
  const kept = options.kept ?? 1_000
  const log: Array<Change> = []
  const sources = new Map<string, SourceState>()
  let last = 0
  let begun = false

  const push = (told: Iterable<Told>) => {
    const now = clock.currentTimeMillisUnsafe()
    const at = new Date(now).toISOString()
    for (const change of told) {
      last = Math.max(last + 1, now * 1_000)
      log.push({ id: String(last), at, ...change })
    }
    if (log.length > kept) log.splice(0, log.length - kept)
  }

  const sourceChanges = (now: ReadonlyMap<string, SourceState>): ReadonlyArray<Told> => {
    const told: Array<Told> = []
    for (const [name, source] of now) {
      const before = sources.get(name)
      sources.set(name, source)
      if (before?.state === source.state) continue
      told.push({
        type: "source",
        source: name,
        status: source.state,
        ...before === undefined ? {} : { previous: before.state },
        reason: reasonOf(source)
      })
    }
    for (const [name, { state }] of sources) {
      if (now.has(name)) continue
      sources.delete(name)
      told.push({ type: "source", source: name, previous: state, reason: "no longer asked" })
    }
    return told
  }

  const update = ({ catalog, changes }: CatalogUpdate) => {
    const told = sourceChanges(catalog.sources)
    // What was there before us is no news.
    if (begun) push([...told, ...entryChanges(changes)])
    begun = true
  }

  const entry = (key: InstanceKey): CatalogEntry | undefined =>
    Option.getOrUndefined(HashMap.get(discovery.catalog().entries, key))

  const healthChange = ({ circuit, health: { key, reason, status }, previous }: HealthChange) => {
    const known = entry(key)
    if (known === undefined || previous === "unknown" && status === "healthy") return
    push([{
      type: "health",
      ...identity(known),
      status,
      previous,
      ...circuit === "closed" ? {} : { circuit },
      reason
    }])
  }

  yield* Effect.forkScoped(
    Stream.runForEach(discovery.updates, (each) => Effect.sync(() => update(each))),
    { startImmediately: true }
  )
  yield* Effect.forkScoped(
    Stream.runForEach(health.changes, (each) => Effect.sync(() => healthChange(each))),
    { startImmediately: true }
  )

  return Changes.of({
    list: ({ before, limit, service, source }) => {
      const found: Array<Change> = []
      for (const change of log.toReversed()) {
        if (before !== undefined && change.id >= before) continue
        if (service !== undefined && change.service !== service) continue
        if (source !== undefined && change.source !== source) continue
        if (found.length === limit) return { items: found, nextCursor: found[limit - 1]!.id }
        found.push(change)
      }
      return { items: found }
    }
  })
})

const identity = ({ instance: { id, service }, source }: CatalogEntry) => ({ service, instance: id, source })

const count = (instances: number): string => instances === 1 ? "1 instance" : `${instances} instances`

const reasonOf = ({ instances, lastError, state }: SourceState): string =>
  state === "connected"
    ? `connected: ${count(instances)}`
    : state === "stale"
    ? `lost: ${lastError ?? "no reason given"}`
    : lastError ?? "connecting"

const types = { Added: "added", Updated: "updated", Removed: "removed" } as const
const verbs = { added: "announced", updated: "changed", removed: "gone" }

const entryChanges = (changes: ReadonlyArray<CatalogChange>): ReadonlyArray<Told> => {
  const groups = new Map<string, Array<CatalogChange>>()
  for (const change of changes) {
    const group = `${change._tag} ${change.entry.source}`
    const known = groups.get(group)
    if (known === undefined) groups.set(group, [change])
    else known.push(change)
  }
  return Array.from(groups.values()).flatMap((group): ReadonlyArray<Told> => {
    const [first] = group
    if (first === undefined || group.length <= most) {
      return group.map((change) => ({ type: types[change._tag], ...identity(change.entry), reason: describe(change) }))
    }
    const type = types[first._tag]
    const services = new Set(group.map(({ entry }) => entry.instance.service)).size
    return [{
      type,
      source: first.entry.source,
      reason: `${count(group.length)} of ${services === 1 ? first.entry.instance.service : `${services} services`} ${
        verbs[type]
      }`
    }]
  })
}

const describe = (change: CatalogChange): string => {
  const { alsoIn, instance, missingSince, source } = change.entry
  if (change._tag === "Added") return `announced by ${source}`
  if (change._tag === "Removed") return `no longer announced by ${source}`
  const { instance: before, ...previous } = change.previous
  const told: Array<string> = []
  if (missingSince !== undefined && previous.missingSince === undefined) {
    told.push(`${source} no longer names it; kept for now`)
  }
  if (missingSince === undefined && previous.missingSince !== undefined) told.push(`${source} names it again`)
  for (const name of alsoIn) if (!previous.alsoIn.includes(name)) told.push(`announced by ${name} too`)
  for (const name of previous.alsoIn) if (!alsoIn.includes(name)) told.push(`no longer announced by ${name}`)
  const fields = new Set([...Object.keys(before), ...Object.keys(instance)])
  for (const field of fields) {
    const [was, is]: ReadonlyArray<unknown> = [Reflect.get(before, field), Reflect.get(instance, field)]
    if (JSON.stringify(was) === JSON.stringify(is)) continue
    // Anything else may be long, or secret.
    told.push(isShort(was) && isShort(is) ? `${field} ${was} → ${is}` : field)
  }
  return told.length === 0 ? "announced anew" : told.join(", ")
}

const isShort = (value: unknown): value is string | number =>
  typeof value === "number" || typeof value === "string" && value.length <= 40
