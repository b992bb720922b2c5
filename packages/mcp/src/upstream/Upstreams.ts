/**
 * The upstreams of all announced MCP servers: opened as instances are announced, closed when they go.
 *
 * @since 0.1.0
 */
import type { CatalogEntry, InstanceKey } from "@portolan/core/Catalog"
import { Discovery } from "@portolan/core/Discovery"
import { Registries } from "@portolan/core/Registries"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberMap from "effect/FiberMap"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { JsonRpcNotification } from "../JsonRpc.ts"
import * as Sending from "../telemetry/Sending.ts"
import * as EventHub from "./EventHub.ts"
import * as Supervisor from "./Supervisor.ts"
import * as InProcessConnection from "./transports/InProcessConnection.ts"
import * as Transports from "./transports/Transports.ts"
import * as Watchdog from "./transports/Watchdog.ts"
import { type CallerSession, type ServerProfile, type Upstream, UpstreamError } from "./Upstream.ts"

/**
 * What happens to upstreams.
 *
 * - `Opened`: announced (not yet connected).
 * - `Connected`: connected, or connected again: its lists may differ.
 * - `Failed`: could not be connected, or was lost. Its lists stay as they were; it is tried again by itself.
 * - `Notified`: sent a notification that belongs to no request (`notifications/tools/list_changed`, a log message).
 * - `Closed`: no longer announced.
 *
 * @category models
 * @since 0.1.0
 */
export type UpstreamEvent =
  | { readonly _tag: "Opened"; readonly upstream: Upstream }
  | { readonly _tag: "Connected"; readonly upstream: Upstream; readonly profile: ServerProfile }
  | { readonly _tag: "Failed"; readonly upstream: Upstream; readonly reason: string }
  | { readonly _tag: "Notified"; readonly upstream: Upstream; readonly notification: JsonRpcNotification }
  | { readonly _tag: "Closed"; readonly key: InstanceKey }

/**
 * Service that holds the upstreams.
 *
 * @category services
 * @since 0.1.0
 */
export class Upstreams extends Context.Service<Upstreams, {
  /** Plain. */
  readonly get: (key: InstanceKey) => Upstream | undefined
  /** Plain. */
  readonly all: () => ReadonlyArray<Upstream>
  /** Grows whenever the state of one changes, or one comes or goes. Plain. */
  readonly revision: () => number
  /** The keys of those that changed after a revision, some perhaps several times; nothing where that is too long ago. Plain. */
  readonly changedSince: (revision: number) => ReadonlyArray<InstanceKey> | undefined
  /** A client's session is over: the connections of its own are closed. Plain. */
  readonly forget: (session: CallerSession) => void
  /**
   * Takes other settings; what an option doesn't say is its default. A length of messages holds for servers that are
   * announced from then on.
   */
  readonly reconfigure: (options: LiveOptions) => Effect.Effect<void>
  /** Begins with `Opened` (and `Connected`) for those there are; then events as they come. Loses none. */
  readonly events: Stream.Stream<UpstreamEvent>
}>()("@portolan/mcp/upstream/Upstreams") {}

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface UpstreamsOptions {
  /** Longest that connecting and the handshake may take. Default 10 s. */
  readonly connectTimeout?: Duration.Input | undefined
  /** Longest that a child process may take to say which era it speaks, before it is taken for the older one. Default 3 s. */
  readonly probeTimeout?: Duration.Input | undefined
  /** Attempts to connect that begin at the same time. Default 8. */
  readonly concurrency?: number | undefined
  /** Bytes of the longest message. Default 16 MiB. */
  readonly maxMessageSize?: number | undefined
  /** HTTP connections to one server. Default 256. */
  readonly maxConnections?: number | undefined
  /** Connections to one server that belong to single clients, where its era wants that. Default 64. */
  readonly maxSessions?: number | undefined
  /** Time without a request after which such a connection is closed. Default 5 min. */
  readonly idleTimeout?: Duration.Input | undefined
  /**
   * Longest that requests under way may take once their instance is no longer announced, while its server answers. Default
   * 10 min, as calls.
   */
  readonly drainTimeout?: Duration.Input | undefined
}

/**
 * The settings that may change while servers are connected.
 *
 * @category models
 * @since 0.2.0
 */
export type LiveOptions = Pick<UpstreamsOptions, "maxMessageSize" | "maxSessions" | "idleTimeout">

