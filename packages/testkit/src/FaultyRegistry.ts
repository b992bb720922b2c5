/**
 * A registry between core and another registry, which breaks on purpose: `FaultProxy` for backends without a socket.
 *
 * **When to use**
 *
 * Use to run the outage laws on a registry that lives in the process, such as the memory registry.
 *
 * @since 0.1.0
 */
import * as Registry from "@portolan/core/Registry"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

/**
 * What was asked of the registry.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counters {
  /** Sessions begun so far, refused ones included. */
  readonly sessions: number
  /** Sessions open now. */
  readonly open: number
  /** Lists asked for so far. */
  readonly lists: number
}

/**
 * The registry with its faults.
 *
 * @category models
 * @since 0.1.0
 */
export interface FaultyRegistry {
  readonly registry: Registry.Registry
  /** Fails open sessions, and everything asked until `start`. */
  readonly stop: Effect.Effect<void>
  readonly start: Effect.Effect<void>
  /** Fails open sessions; new ones work. */
  readonly cut: Effect.Effect<void>
  /** Open sessions fall silent and stay open; new ones work. */
  readonly pause: Effect.Effect<void>
  /** Fails the sessions that `pause` silenced. */
  readonly resume: Effect.Effect<void>
  /** Like `stop`, as a backend that refuses our credentials. */
  readonly revoke: Effect.Effect<void>
  readonly grant: Effect.Effect<void>
  /** Fails open sessions, and every read until `ungarble`, as an answer that nobody can decode. */
  readonly garble: Effect.Effect<void>
  readonly ungarble: Effect.Effect<void>
  /** Writes take this much longer. */
  readonly slowWrites: (time: Duration.Input) => Effect.Effect<void>
  readonly counters: () => Counters
}

interface Session {
  readonly lost: Deferred.Deferred<never, Registry.RegistryError>
  silent: boolean
}

type Fault = "stopped" | "revoked" | "garbled"

const reasons: Record<Fault, string> = {
  stopped: "connection refused",
  revoked: "the credentials are refused (403)",
  garbled: "the answer can't be decoded"
}

/**
 * Puts faults before a registry.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (base: Registry.Registry): FaultyRegistry => {
  const live = new Set<Session>()
  let fault: Fault | undefined
  let writeDelay: Duration.Input = 0
  let sessions = 0
  let lists = 0

  const error = (operation: string, what: Fault | "cut") =>
    new Registry.RegistryError({
      registry: base.name,
      operation,
      reason: what === "cut" ? "connection reset" : reasons[what],
      ...(what === "revoked" ? { unauthorized: true } : {})
    })

  const guarded = <A>(operation: string, effect: Effect.Effect<A, Registry.RegistryError>) =>
    Effect.suspend(() => fault === undefined ? effect : Effect.fail(error(operation, fault)))

  const written = <A>(operation: string, effect: Effect.Effect<A, Registry.RegistryError>) =>
    Effect.suspend(() =>
      fault === undefined || fault === "garbled"
        ? Effect.delay(effect, writeDelay)
        : Effect.fail(error(operation, fault))
    )

  const lose = (what: Fault | "cut", which: (session: Session) => boolean = () => true) =>
    Effect.suspend(() =>
      Effect.forEach(
        Array.from(live).filter(which),
        (session) => Deferred.fail(session.lost, error("watch", what)),
        { discard: true }
      )
    )

  const breakWith = (what: Fault) =>
    Effect.suspend(() => {
      fault = what
      return lose(what)
    })

  const mend = Effect.sync(() => {
    fault = undefined
  })

  const session = Effect.gen(function*() {
    sessions++
    const session = yield* Effect.acquireRelease(
      Effect.sync((): Session => {
        const session = { lost: Deferred.makeUnsafe<never, Registry.RegistryError>(), silent: false }
        live.add(session)
        return session
      }),
      (session) => Effect.sync(() => live.delete(session))
    )
    return base.watch.pipe(
      Stream.filter(() => !session.silent),
      Stream.interruptWhen(Deferred.await(session.lost))
    )
  })

  return {
    registry: {
      ...base,
      list: Effect.suspend(() => {
        lists++
        return guarded("list", base.list)
      }),
      watch: Stream.unwrap(
        guarded("watch", Effect.succeed(session)).pipe(
          Effect.tapError(() => Effect.sync(() => sessions++)),
          Effect.flatten
        )
      ),
      registrar: Option.map(base.registrar, (registrar) => ({
        put: (instance, lease) => written("put", registrar.put(instance, lease)),
        renew: (leases) => written("renew", registrar.renew(leases)),
        remove: (lease) => written("remove", registrar.remove(lease))
      }))
    },
    stop: breakWith("stopped"),
    start: mend,
    cut: lose("cut"),
    pause: Effect.sync(() => live.forEach((session) => session.silent = true)),
    resume: lose("cut", (session) => session.silent),
    revoke: breakWith("revoked"),
    grant: mend,
    garble: breakWith("garbled"),
    ungarble: mend,
    slowWrites: (time) =>
      Effect.sync(() => {
        writeDelay = time
      }),
    counters: () => ({ sessions, open: live.size, lists })
  }
}
