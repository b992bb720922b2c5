/**
 * What a law is, and what it is given: the registry under test, the controls of its backend, and the times.
 *
 * @since 0.1.0
 */
import type * as Discovery from "@portolan/core/Discovery"
import type * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/**
 * What the suite does to the backend, past the registry under test: as a neighbour process or an operator would.
 *
 * **Details**
 *
 * Only the first three are required. A law that needs another is left out where it is missing, and the suite says so.
 * The first three, `batch`, `corrupt` and `wipeBackend` work while the registry can't reach its backend: put a
 * `FaultProxy` between the two instead of ending the server.
 *
 * @category models
 * @since 0.1.0
 */
export interface Controls {
  /** Writes the record. */
  readonly add: (instance: ServiceInstance.ServiceInstance) => Effect.Effect<void, unknown>
  /** Writes the record over the one with its id. */
  readonly update: (instance: ServiceInstance.ServiceInstance) => Effect.Effect<void, unknown>
  /** Deregisters the record, as a process that ends in order does. */
  readonly remove: (instance: ServiceInstance.ServiceInstance) => Effect.Effect<void, unknown>
  /** Adds the records in one atomic step. */
  readonly batch?:
    | ((instances: ReadonlyArray<ServiceInstance.ServiceInstance>) => Effect.Effect<void, unknown>)
    | undefined
  /** Makes the record of this instance undecodable. */
  readonly corrupt?: ((instance: ServiceInstance.ServiceInstance) => Effect.Effect<void, unknown>) | undefined
  /** Writes the record just outside the registry's scope, under a name or key that begins like those inside. */
  readonly outside?: ((instance: ServiceInstance.ServiceInstance) => Effect.Effect<void, unknown>) | undefined
  /** Makes the backend's whole answer undecodable, until `ungarble`. */
  readonly garble?: Effect.Effect<void, unknown> | undefined
  readonly ungarble?: Effect.Effect<void, unknown> | undefined
  /** Everything in the backend is gone. Run before each law too. */
  readonly wipeBackend?: Effect.Effect<void, unknown> | undefined
  /** The registry under test can't reach its backend any more; the data stay. */
  readonly stopBackend?: Effect.Effect<void, unknown> | undefined
  readonly startBackend?: Effect.Effect<void, unknown> | undefined
  /** Ends the backend's process and starts it anew with the same data. */
  readonly restartBackend?: Effect.Effect<void, unknown> | undefined
  /** Resets the connections that are open now; new ones work. */
  readonly cutConnections?: Effect.Effect<void, unknown> | undefined
  /** The connections that are open now go silent and stay open. */
  readonly pauseConnections?: Effect.Effect<void, unknown> | undefined
  readonly resumeConnections?: Effect.Effect<void, unknown> | undefined
  /** The backend refuses the registry's credentials, until `grant`. */
  readonly revoke?: Effect.Effect<void, unknown> | undefined
  readonly grant?: Effect.Effect<void, unknown> | undefined
  /** Makes every write of the registry under test slow by this much; 0 ends it. */
  readonly slowWrites?: ((time: Duration.Duration) => Effect.Effect<void, unknown>) | undefined
  /** Connections, handles or sessions that the registry has open now. */
  readonly open?: Effect.Effect<number, unknown> | undefined
  /** Requests that the backend got from the registry so far. */
  readonly requests?: Effect.Effect<number, unknown> | undefined
  /** The backend's clock, epoch ms; without it, ours. */
  readonly now?: Effect.Effect<number, unknown> | undefined
}

/**
 * What a kind of backend can't do, whatever the controls:
 *
 * - `lease`: records don't expire, or nothing can be written.
 * - `order`: only whole sets, without the steps between.
 * - `wipe`: an emptied backend can't be told from one that was never filled, or there is nothing to wipe.
 * - `push`: changes are found by asking again.
 *
 * A control that is listed counts as not offered.
 *
 * @category models
 * @since 0.1.0
 */
export type Lack = "lease" | "order" | "wipe" | "push" | keyof Controls

/**
 * How long things take. Ceilings are generous, since a wait ends with the event it waits for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Times {
  /** Ceiling for everything that must be seen some time. Default 10 s. */
  readonly visible: Duration.Input
  /** How long an outage lasts. Default 300 ms. */
  readonly outage: Duration.Input
  /** Self-preservation's grace. Default 1 s. */
  readonly grace: Duration.Input
  /** Silence after which a session is begun anew, where the registry has no time of its own. Default 500 ms. */
  readonly idle: Duration.Input
  /** Debounce of the catalog. Default 50 ms. */
  readonly debounce: Duration.Input
  /** Damping of removals. Default 600 ms. */
  readonly damping: Duration.Input
  /** TTL asked for; where the backend raises it, what it grants. Default 1 s. */
  readonly ttl: Duration.Input
  /** How long the backend itself may take to tell of a lease that ran out. Default 0. */
  readonly lapse: Duration.Input
  /** By how much what has its time may be late on a busy machine. Default 2 s. */
  readonly slack: Duration.Input
  /** How long a quiet registry is watched for needless requests. Default 1 s. */
  readonly quiet: Duration.Input
  /** Within what an interrupted watch must be closed. Default 100 ms. */
  readonly cancel: Duration.Input
  /** How long an announcement says that it drains before it goes. Default 300 ms. */
  readonly drain: Duration.Input
  /** Deadline for the end of an announcement whose backend is lost. Default 2 s. */
  readonly shutdown: Duration.Input
}

