/**
 * Watching sessions: what there is, then what happens to it.
 *
 * **Mental model**: a session lists everything and watches from there on, with no gap between the two. A watch lasts for
 * a while and is opened anew where it was, which proves that the server is still there. Where it fails, the session is
 * over, and the next one goes on from what was known, without reading it again: what happened since is told right after.
 * Only what is too long ago, or can't be read, makes it begin with a list again.
 *
 * **Details**: a cluster that was restored from a backup takes a watch from a version in its future and says nothing. So
 * where a connection was lost or the server stumbled, the next session first asks how far it is, and for one Service. Two seconds before
 * a watch ends by its time the server says with a bookmark how far it is: however quiet it was, the next one is opened at
 * a version that is not long gone.
 *
 * @since 0.2.0
 */
import type { Heard } from "@portolan/core/Leases"
import * as Registry from "@portolan/core/Registry"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Kubernetes from "../Kubernetes.ts"
import * as KubernetesRecord from "../KubernetesRecord.ts"
import { garbled, KubernetesError } from "./kubernetesError.ts"
import { knownOf, labels, readSlice } from "./objects.ts"
import { type Kind, type Reading, View } from "./view.ts"

/** What is read, and how. */
export interface SessionsOptions {
  /** Makes a client for one session: what is wrong with its connections ends with it. */
  readonly connect: Effect.Effect<Kubernetes.Kubernetes, never, Scope.Scope>
  /** None: that of the client. */
  readonly namespaces: ReadonlyArray<string> | "all" | undefined
  /** Of the Services. */
  readonly labelSelector: string | undefined
  /** How long a watch lasts. */
  readonly wait: Duration.Duration
  readonly reading: Reading
}

export interface Sessions {
  readonly list: Effect.Effect<Registry.Snapshot, KubernetesError>
  readonly watch: Stream.Stream<Registry.RegistryEvent, KubernetesError>
}

/** Objects of one kind in one place, and how far they were read. */
interface Part {
  readonly kind: Kind
  readonly selection: Kubernetes.Selection
  version: string
}

/** What a session leaves to the next. */
interface Known {
  readonly view: View
  readonly parts: ReadonlyArray<Part>
  /** Whether the server may be another one by now. */
  readonly doubtful: boolean
}

/** What a watch told at once. */
interface Told {
  readonly part: Part
  readonly events: ReadonlyArray<Kubernetes.WatchEvent>
}

/** Lists at the same time. */
const concurrency = 4

