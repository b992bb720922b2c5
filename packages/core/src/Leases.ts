/**
 * Counts the leases of a backend that keeps a record though the process that wrote it has died: whoever reads it sees to
 * that. Kubernetes is one.
 *
 * **Mental model**: a renewal writes something new into the record. A lease lasts for its TTL from when its last renewal
 * was seen here, whatever the writer's clock says; leader election in Kubernetes counts the same way. Only time in which
 * somebody listened counts: while the backend is away, or this process stands still, renewals may wait unheard.
 *
 * @since 0.2.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { monotonic } from "./internal/monotonic.ts"

/**
 * How long a record lives after a renewal.
 *
 * @category models
 * @since 0.2.0
 */
export interface Lease {
  readonly ttl: Duration.Duration
  /** What the last renewal wrote; nothing is read from it but whether it is another than before. */
  readonly renewal: string
}

/**
 * What a session hears: an event of its backend, or that time went by. `doubtful`: ids whose lease is nearly over, each
 * once in a session, for the backend to be asked about: that no renewal was heard may be the fault of the connection.
 *
 * @category models
 * @since 0.2.0
 */
export type Heard<A> =
  | { readonly _tag: "Event"; readonly event: A }
  | { readonly _tag: "Moment"; readonly doubtful: ReadonlyArray<string> }

/**
 * The leases of one registry, by the ids of what carries them. They outlive its sessions, of which there may be several.
 *
 * @category models
 * @since 0.2.0
 */
export interface Leases {
  /** ms that were listened to so far. */
  readonly listened: () => number
  /** Notes the lease that a record carries now, or that it has none. */
  readonly see: (id: string, lease: Lease | undefined) => void
  /** Forgets all but these. */
  readonly keep: (ids: { readonly has: (id: string) => boolean }) => void
  readonly has: (id: string) => boolean
  readonly isOver: (id: string) => boolean
  /** Listens for as long as the stream lasts: its events, and moments between them in which leases may have ended. */
  readonly listen: <A, E, R>(events: Stream.Stream<A, E, R>) => Stream.Stream<Heard<A>, E, R>
}

interface Seen {
  /** ms */
  readonly ttl: number
  readonly renewal: string
  readonly since: number
}

/** ms between two moments. Of a longer silence no more than twice that counts: this process stood still. */
const pulse = 250

/**
 * Makes one without leases.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (): Leases => {
  const seen = new Map<string, Seen>()
  let listened = 0
  let last = 0

  const isOlder = ({ since }: Seen, age: number) => listened - since >= age

  const listen = <A, E, R>(events: Stream.Stream<A, E, R>): Stream.Stream<Heard<A>, E, R> =>
    Stream.unwrap(Effect.map(Effect.clockWith((clock) => Effect.succeed(monotonic(clock))), (time) => {
      last = time()
      const doubted = new WeakSet<Seen>()
      const moment = (): Heard<A> => {
        const doubtful: Array<string> = []
        for (const [id, lease] of seen) {
          if (doubted.has(lease) || !isOlder(lease, lease.ttl - 2 * pulse)) continue
          doubted.add(lease)
          doubtful.push(id)
        }
        return { _tag: "Moment", doubtful }
      }
      return Stream.merge(
        Stream.map(events, (event): Heard<A> => ({ _tag: "Event", event })),
        Stream.as(Stream.tick(pulse), undefined),
        { haltStrategy: "left" }
      ).pipe(Stream.map((heard) => {
        const now = time()
        listened += Math.min(Math.max(now - last, 0), 2 * pulse)
        last = now
        return heard ?? moment()
      }))
    }))

  return {
    listened: () => listened,
    see: (id, lease) => {
      if (lease === undefined) seen.delete(id)
      else if (seen.get(id)?.renewal !== lease.renewal) {
        seen.set(id, { ttl: Duration.toMillis(lease.ttl), renewal: lease.renewal, since: listened })
      }
    },
    keep: (ids) => {
      for (const id of seen.keys()) if (!ids.has(id)) seen.delete(id)
    },
    has: (id) => seen.has(id),
    isOver: (id) => {
      const lease = seen.get(id)
      return lease !== undefined && isOlder(lease, lease.ttl)
    },
    listen
  }
}
