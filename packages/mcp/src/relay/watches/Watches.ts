/**
 * Resources that are watched for clients, wherever they are: a watch is routed as a call is, and moves to another replica
 * when its server is lost.
 *
 * **Mental model**: a watch stays with one instance, over lost connections too, until that can't be connected any more or is
 * no longer announced. Then it is routed anew, again and again until somebody takes it, and whoever watches is told once
 * that the resource may have changed.
 *
 * @since 0.2.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import { Router, SessionLost, type Target } from "@portolan/core/Router"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { Offer, ToolCatalog } from "../../catalog/ToolCatalog.ts"
import { Code, type Fields, type Reply } from "../../JsonRpc.ts"
import * as Following from "../../upstream/resources/Following.ts"
import { type Upstream, UpstreamError } from "../../upstream/Upstream.ts"
import { Upstreams } from "../../upstream/Upstreams.ts"
import type { Client } from "../calls/Exchange.ts"
import * as Failures from "../calls/Failures.ts"
import type { ForwardingOptions } from "../calls/Forwarding.ts"
import * as Translation from "../calls/Translation.ts"
import type { Destination } from "../Destination.ts"
import { failure } from "../Method.ts"
import * as Bindings from "../sessions/Bindings.ts"
import { BoundRequest } from "../sessions/BoundRequest.ts"

/**
 * Settings.
 *
 * @category models
 * @since 0.2.0
 */
export type WatchesOptions = Pick<ForwardingOptions, "sessions" | "timeout" | "maxTimeout">

/**
 * A resource to watch.
 *
 * @category models
 * @since 0.2.0
 */
export interface Watched {
  readonly uri: string
  readonly client: Client
  /** Whether to go on trying where no server could be reached; else that is the reply, and the end. */
  readonly patient: boolean
  /** Gets the parameters of each `notifications/resources/updated`. Plain; must not throw. */
  readonly onUpdated: (params: Fields) => void
}

/**
 * The watches.
 *
 * @category models
 * @since 0.2.0
 */
export interface Watches {
  /** Watches while the scope lives. Gives an empty result once a server took it, or why none does. */
  readonly watch: (watched: Watched) => Effect.Effect<Reply, never, Scope.Scope>
  /** Whether any server tells of changes to single resources. Plain. */
  readonly areOffered: () => boolean
}

/** ms; the pauses between two tries to find a server for a watch, the first one and the longest. */
const FirstPause = 250
const LongestPause = 30_000
/** Watches that are routed at the same time; all of a server's move at once. */
const MaxRouted = 64

const taken: Reply = { result: {} }

/** Where a watch came to be, or why it did not; `final`: for a reason that asking again doesn't change. */
type Outcome = { readonly key: InstanceKey } | { readonly reply: Reply; readonly final: boolean }

/** What wakes those who wait for something. */
const bell = () => {
  const waiting = new Set<() => void>()
  return {
    add: (wake: () => void) => {
      waiting.add(wake)
      return () => waiting.delete(wake)
    },
    ring: () => {
      for (const wake of Array.from(waiting)) wake()
    },
    isEmpty: () => waiting.size === 0
  }
}