const live = (options: LiveOptions) => ({
  maxMessageSize: options.maxMessageSize ?? 16 * 1024 * 1024,
  maxSessions: options.maxSessions ?? 64,
  idleTimeout: Duration.fromInputUnsafe(options.idleTimeout ?? "5 minutes")
})

/** How long a server fails before the log says so. */
const tellAfter = Duration.seconds(1)

interface Kept {
  readonly upstream: Upstream
  readonly entry: () => CatalogEntry
  readonly update: (entry: CatalogEntry) => void
  readonly forget: (session: CallerSession) => void
  readonly close: Effect.Effect<void>
}

/** The last upstreams that changed, each of them with a revision of its own. */
class Changes {
  /** Who missed more is as well off with a look at everything. */
  static readonly kept = 1_024
  readonly #keys: Array<InstanceKey> = []
  revision = 0

  add(key: InstanceKey): void {
    this.revision++
    this.#keys.push(key)
    if (this.#keys.length > 2 * Changes.kept) this.#keys.splice(0, Changes.kept)
  }

  since(revision: number): ReadonlyArray<InstanceKey> | undefined {
    const from = this.#keys.length - (this.revision - revision)
    return from < 0 ? undefined : this.#keys.slice(from)
  }
}

/**
 * Whether an entry speaks MCP, so that there is an upstream for it.
 *
 * @category guards
 * @since 0.1.0
 */
export const isMcp = ({ instance }: CatalogEntry): boolean =>
  instance.kind === "mcp-server" || instance.kind === "tool-provider"

/** Whether a connection of the one record serves the other. */
const sameConnection = (one: CatalogEntry, other: CatalogEntry): boolean =>
  ServiceInstance.equals(one.instance.endpoint, other.instance.endpoint) &&
  one.instance.metadata["mcp-era"] === other.instance.metadata["mcp-era"]

/** An upstream that can't be had, whatever is tried. */
const unsupported = (entry: CatalogEntry, reason: string, now: number, close: Effect.Effect<void>): Kept => {
  let newest = entry
  const fail = Effect.suspend(() => new UpstreamError({ instance: newest.instance.id, phase: "notSent", reason }))
  return {
    entry: () => newest,
    upstream: {
      key: entry.key,
      instance: () => newest.instance,
      state: () => ({ _tag: "failed", since: now, lastError: reason, profile: undefined }),
      connect: fail,
      request: () => fail,
      notify: () => fail,
      session: () => undefined,
      follow: () => fail
    },
    update: (entry) => {
      newest = entry
    },
    forget: () => {},
    close
  }
}

/**
 * Layer that keeps an upstream for each announced MCP server. Connecting is never waited for.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: UpstreamsOptions = {}): Layer.Layer<Upstreams, never, Discovery | Registries> =>
  Layer.effect(
    Upstreams,
    Effect.gen(function*() {
      const discovery = yield* Discovery
      const registries = yield* Registries
      const clock = yield* Clock.Clock
      const scope = yield* Effect.scope
      const watchdog = yield* Watchdog.make
      const sending = yield* Sending.make
      const gate = yield* Semaphore.make(options.concurrency ?? 8)
      const connectTimeout = Duration.fromInputUnsafe(options.connectTimeout ?? "10 seconds")
      const probeTimeout = Duration.fromInputUnsafe(options.probeTimeout ?? "3 seconds")
      const drainTimeout = Duration.fromInputUnsafe(options.drainTimeout ?? "10 minutes")
      // Who reads of it does so whenever it needs to know.
      const settings = live(options)
      const kept = new Map<InstanceKey, Kept>()
      const changes = new Changes()

      const hub = EventHub.make(() =>
        [...kept.values()].flatMap(({ upstream }): ReadonlyArray<UpstreamEvent> => {
          const { _tag, lastError, profile } = upstream.state()
          const opened: UpstreamEvent = { _tag: "Opened", upstream }
          if (_tag === "connected" && profile !== undefined) return [opened, { _tag: "Connected", upstream, profile }]
          return _tag === "failed" ? [opened, { _tag: "Failed", upstream, reason: lastError ?? "failed" }] : [opened]
        })
      )

      // Once for each time that it is lost, and not where it is back or gone at once.
      const failing = yield* FiberMap.make<InstanceKey>()
      const told = new Set<InstanceKey>()
      const tell = ({ instance, key, state }: Upstream) =>
        Effect.gen(function*() {
          yield* Effect.sleep(tellAfter)
          told.add(key)
          yield* Effect.logWarning(`${instance().id}: ${state().lastError}; it is tried again by itself`)
          return yield* Effect.never
        })
      yield* hub.events.pipe(
        Stream.runForEach((event) => {
          switch (event._tag) {
            case "Failed":
              return FiberMap.run(failing, event.upstream.key, tell(event.upstream), { onlyIfMissing: true })
            case "Connected": {
              const { instance, key } = event.upstream
              const back = told.delete(key) ? Effect.logInfo(`${instance().id}: connected`) : Effect.void
              return Effect.andThen(FiberMap.remove(failing, key), back)
            }
            case "Closed":
              told.delete(event.key)
              return FiberMap.remove(failing, event.key)
            default:
              return Effect.void
          }
        }),
        Effect.forkScoped({ startImmediately: true })
      )

      const announce = (one: Kept) => {
        kept.set(one.upstream.key, one)
        changes.add(one.upstream.key)
        hub.publish({ _tag: "Opened", upstream: one.upstream })
      }

      const open = Effect.fnUntraced(function*(entry: CatalogEntry) {
        let newest = entry
        const own = yield* Scope.fork(scope)
        const transport = yield* Transports.make(entry.instance, {
          watchdog,
          connectTimeout,
          maxMessageSize: settings.maxMessageSize,
          maxConnections: options.maxConnections ?? 256,
          host: () => InProcessConnection.find(registries, entry.source)
        }).pipe(Scope.provide(own))
        if (transport === undefined) {
          const reason = Transports.unsupported(entry.instance)
          const one = unsupported(entry, reason, clock.currentTimeMillisUnsafe(), Scope.close(own, Exit.void))
          announce(one)
          return hub.publish({ _tag: "Failed", upstream: one.upstream, reason })
        }
        const measured = yield* Scope.provide(sending.upstream(() => newest.instance), own)
        const { forget, retire, run, upstream } = yield* Supervisor.make({
          measured,
          entry: () => newest,
          kind: transport.kind,
          transport: transport.resolve,
          emit: hub.publish,
          entered: () => changes.add(entry.key),
          gate,
          connectTimeout,
          probeTimeout,
          limits: settings
        }).pipe(Scope.provide(own))
        // Announced before it can connect: nobody hears of a connection of something unknown.
        announce({
          upstream,
          forget,
          entry: () => newest,
          update: (entry) => {
            newest = entry
          },
          close: retire.pipe(Effect.timeoutOption(drainTimeout), Effect.andThen(Scope.close(own, Exit.void)))
        })
        yield* Effect.forkIn(run, own)
      })

      const close = (key: InstanceKey) =>
        Effect.suspend(() => {
          const one = kept.get(key)
          if (one === undefined) return Effect.void
          kept.delete(key)
          changes.add(key)
          hub.publish({ _tag: "Closed", key })
          // What is under way may end; nobody waits for that.
          return Effect.asVoid(Effect.forkIn(one.close, scope, { startImmediately: true }))
        })

      const put = (entry: CatalogEntry) =>
        Effect.suspend(() => {
          const one = kept.get(entry.key)
          if (!isMcp(entry)) return close(entry.key)
          if (one === undefined) return open(entry)
          if (!sameConnection(one.entry(), entry)) return Effect.andThen(close(entry.key), open(entry))
          return Effect.sync(() => one.update(entry))
        })

      yield* discovery.updates.pipe(
        // Its first element is the whole catalog, the others what differs from the one before.
        Stream.mapAccum(() => true, (first, update) => [
          false,
          first
            ? [Effect.forEach(HashMap.values(update.catalog.entries), put, { discard: true })]
            : update.changes.map((change) => change._tag === "Removed" ? close(change.entry.key) : put(change.entry))
        ]),
        Stream.runForEach((act) => act),
        Effect.forkScoped({ startImmediately: true })
      )

      return Upstreams.of({
        get: (key) => kept.get(key)?.upstream,
        all: () => Array.from(kept.values(), (one) => one.upstream),
        revision: () => changes.revision,
        changedSince: (revision) => changes.since(revision),
        forget: (session) => {
          for (const one of kept.values()) one.forget(session)
        },
        reconfigure: (next) => Effect.sync(() => void Object.assign(settings, live(next))),
        events: hub.events
      })
    })
  )
