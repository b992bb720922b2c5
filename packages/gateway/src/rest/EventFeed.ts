/**
 * Sends the events of `Events` to watchers.
 *
 * **Mental model**: changes are gathered a few times a second, encoded once, and kept in a short log. A watcher is a
 * position in that log, and its connection takes the next frames when it has room for them. One that is too slow, or was
 * away for too long, finds its position gone and gets a snapshot: slowness costs events, never memory.
 *
 * **Details**: nothing is gathered while nobody watches, but for half a minute after the last watcher left, so that one
 * that comes back goes on where it was.
 *
 * @since 0.1.0
 */
import { Balancer } from "@portolan/core/Balancer"
import { Discovery } from "@portolan/core/Discovery"
import { Health } from "@portolan/core/Health"
import { McpEndpoint } from "@portolan/mcp/relay/McpEndpoint"
import { Upstreams } from "@portolan/mcp/upstream/Upstreams"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import { type Feed, FeedReader } from "../internal/feedReader.ts"
import { FeedState } from "../internal/feedState.ts"
import { FrameLog } from "../internal/frameLog.ts"
import { gzip, Packet, packetsOf, plain } from "../internal/packet.ts"
import type { Topic } from "./Events.ts"
import { Overloaded } from "./Problems.ts"
import { Views } from "./Views.ts"

/**
 * What a watcher asks for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Watch {
  readonly topics: ReadonlySet<Topic>
  /** `id:` of the last event that it read. */
  readonly lastEventId?: string | undefined
  /** Whether it takes gzip. Default false. */
  readonly gzip?: boolean | undefined
  /** Called where it has taken nothing for too long: its connection is to be cut. Plain. */
  readonly stalled?: (() => void) | undefined
}

/**
 * Service that sends events.
 *
 * @category services
 * @since 0.1.0
 */
export class EventFeed extends Context.Service<EventFeed, {
  /** The bytes of a stream of server-sent events. It takes a place while it runs; where there is none left, it fails. */
  readonly open: (watch: Watch) => Effect.Effect<Stream.Stream<Uint8Array, Overloaded>, Overloaded>
  /** Watchers now. Plain. */
  readonly watchers: () => number
}>()("@portolan/gateway/rest/EventFeed") {}

/**
 * Settings, with their defaults. Times in ms.
 *
 * @category models
 * @since 0.1.0
 */
export interface EventFeedOptions {
  /** Most watchers. Default 64. */
  readonly capacity?: number | undefined
  /** Time between two looks at figures and connections. Default 500. */
  readonly interval?: number | undefined
  /** Shortest time between two events of catalog and health. Default 50. */
  readonly debounce?: number | undefined
  /** Time between two beats. Default 2,000. */
  readonly beat?: number | undefined
  /** How long it goes on when nobody watches. Default 30,000. */
  readonly linger?: number | undefined
  /** After how long a watcher that takes nothing is cut. Default 60,000. */
  readonly stall?: number | undefined
  /** Streams end when it does. Default never. */
  readonly until?: Effect.Effect<void> | undefined
  /** Frames in the log, and their bytes. Default 1,024 and 1 MiB. */
  readonly log?: { readonly frames: number; readonly bytes: number } | undefined
}