/**
 * Makes them.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  catalog: ToolCatalog["Service"],
  { offersFor, settledFor }: Destination,
  options: WatchesOptions
): Effect.Effect<Watches, never, Scope.Scope | Router | Upstreams> =>
  Effect.gen(function*() {
    const router = yield* Router
    const upstreams = yield* Upstreams
    const permits = yield* Semaphore.make(MaxRouted)
    /** Rings for those at an instance when it is lost. */
    const lost = new Map<InstanceKey, ReturnType<typeof bell>>()
    /** Rings when there may be a server for those that have none. */
    const found = bell()
    /** Grows when another server may tell of resources. */
    let revision = 0

    yield* upstreams.events.pipe(
      Stream.runForEach((event) =>
        Effect.sync(() => {
          switch (event._tag) {
            case "Connected":
              revision++
              return found.ring()
            case "Failed":
              return lost.get(event.upstream.key)?.ring()
            case "Closed":
              revision++
              return lost.get(event.key)?.ring()
          }
        })
      ),
      Effect.forkScoped({ startImmediately: true })
    )
    yield* catalog.changes.pipe(
      Stream.runForEach((kinds) => Effect.sync(() => kinds.has("resources") ? found.ring() : undefined)),
      Effect.forkScoped({ startImmediately: true })
    )

    /** Whether a server tells of changes, as far as that is known. */
    const tells = (upstream: Upstream | undefined): boolean => {
      const profile = upstream?.state().profile
      return profile === undefined || Following.isOffered(profile)
    }

    // The router keeps what it knows by target, so there is one for each target of the catalog.
    const targets = new WeakMap<Target, Target>()
    const targetOf = ({ target }: Offer): Target => {
      const known = targets.get(target)
      if (known !== undefined) return known
      const made: Target = {
        ...target,
        accepts: (entry) => (target.accepts?.(entry) ?? true) && tells(upstreams.get(entry.key)),
        revision: () => revision + (target.revision?.() ?? 0)
      }
      targets.set(target, made)
      return made
    }

    /** Finds a server for it, which tells of it while the scope lives. */
    const route = ({ client, onUpdated, uri }: Watched, offer: Offer, scope: Scope.Scope): Effect.Effect<Outcome> => {
      const bound = client.bindings === undefined || options.sessions === "free"
        ? undefined
        : Bindings.call(client.bindings, offer, options.sessions === "strict", upstreams, client.caller)
      const refuse = (error: Parameters<typeof Failures.toClient>[0]): Outcome => ({
        reply: { error: Failures.toClient(error, { name: uri, repeatable: true, era: client.era }) },
        final: error._tag === "SessionLost" ||
          (error._tag === "CallFailed" && error.failure.error._tag === "Answered")
      })
      const over = bound?.lost()
      if (over !== undefined) return Effect.succeed(refuse(new SessionLost({ requested: uri, ...over })))
      const follow = (upstream: Upstream) => {
        const attempt = Scope.forkUnsafe(scope)
        return upstream.follow(uri, client.caller, onUpdated).pipe(
          Scope.provide(attempt),
          Effect.mapError(Failures.unanswered),
          Effect.flatMap((reply) => {
            bound?.answered(upstream)
            return "error" in reply ? Effect.fail(Failures.answered(reply.error)) : Effect.succeed(upstream.key)
          }),
          Effect.onError(() => Scope.close(attempt, Exit.void))
        )
      }
      const request = {
        target: targetOf(offer),
        name: uri,
        caller: { principal: client.principal },
        hashKey: client.principal ?? client.affinity,
        repeatable: true,
        timeout: options.timeout,
        maxTimeout: options.maxTimeout
      }
      return router.route(
        bound === undefined ? request : new BoundRequest(request, bound.affinity),
        ({ id }: ServiceInstance, { key, number, sent }) => {
          const upstream = upstreams.get(key)
          if (upstream === undefined) {
            const error = new UpstreamError({ instance: id, phase: "notSent", reason: "no longer announced" })
            return Effect.fail(Failures.unanswered(error))
          }
          bound?.begin(upstream, number)
          sent()
          return follow(upstream)
        }
      ).pipe(
        Effect.match({ onSuccess: ({ value }): Outcome => ({ key: value }), onFailure: refuse }),
        permits.withPermits(1)
      )
    }

    const place = (watched: Watched, scope: Scope.Scope): Effect.Effect<Outcome> =>
      Effect.andThen(
        settledFor(watched.client),
        Effect.suspend(() => {
          const { client, uri } = watched
          const offer = offersFor(client).find("resources", uri)
          if (offer === undefined) {
            return Effect.succeed({ reply: { error: Translation.unknownResource(client.era, uri) }, final: true })
          }
          const having = upstreams.all().filter(({ key }) => offer.has(key))
          if (having.length === 0 || having.some(tells)) return route(watched, offer, scope)
          const reply = failure(Code.methodNotFound, `${offer.service} doesn't tell of changes to its resources`)
          return Effect.succeed({ reply, final: true })
        })
      )

    /** Waits until the instance is lost. */
    const untilLost = (key: InstanceKey): Effect.Effect<void> =>
      Effect.callback((resume) => {
        if (upstreams.get(key) === undefined) return resume(Effect.void)
        let at = lost.get(key)
        if (at === undefined) lost.set(key, at = bell())
        const remove = at.add(() => resume(Effect.void))
        return Effect.sync(() => {
          remove()
          if (at.isEmpty() && lost.get(key) === at) lost.delete(key)
        })
      })

    const untilFound = (pause: number): Effect.Effect<void> =>
      Effect.callback<void>((resume) => {
        const remove = found.add(() => resume(Effect.void))
        return Effect.sync(remove)
      }).pipe(Effect.timeoutOption(pause), Effect.asVoid)

    const keep = Effect.fnUntraced(function*(watched: Watched, first: Deferred.Deferred<Reply>) {
      let pause = FirstPause
      let watching = false
      for (;;) {
        const outcome = yield* Effect.scopedWith((scope) =>
          Effect.flatMap(place(watched, scope), (outcome): Effect.Effect<Outcome> => {
            if (!("key" in outcome)) return Effect.succeed(outcome)
            pause = FirstPause
            // What it told in between is lost.
            if (watching) watched.onUpdated({ uri: watched.uri })
            watching = true
            Deferred.doneUnsafe(first, Effect.succeed(taken))
            return Effect.as(untilLost(outcome.key), outcome)
          })
        )
        if ("key" in outcome) continue
        if (!watching && (outcome.final || !watched.patient)) {
          return Deferred.doneUnsafe(first, Effect.succeed(outcome.reply))
        }
        yield* untilFound(pause)
        pause = Math.min(pause * 2, LongestPause)
      }
    })

    return {
      watch: (watched) =>
        Effect.gen(function*() {
          const first = Deferred.makeUnsafe<Reply>()
          yield* keep(watched, first).pipe(
            Effect.onError((cause) => Deferred.failCause(first, cause)),
            Effect.forkScoped({ startImmediately: true })
          )
          return yield* Deferred.await(first)
        }),
      areOffered: () =>
        upstreams.all().some((upstream) => {
          const { profile } = upstream.state()
          return profile !== undefined && Following.isOffered(profile)
        })
    }
  })