/**
 * How much is done.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sizes {
  /** Writes of G3, G12 and G19. Default 1000. */
  readonly storm: number
  /** Rewrites of the same record in G4. Default 100. */
  readonly rewrites: number
  /** Runs of the random model. Default 20. */
  readonly runs: number
  /** Commands of one run, at most. Default 15. */
  readonly commands: number
}

/** Times that suit a backend in the process. */
export const defaultTimes: Times = {
  visible: "10 seconds",
  outage: "300 millis",
  grace: "1 second",
  idle: "500 millis",
  debounce: "50 millis",
  damping: "600 millis",
  ttl: "1 second",
  lapse: "0 millis",
  slack: "2 seconds",
  quiet: "1 second",
  cancel: "100 millis",
  drain: "300 millis",
  shutdown: "2 seconds"
}

/** Sizes that take a real server some seconds. */
export const defaultSizes: Sizes = { storm: 1000, rewrites: 100, runs: 20, commands: 15 }

/**
 * Failure inside a law, before it is known which law and which seed.
 *
 * @category errors
 * @since 0.1.0
 */
export class Broken extends Data.TaggedError("Broken")<{ readonly reason: string }> {
  override get message(): string {
    return this.reason
  }
}

/** Controls with failures that say which control failed, and an effect for each. */
export type BenchControls = {
  readonly [K in keyof Controls]-?: NonNullable<Controls[K]> extends
    (...args: infer Args) => Effect.Effect<infer A, unknown> ? (...args: Args) => Effect.Effect<A, Broken>
    : NonNullable<Controls[K]> extends Effect.Effect<infer A, unknown> ? Effect.Effect<A, Broken>
    : never
}

/**
 * What a law is given.
 *
 * @category models
 * @since 0.1.0
 */
export interface Bench {
  /** Makes the registry under test, on the backend of the controls. */
  readonly registry: Effect.Effect<Registry.Registry, Broken, Scope.Scope>
  readonly controls: BenchControls
  readonly has: (control: keyof Controls) => boolean
  /** What runs the registry: core's own, unless the laws of core are tested themselves. */
  readonly discovery: typeof Discovery.layer
  readonly times: { readonly [K in keyof Times]: number }
  readonly sizes: Sizes
  readonly seed: number
  /** The nth test instance; `seq` tells its versions apart. */
  readonly instance: (n: number, seq?: number, service?: string) => ServiceInstance.ServiceInstance
}

/**
 * A property that every registry has.
 *
 * @category models
 * @since 0.1.0
 */
export interface Law {
  /** `G1` to `G22`, with a letter where one has several parts, and `model`. */
  readonly id: string
  readonly title: string
  /** Abilities and controls without which the law has no meaning. */
  readonly needs: ReadonlyArray<Lack>
  readonly run: (bench: Bench) => Effect.Effect<void, Broken, Scope.Scope>
}

/** Fails with the reason unless the condition holds. */
export const hold = (condition: boolean, reason: () => string): Effect.Effect<void, Broken> =>
  condition ? Effect.void : Effect.fail(new Broken({ reason: reason() }))

/** The version that a test instance carries. */
export const seqOf = (instance: ServiceInstance.ServiceInstance): number => Number(instance.metadata["seq"] ?? -1)

/** Writes an instance in a line: id, service, version. */
export const show = (instance: ServiceInstance.ServiceInstance): string =>
  `${instance.id}(${instance.service} #${String(instance.metadata["seq"] ?? "?")})`

/** What two sets of records differ in, in one line; empty where they hold the same. */
export const difference = (
  actual: Iterable<ServiceInstance.ServiceInstance>,
  expected: Iterable<ServiceInstance.ServiceInstance>
): string => {
  const have = new Map(Array.from(actual, (instance) => [instance.id, instance]))
  const want = new Map(Array.from(expected, (instance) => [instance.id, instance]))
  const parts: Array<string> = []
  for (const [id, instance] of want) {
    const found = have.get(id)
    if (found === undefined) parts.push(`missing ${show(instance)}`)
    else if (!sameRecord(found, instance)) parts.push(`${show(found)} instead of ${show(instance)}`)
  }
  for (const [id, instance] of have) if (!want.has(id)) parts.push(`too many: ${show(instance)}`)
  return parts.length > 8 ? `${parts.slice(0, 8).join(", ")} and ${parts.length - 8} more` : parts.join(", ")
}

// What every backend can carry: others have no field for the rest.
const sameRecord = (self: ServiceInstance.ServiceInstance, that: ServiceInstance.ServiceInstance) =>
  self.service === that.service && seqOf(self) === seqOf(that) &&
  ServiceInstance.endpointKey(self) === ServiceInstance.endpointKey(that)