const encoded = (event: string, data: unknown, id?: string): Buffer =>
  Buffer.from(`${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)

interface Watcher {
  readonly topics: ReadonlySet<Topic>
  readonly stalled: (() => void) | undefined
  /** Wakes it, while it waits for something to send. */
  wake: (() => void) | undefined
  /** Epoch ms since when its connection has had no room; none: it waits for us. */
  full: number | undefined
}

/**
 * Layer that sends events.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: EventFeedOptions = {}
): Layer.Layer<EventFeed, never, Balancer | Discovery | Health | McpEndpoint | Upstreams | Views> =>
  Layer.effect(EventFeed, make(options))

const make = Effect.fnUntraced(function*(options: EventFeedOptions) {
  const discovery = yield* Discovery
  const health = yield* Health
  const sources = {
    balancer: yield* Balancer,
    discovery,
    health,
    endpoint: yield* McpEndpoint,
    upstreams: yield* Upstreams,
    views: yield* Views
  }
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  const time = () => new Date(now()).toISOString()
  const interval = options.interval ?? 500
  const debounce = options.debounce ?? 50
  const beatInterval = options.beat ?? 2_000
  const linger = options.linger ?? 30_000
  const stall = options.stall ?? 60_000
  const capacity = options.capacity ?? 64
  // Tells our revisions from those of the process before us.
  const epoch = (yield* Random.nextIntBetween(36 ** 6, 36 ** 7)).toString(36)

  const log = new FrameLog(options.log ?? { frames: 1024, bytes: 1024 * 1024 })
  const watchers = new Set<Watcher>()
  const snapshots = new Map<string, ReturnType<Feed["snapshot"]>>()
  const changed = Latch.makeUnsafe(false)
  const watched = Latch.makeUnsafe(false)
  let state: FeedState | undefined
  let leftAt = 0
  let beat: ReturnType<Feed["beat"]> = { number: 0, packet: new Packet(Buffer.alloc(0)) }

  const revision = () => `${epoch}.${log.sequence}`

  const gather = (all: boolean) => {
    if (state === undefined) return
    const before = log.sequence
    for (const [topic, data] of state.update(now(), all)) {
      log.push(topic, (sequence) => encoded(topic, { at: time(), ...data }, `${epoch}.${sequence}`))
    }
    if (log.sequence !== before) wakeAll()
  }

  const wakeAll = () => {
    for (const watcher of watchers) watcher.wake?.()
  }

  // One for all that ask for the same while nothing changes.
  const snapshot: Feed["snapshot"] = (topics) => {
    state ??= new FeedState(sources, now())
    gather(true)
    const key = Array.from(topics).sort().join()
    const known = snapshots.get(key)
    if (known?.sequence === log.sequence) return known
    const { sequence } = log
    const data = { at: time(), revision: revision(), ...state.snapshot(topics) }
    const made = { sequence, packets: packetsOf(encoded("snapshot", data, revision())) }
    snapshots.set(key, made)
    return made
  }

  const tick = () => {
    const at = now()
    gather(true)
    for (const watcher of watchers) {
      if (watcher.full !== undefined && at - watcher.full >= stall) {
        watcher.full = undefined
        watcher.stalled?.()
      }
    }
  }

  const ticking = Effect.gen(function*() {
    let next = now() + interval
    let nextBeat = now() + beatInterval
    while (watchers.size > 0 || now() - leftAt < linger) {
      yield* Effect.timeoutOption(changed.await, Math.max(0, next - now()))
      changed.closeUnsafe()
      if (now() < next) {
        gather(false)
        // Changes come in crowds.
        yield* Effect.sleep(Math.min(debounce, Math.max(0, next - now())))
        continue
      }
      next = now() + interval
      tick()
      if (now() < nextBeat) continue
      nextBeat = now() + beatInterval
      const packet = new Packet(encoded("beat", { at: time(), revision: revision() }, revision()))
      beat = { number: beat.number + 1, packet }
      wakeAll()
      // Those that nobody asks for any more don't stay.
      for (const [key, { sequence }] of snapshots) if (sequence !== log.sequence) snapshots.delete(key)
    }
  })

  const run = Effect.gen(function*() {
    yield* watched.await
    state ??= new FeedState(sources, now())
    const hint = Effect.sync(() => changed.openUnsafe())
    yield* Effect.raceAllFirst([
      ticking,
      Effect.andThen(Stream.runForEach(discovery.updates, () => hint), Effect.never),
      Effect.andThen(Stream.runForEach(health.changes, () => hint), Effect.never)
    ])
    // What changes from here on is told to nobody, so nobody can go on from here.
    watched.closeUnsafe()
    if (watchers.size > 0) watched.openUnsafe()
    state = undefined
    snapshots.clear()
    log.cut()
  })
  yield* Effect.forkScoped(Effect.forever(run))

  let isOver = false
  if (options.until !== undefined) {
    const end = Effect.sync(() => {
      isOver = true
      wakeAll()
    })
    yield* Effect.forkScoped(Effect.andThen(options.until, end), { startImmediately: true })
  }

  /** The position in a `Last-Event-ID`, or why it is none. */
  const position = (id: string): number | string => {
    const [, own, sequence] = /^(\w+)\.(\d+)$/.exec(id) ?? []
    if (own === undefined) return "this is no revision of a gateway"
    if (own !== epoch) return "the gateway was started anew, or this is another one"
    return state === undefined || log.since(Number(sequence)) === undefined
      ? "that is too long ago"
      : Number(sequence)
  }

  const feed: Feed = {
    since: (sequence) => log.since(sequence),
    snapshot,
    resync: (reason) => new Packet(encoded("resync", { reason })),
    beat: () => beat
  }

  const frames = (watcher: Watcher, { gzip: zipped, lastEventId }: Watch) => {
    const from = lastEventId === undefined ? undefined : position(lastEventId)
    const reader = new FeedReader(feed, watcher.topics, zipped === true ? gzip() : plain, from)
    return Effect.callback<Uint8Array, Cause.Done>((resume) => {
      const send = (): boolean => {
        const bytes = reader.take() ?? (isOver ? reader.end() : undefined)
        if (bytes === undefined && !isOver) return false
        watcher.wake = undefined
        if (bytes === undefined) {
          resume(Cause.done())
          return true
        }
        // From here its connection has the bytes; when it has room again it asks for more.
        watcher.full = now()
        resume(Effect.succeed(bytes))
        return true
      }
      watcher.full = undefined
      if (!send()) watcher.wake = () => void send()
      return Effect.sync(() => {
        watcher.wake = undefined
      })
    })
  }

  const overloaded = () => new Overloaded({ detail: `${capacity} clients watch already, the limit; try again later` })

  return EventFeed.of({
    watchers: () => watchers.size,
    open: (watch) =>
      Effect.suspend(() => {
        if (watchers.size >= capacity) return Effect.fail(overloaded())
        return Effect.succeed(Stream.unwrap(Effect.map(
          Effect.acquireRelease(
            Effect.suspend(() => {
              if (watchers.size >= capacity) return Effect.fail(overloaded())
              const { stalled, topics } = watch
              const watcher: Watcher = { topics, stalled, wake: undefined, full: undefined }
              watchers.add(watcher)
              watched.openUnsafe()
              return Effect.succeed(watcher)
            }),
            (watcher) =>
              Effect.sync(() => {
                watchers.delete(watcher)
                leftAt = now()
              })
          ),
          (watcher) => Stream.fromEffectRepeat(frames(watcher, watch))
        )))
      })
  })
})