export const make = ({ connect, labelSelector, namespaces, reading, wait }: SessionsOptions): Sessions => {
  const seconds = Math.max(1, Math.ceil(Duration.toSeconds(wait)))
  const { leases } = reading
  const now = Effect.clockWith((clock) => Effect.sync(() => Number(clock.monotonicTimeNanosUnsafe()) / 1e6))
  let known: Known | undefined

  const readAll = Effect.fnUntraced(function*(kubernetes: Kubernetes.Kubernetes) {
    const view = new View(reading)
    const places = namespaces === "all" ? [undefined] : namespaces ?? [yield* kubernetes.namespace]
    const parts = yield* Effect.forEach(
      places.flatMap((namespace) => selectionsIn(namespace, labelSelector, reading.instances)),
      Effect.fnUntraced(function*({ kind, selection }) {
        const { items, resourceVersion } = yield* kubernetes.list(selection)
        for (const item of items) if (!view.take(kind, item)) return yield* unreadable("list", selection)
        return { kind, selection, version: resourceVersion }
      }),
      { concurrency }
    )
    return { view: view.complete(), parts, doubtful: false }
  })

  /** Whether the server is one that can be gone on with: it is as far as before, and what is older is known. */
  const isStill = Effect.fnUntraced(function*(kubernetes: Kubernetes.Kubernetes, { doubtful, parts, view }: Known) {
    const [services] = parts
    if (!doubtful || services === undefined) return true
    const { items, resourceVersion } = yield* kubernetes.first(services.selection)
    const first = knownOf(items[0])
    return !parts.some(({ version }) => isAfter(version, resourceVersion)) &&
      (first === undefined || isAfter(first.resourceVersion, services.version) || view.has(first))
  })

  /** Opens a watch over and over, each where the one before was. */
  const follow = (kubernetes: Kubernetes.Kubernetes, part: Part): Stream.Stream<Told, KubernetesError> =>
    Stream.forever(
      Stream.unwrap(Effect.map(now, (began) =>
        kubernetes.watch(part.selection, part.version, seconds).pipe(
          Stream.map((events) => ({ part, events })),
          Stream.concat(Stream.fromEffectDrain(Effect.flatMap(now, (ended) =>
            ended - began < 900 * seconds
              ? Effect.fail(new KubernetesError({ reason: "the API server ended the watch before its time" }))
              : Effect.void)))
        )))
    )

  /** Looks itself whether leases that are nearly over were renewed: a watch that died without a word doesn't tell. */
  const look = Effect.fnUntraced(function*(kubernetes: Kubernetes.Kubernetes, service: string) {
    const [namespace = "", name = ""] = service.split("/")
    const labelSelector = `${labels.service}=${name}`
    const { items } = yield* kubernetes.list({ resource: Kubernetes.endpointSlices, namespace, labelSelector })
    for (const item of items) {
      const known = knownOf(item)
      const slice = readSlice(item)
      if (known !== undefined && typeof slice !== "string") leases.see(known.key, KubernetesRecord.leaseOf(slice))
    }
  })

  /** Takes what was heard, or the time; answers what is to be said of it. */
  const take = Effect.fnUntraced(function*(
    kubernetes: Kubernetes.Kubernetes,
    view: View,
    heard: Heard<Told>
  ): Effect.fn.Return<ReadonlyArray<Registry.RegistryEvent>, KubernetesError> {
    if (heard._tag === "Moment") {
      const services = view.servicesOf(heard.doubtful)
      yield* Effect.forEach(services, (service) => look(kubernetes, service), { concurrency, discard: true })
      return view.newsInTime()
    }
    const { events, part } = heard.event
    for (const { object, resourceVersion, type } of events) {
      if (type !== "BOOKMARK" && !view.take(part.kind, object, type === "DELETED")) {
        return yield* unreadable("watch", part.selection)
      }
      part.version = resourceVersion
    }
    const news = view.news()
    return news.length === 0 ? [Registry.alive] : news
  })

  const begin = Effect.fnUntraced(
    function*(kubernetes: Kubernetes.Kubernetes): Effect.fn.Return<Known, KubernetesError> {
      // What it knows is its own: there may be another session at the same time.
      const before = known
      known = undefined
      const isGood = before !== undefined &&
        (yield* Effect.onError(isStill(kubernetes, before), () =>
          Effect.sync(() => {
            known = before
          })))
      return before !== undefined && isGood ? before : yield* readAll(kubernetes)
    }
  )

  return {
    list: Effect.scoped(Effect.flatMap(connect, readAll)).pipe(Effect.map(({ view }) => whole(view.everything()))),
    watch: Stream.unwrap(Effect.gen(function*() {
      const kubernetes = yield* connect
      const mine = yield* begin(kubernetes)
      return Stream.mergeAll(mine.parts.map((part) => follow(kubernetes, part)), { concurrency: "unbounded" }).pipe(
        leases.listen,
        Stream.mapEffect((heard) => take(kubernetes, mine.view, heard)),
        Stream.flattenIterable,
        (changes) => Stream.concat(Stream.fromIterable(mine.view.everything()), changes),
        // Whoever ended it himself may come back much later.
        Stream.tapError(({ anew = false, status }) =>
          Effect.sync(() => {
            if (!anew) known = { ...mine, doubtful: status === undefined || status >= 500 }
          })
        )
      )
    }))
  }
}

const selectionsIn = (
  namespace: string | undefined,
  labelSelector: string | undefined,
  instances: Reading["instances"]
): ReadonlyArray<Omit<Part, "version">> => {
  const services = { resource: Kubernetes.services, namespace, labelSelector }
  const slices = { resource: Kubernetes.endpointSlices, namespace, labelSelector: labels.service }
  return [
    { kind: "services", selection: services },
    ...(instances === "services" ? [] : [{ kind: "endpointslices", selection: slices } as const])
  ]
}

/** Versions can be compared since Kubernetes 1.35, and always could in fact. */
const isAfter = (self: string, that: string): boolean =>
  /^\d+$/.test(self) && /^\d+$/.test(that) && BigInt(self) > BigInt(that)

const unreadable = (verb: string, { namespace = "", resource }: Kubernetes.Selection) =>
  Effect.fail(garbled({ verb, resource: resource.name, namespace }))

/** Everything in one. */
const whole = (events: ReadonlyArray<Registry.RegistryEvent>): Registry.Snapshot => {
  const snapshots = events.filter((event) => event._tag === "Snapshot")
  return {
    ...Registry.snapshot(
      snapshots.flatMap(({ instances }) => instances),
      snapshots.flatMap(({ rejected }) => rejected)
    ),
    expired: snapshots.flatMap(({ expired = [] }) => expired)
  }
}
