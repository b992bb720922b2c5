/**
 * The writing side: what is announced is published by one responder, which listens from the first announcement on.
 */
import type * as Registry from "@portolan/core/Registry"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Dns from "node:dns/promises"
import { isIP, isIPv4 } from "node:net"
import * as DnsSdRecord from "../DnsSdRecord.ts"
import type { AnswersOptions } from "./answers.ts"
import { MulticastError } from "./multicast.ts"
import { isLoopback } from "./networks.ts"
import type { Offer } from "./offer.ts"
import type { Link } from "./party.ts"
import { type Published, Responder } from "./responder.ts"
import * as Station from "./station.ts"

export interface PublishingOptions
  extends Pick<Station.StationOptions, "multicast" | "interfaces">, Omit<AnswersOptions, "random">
{}

/** ms that it may take to find a name that is free; the life of a record begins after that. */
const naming = 10_000

/** Longest delay that a timer takes, ms. */
const longest = 2 ** 31 - 1

/** A record that is announced, by whom. */
interface Held {
  readonly incarnation: string
  readonly published: Published
}

/** Makes the registrar; what it announces is forgotten without a goodbye when the scope closes. */
export const make = Effect.fnUntraced(function*(
  options: PublishingOptions,
  failed: (operation: string) => (cause: MulticastError) => Registry.RegistryError
): Effect.fn.Return<Registry.Registrar, never, Scope.Scope> {
  // Made now, so that it ends after whoever announces: they still have something to say then.
  const scope = yield* Scope.fork(yield* Effect.scope)
  const responder = new Responder({ ...options, random: Math.random })
  const station = yield* Station.make(responder, { ...options, settled: () => responder.sent() })
  const held = new Map<string, Held>()
  let running: Fiber.Fiber<never, MulticastError> | undefined
  const isRunning = () => running !== undefined && running.pollUnsafe() === undefined

  /** Waits for what the responder does. The process doesn't end for want of other things to do meanwhile. */
  const done = (effect: Effect.Effect<void>) =>
    Effect.acquireUseRelease(
      Effect.sync(() => setInterval(() => {}, longest)),
      () =>
        Effect.gen(function*() {
          if (running === undefined || !isRunning()) running = yield* Effect.forkIn(station.run, scope)
          station.wake()
          yield* Effect.raceFirst(effect, Fiber.join(running))
        }),
      (timer) => Effect.sync(() => clearInterval(timer))
    )

  const put = Effect.fnUntraced(function*(
    instance: Parameters<Registry.Registrar["put"]>[0],
    { incarnation, ttl }: Registry.LeaseOptions
  ) {
    const { id } = instance
    const announced = yield* Effect.mapError(Effect.fromResult(DnsSdRecord.write(instance)), refuse)
    const seconds = Math.max(1, Math.ceil(Duration.toSeconds(ttl)))
    const offer: Offer = { ...announced, ttl: seconds, addressOn: yield* addressesOf(announced.host) }
    const now = station.now()
    const life = seconds * 1000
    const published = responder.publish(offer, now + naming + life, now, held.get(id)?.published)
    held.set(id, { incarnation, published })
    yield* done(published.announced.await)
    responder.prolong(published, station.now() + life)
    if (published.steps.size === 0) {
      responder.withdraw(published)
      held.delete(id)
      return yield* refuse(`endpoint: no link of ours leads to ${announced.host}; give the address that others reach`)
    }
    if (published.instance !== id) {
      yield* Effect.logWarning(
        `"${id}" is another server's name on this network; ours is "${published.instance}" there`
      )
    }
    return { instance, incarnation, ttl: Duration.seconds(seconds), handle: published.instance }
  })

  return {
    put: (instance, lease) => Effect.mapError(put(instance, lease), failed("put")),
    renew: (leases) =>
      Effect.sync(() =>
        leases.flatMap((lease) => {
          const its = held.get(lease.instance.id)
          const isTaken = its !== undefined && its.incarnation !== lease.incarnation
          const until = station.now() + Duration.toMillis(lease.ttl)
          if (its !== undefined && !isTaken && isRunning() && responder.prolong(its.published, until)) return []
          return [{ lease, reason: isTaken ? "it was announced anew" : "it is announced no more", taken: isTaken }]
        })
      ),
    remove: ({ incarnation, instance: { id } }) =>
      Effect.suspend(() => {
        const its = held.get(id)
        if (its?.incarnation !== incarnation) return Effect.void
        held.delete(id)
        responder.withdraw(its.published)
        return isRunning() ? done(its.published.gone.await) : Effect.void
      }).pipe(Effect.mapError(failed("remove")))
  }
})

const refuse = (reason: string) => new MulticastError({ reason })

const everywhere: ReadonlyArray<string> = ["0.0.0.0", "::"]

/**
 * Where a host is reached from a link. A name is looked up once: others on the network may not know it. An address of this
 * machine alone is told to this machine alone.
 */
const addressesOf = Effect.fnUntraced(function*(host: string) {
  const found = everywhere.includes(host) || isIP(host) !== 0 ? [host] : yield* Effect.tryPromise({
    try: async () => (await Dns.lookup(host, { all: true })).map(({ address }) => address),
    catch: () => new MulticastError({ reason: `endpoint: the name ${host} can't be looked up; give an address` })
  })
  const addresses = found.toSorted((self, that) => Number(isIPv4(that)) - Number(isIPv4(self)))
  return (link: Link): string | undefined =>
    everywhere.includes(host) ? link.address : addresses.find((address) => link.isLoopback || !isLoopback(address))
})
