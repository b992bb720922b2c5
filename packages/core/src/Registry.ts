/**
 * The contract of a backend in which instances are announced.
 *
 * **Mental model**: an adapter reads what its backend says and says it on, nothing else. It never retries, never diffs,
 * owns no timer: sessions, back-off, idle time-outs, true deltas, staleness, self-preservation, merging, heartbeats and
 * announcing again are written once, in `Discovery` and `Announcement`.
 *
 * **The contract, in prose**
 * - Abort rather than return partial data: a read that failed half-way fails the session. A *record* that is wrong among
 *   good ones is not partial data: it goes to `rejected` with its reason, and the rest goes on.
 * - Say what you were told. No filtering, no business logic, no status of your own.
 * - A watch begins with what there is now, and no change between that and the first delta is lost.
 * - Interrupting a watch closes its connections.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { heartbeat, Stalls } from "./internal/health/stalls.ts"
import { monotonic } from "./internal/monotonic.ts"
import { Presence } from "./internal/presence.ts"
import type { ServiceInstance } from "./ServiceInstance.ts"

export { refusal, toolRefusal } from "./internal/discovery/trust.ts"

/**
 * Error raised when a backend can't be read or written: which registry, which operation, what happened.
 *
 * @category errors
 * @since 0.1.0
 */
export class RegistryError extends Schema.TaggedError<RegistryError>()("RegistryError", {
  registry: Schema.String,
  /** What was being done: `list`, `watch`, `put`, `renew`, `remove`, `open`. */
  operation: Schema.String,
  /** One line for a person, with the next step where there is one. */
  reason: Schema.optionalKey(Schema.String),
  /** Whether the backend refused our credentials (401, 403). */
  unauthorized: Schema.optionalKey(Schema.Boolean),
  cause: Schema.optionalKey(Schema.Defect())
}) {
  /** What happened, without the registry's name: for places where that stands beside it. */
  get detail(): string {
    const cause = this.cause
    return this.reason ?? (cause instanceof Error ? cause.message : cause === undefined ? "failed" : String(cause))
  }

  override get message(): string {
    return `${this.registry}: ${this.operation}: ${this.detail}`
  }
}

/**
 * A record that can't be used, and why. `id` is the record's id, or its key in the backend where it has none.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rejected {
  readonly id: string
  readonly reason: string
}

/**
 * Everything that the backend holds in the configured scope, or in one part of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Snapshot {
  readonly _tag: "Snapshot"
  /** The part of the backend that this replaces (a Consul service, a namespace); none: all of it. */
  readonly group?: string | undefined
  readonly instances: ReadonlyArray<ServiceInstance>
  readonly rejected: ReadonlyArray<Rejected>
  /**
   * Ids missing from `instances` whose lease ran out, for backends that still know them: nobody witnessed a deletion, so
   * self-preservation may hold them.
   */
  readonly expired?: ReadonlyArray<string> | undefined
  /**
   * Whether the backend is known to have lost data since a session was complete: what is missing from this one's beginning
   * proves nothing then, and is held however little it is of five and more.
   */
  readonly dataLost?: boolean | undefined
}

/**
 * One change. `how` says what the backend knows of a removal: `deregistered` is proven, `expired` is a lease that ran
 * out, `unknown` is neither. Self-preservation may hold all but the first.
 *
 * @category models
 * @since 0.1.0
 */
export type Change =
  | { readonly _tag: "Put"; readonly instance: ServiceInstance }
  | { readonly _tag: "Reject"; readonly rejected: Rejected }
  | { readonly _tag: "Removed"; readonly id: string; readonly how: "deregistered" | "expired" | "unknown" }

/**
 * One atomic batch, in the backend's order. A `Reject` replaces what its id held before: a record that went bad is
 * reported, and its last good form stays.
 *
 * @category models
 * @since 0.1.0
 */
export interface Delta {
  readonly _tag: "Delta"
  readonly changes: ReadonlyArray<Change>
}

/**
 * The groups that the backend has now; what belongs to any other is gone. Only for backends that speak in groups: a
 * session of theirs begins with it. Of two groups with one id the one that had it first keeps it; the record of the
 * other is rejected as `<group>/<id>` until then.
 *
 * @category models
 * @since 0.1.0
 */
export interface Groups {
  readonly _tag: "Groups"
  readonly groups: ReadonlyArray<string>
  /** As of a `Snapshot`. */
  readonly dataLost?: boolean | undefined
}

/**
 * The backend was heard: a bookmark, a progress notice, an empty poll.
 *
 * @category models
 * @since 0.1.0
 */
export interface Alive {
  readonly _tag: "Alive"
}

/**
 * What a watching session says.
 *
 * @category models
 * @since 0.1.0
 */
export type RegistryEvent = Snapshot | Delta | Groups | Alive

/**
 * Says everything there is, or all of one group.
 *
 * @category constructors
 * @since 0.1.0
 */
export const snapshot = (
  instances: ReadonlyArray<ServiceInstance>,
  rejected: ReadonlyArray<Rejected> = [],
  group?: string
): Snapshot => ({ _tag: "Snapshot", group, instances, rejected })

/**
 * Says what changed, in one step.
 *
 * @category constructors
 * @since 0.1.0
 */
export const delta = (changes: ReadonlyArray<Change>): Delta => ({ _tag: "Delta", changes })

/**
 * Says that the backend was heard.
 *
 * @category constructors
 * @since 0.1.0
 */
export const alive: Alive = { _tag: "Alive" }

/**
 * How a record is kept alive.
 *
 * @category models
 * @since 0.1.0
 */
export interface LeaseOptions {
  /** How long the record lives without a renewal. A backend may raise it; the lease says what was granted. */
  readonly ttl: Duration.Duration
  /** Tells this process's record from the one of another process with the same id. */
  readonly incarnation: string
}

/**
 * A record of ours in a backend. `handle` is the backend's own name for it (a lease id, a check id) and is opaque.
 *
 * @category models
 * @since 0.1.0
 */
export interface Lease {
  readonly instance: ServiceInstance
  readonly incarnation: string
  readonly ttl: Duration.Duration
  readonly handle: string
}

/**
 * A lease that the backend no longer has. Core announces its record again, unless another process announces the same id
 * (`taken`): then it waits until that one's record is gone, so that two of them don't take it from each other for ever.
 *
 * @category models
 * @since 0.1.0
 */
export interface LeaseLost {
  readonly lease: Lease
  readonly reason: string
  /** Whether the record is there and carries another incarnation. */
  readonly taken: boolean
}

/**
 * The writing side of a backend.
 *
 * @category models
 * @since 0.1.0
 */
export interface Registrar {
  /** Writes the whole record; idempotent. */
  readonly put: (instance: ServiceInstance, lease: LeaseOptions) => Effect.Effect<Lease, RegistryError>
  /** Keeps many records alive in as few round trips as the backend allows; answers the ones that are gone. */
  readonly renew: (leases: ReadonlyArray<Lease>) => Effect.Effect<ReadonlyArray<LeaseLost>, RegistryError>
  /** Removes the record, only if it still carries the lease's incarnation. */
  readonly remove: (lease: Lease) => Effect.Effect<void, RegistryError>
}

/**
 * What may be announced in a registry: names and patterns such as `weather.*`. A record that says more is rejected with
 * its reason.
 *
 * **Details**: each part judges its own: services the service of a record, capabilities its capabilities, tools its tools.
 * What a connected server lists is judged by `tools` too, whatever its record names: a tool that isn't among them is
 * neither offered nor called, and the rest of the server is. Where several registries announce an instance, the one that
 * it is of in the catalog judges it.
 *
 * **Gotchas**: a tool also stands for the capability of its name and for those of its aliases, so `capabilities` without
 * `tools` doesn't bound what is found by a capability. Resources and prompts aren't bounded. Nor is the version: whoever
 * may announce a service may announce a newer line of it, which takes the place of the older ones.
 *
 * @category models
 * @since 0.2.0
 */
export interface AllowList {
  /** Names of services. Default: every service. */
  readonly services?: ReadonlyArray<string> | undefined
  /** Capabilities that records may name; each of theirs must be among them. Default: every one. */
  readonly capabilities?: ReadonlyArray<string> | undefined
  /** Tools, as servers themselves call them: those that records may name, and servers offer. Default: every one. */
  readonly tools?: ReadonlyArray<string> | undefined
}

/**
 * How TLS towards a backend differs from the usual, as PEM texts.
 *
 * @category models
 * @since 0.2.0
 */
export interface TlsOptions {
  /** Certificates that the backend's must come from, in place of the well-known authorities. */
  readonly ca?: string | undefined
  /** Our certificate, for backends that ask for one; with `key`. */
  readonly cert?: string | undefined
  readonly key?: string | undefined
  /** Of the key. */
  readonly passphrase?: string | undefined
  /** Name that the backend's certificate must hold, where that isn't the host of its address. */
  readonly serverName?: string | undefined
}

/**
 * A backend in which instances are announced.
 *
 * @category models
 * @since 0.1.0
 */
export interface Registry {
  /** Unique among the registries of a process; shown to people, so it holds no secret. */
  readonly name: string
  /** The kind of backend: `file`, `consul`, `etcd`, `memory`. */
  readonly type: string
  /** Everything in the configured scope, read from the backend now. */
  readonly list: Effect.Effect<Snapshot, RegistryError>
  /**
   * One watching session. Its first event is a Snapshot (or Groups, then one Snapshot per group). It ends or fails when
   * the backend is lost, and never retries: core does.
   */
  readonly watch: Stream.Stream<RegistryEvent, RegistryError>
  /** Absent on read-only backends. */
  readonly registrar: Option.Option<Registrar>
  /**
   * Whether its records may start processes and name secrets: `full` for the configuration and local files, and for
   * registries that the operator trusts in full; `limited` for all others.
   */
  readonly trust: "full" | "limited"
  /**
   * Whether a missing record is proof of its removal, even in a new session (files, static lists, memory). False:
   * self-preservation may hold removals that nobody witnessed.
   */
  readonly authoritative: boolean
  /** What may be announced here; none: everything. */
  readonly allow?: AllowList | undefined
  /** How long a session may be silent before it is begun anew; none: the default of `Discovery`. */
  readonly idleTimeout: Option.Option<Duration.Duration>
  /** The group of a record, where the backend speaks in groups: what only `list` found belongs to it. */
  readonly groupOf?: ((instance: ServiceInstance) => string | undefined) | undefined
  /** Hints that a lost session may succeed now; core asks while it waits before the next one. */
  readonly wake?: Wake | undefined
}

/**
 * Listens for hints that something may have changed, until its scope closes; they may be too many or too few. What it
 * answers waits for the next hint, or takes those that came since it was last asked.
 *
 * @category models
 * @since 0.1.0
 */
export type Wake = Effect.Effect<Effect.Effect<void>, never, Scope.Scope>

/**
 * Makes a registry from what is special about its backend: read-only, of limited trust and not authoritative unless it
 * says otherwise.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options:
    & Pick<Registry, "name" | "type" | "list" | "watch">
    & Partial<Omit<Registry, "name" | "type" | "list" | "watch">>
): Registry => ({
  registrar: Option.none(),
  trust: "limited",
  authoritative: false,
  idleTimeout: Option.none(),
  ...options
})

/**
 * The answer of a poll that knows when the next one is due.
 *
 * @category models
 * @since 0.1.0
 */
export interface Polled {
  /** The same value as before says that nothing changed, and nothing is compared. */
  readonly snapshot: Snapshot
  /** The next poll is no later than this: when the next lease runs out. */
  readonly goodFor?: Duration.Duration | undefined
}

/**
 * What `fromPoll` makes a registry of.
 *
 * @category models
 * @since 0.1.0
 */
export interface PollOptions<R = never>
  extends Partial<Pick<Registry, "type" | "registrar" | "trust" | "authoritative" | "wake">>
{
  readonly name: string
  /** Time between the end of a poll and the next, moved by up to a tenth at random; a hint of `wake` ends it early. */
  readonly every: Duration.Input
  /** Everything there is now: the instances, or a snapshot where records may be rejected. */
  readonly poll: Effect.Effect<ReadonlyArray<ServiceInstance> | Snapshot | Polled, RegistryError, R>
  /** Longest a reading may take until it has failed. Default 10 s. */
  readonly timeout?: Duration.Input | undefined
  /**
   * For what can be read while it is written: how long a state must last to count. Hints within this time are one. An
   * answer counts if the next poll, this much later, answers the very same snapshot; a failure if it is still the same
   * after four times as long. What changes without pause counts after forty polls. Default 0: each answer counts.
   */
  readonly settle?: Duration.Input | undefined
  /**
   * For polls that may miss what is there: how many in a row must have an instance before it is there. Default 1.
   *
   * @since 0.2.0
   */
  readonly rise?: number | undefined
  /**
   * For the same: how many in a row must miss an instance before it is gone; until then it stays as it was last found. One
   * that failed, or during which our own event loop stood still, counts against nobody. Default 1.
   *
   * @since 0.2.0
   */
  readonly fall?: number | undefined
}

/** How often in a row a poll must say the same, and how many polls a reading takes at most. */
const answers = 2
const failures = 5
const mostPolls = 40

/**
 * Makes a registry of a function that reads everything there is. Core finds out what changed between two polls.
 *
 * **Details**: a session polls at once, then at its interval and at each hint. A poll that fails ends the session, and
 * core begins another. What the poll needs is taken from where the registry is made.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromPoll = <R = never>(options: PollOptions<R>): Effect.Effect<Registry, never, R> =>
  Effect.contextWith((context: Context.Context<R>) => {
    const { name, wake } = options
    const every = Duration.fromInputUnsafe(options.every)
    const timeout = Duration.fromInputUnsafe(options.timeout ?? "10 seconds")
    const settle = Duration.fromInputUnsafe(options.settle ?? 0)
    const poll = options.poll.pipe(Effect.map(toPolled), Effect.provideContext(context), Effect.result)

    // The last state that counted: it needs not settle again.
    let settled: Snapshot | undefined
    const read = Effect.gen(function*() {
      let found = yield* poll
      const counts = (times: number) =>
        Duration.isZero(settle) || times >= (Result.isFailure(found) ? failures : answers) ||
        Result.isSuccess(found) && found.success.snapshot === settled
      for (let polls = 1, times = 1; polls < mostPolls && !counts(times); polls++) {
        yield* Effect.sleep(settle)
        const next = yield* poll
        times = isSame(found, next) ? times + 1 : 1
        found = next
      }
      const polled = yield* Effect.fromResult(found)
      settled = polled.snapshot
      return polled
    }).pipe(Effect.timeoutOrElse({
      duration: timeout,
      orElse: () => {
        const reason = `no answer within ${Duration.format(timeout)}`
        return Effect.fail(new RegistryError({ registry: name, operation: "poll", reason }))
      }
    }))

    const { fall, rise } = options
    const judged = rise === undefined && fall === undefined ? read : judge(read, new Presence(rise ?? 1, fall ?? 1))

    const session = Effect.gen(function*() {
      const hint = wake === undefined ? Effect.never : yield* wake
      const pause = Effect.fnUntraced(function*(limit: Duration.Duration) {
        const random = yield* Random.next
        const hinted = yield* Effect.timeoutOption(hint, Duration.min(limit, Duration.times(every, 0.9 + 0.2 * random)))
        if (Option.isSome(hinted)) yield* Effect.timeoutOption(Effect.forever(hint), settle)
      })
      let last: Polled | undefined
      return Stream.fromEffectRepeat(Effect.gen(function*() {
        const before = last
        if (before !== undefined) yield* pause(before.goodFor ?? Duration.infinity)
        last = yield* judged
        return last.snapshot === before?.snapshot ? alive : last.snapshot
      }))
    })

    return Effect.succeed(make({
      name,
      type: options.type ?? "poll",
      list: Effect.map(judged, ({ snapshot }) => snapshot),
      watch: Stream.unwrap(session),
      registrar: options.registrar ?? Option.none(),
      trust: options.trust ?? "limited",
      authoritative: options.authoritative ?? false,
      // A second more, so that a reading fails before its session is silent for too long.
      idleTimeout: Option.some(Duration.sum(Duration.sum(Duration.times(every, 1.1), timeout), Duration.seconds(1))),
      wake
    }))
  })

/** Judges what a poll found by what the ones before it did. */
const judge = <E>(poll: Effect.Effect<Polled, E>, presence: Presence): Effect.Effect<Polled, E> =>
  Effect.gen(function*() {
    const time = yield* Effect.clockWith((clock) => Effect.succeed(monotonic(clock)))
    const begun = time()
    const stalls = new Stalls(begun)
    const beats = Effect.forever(Effect.andThen(Effect.sleep(heartbeat), Effect.sync(() => stalls.beat(time()))))
    const polled = yield* Effect.raceFirst(poll, beats)
    return { ...polled, snapshot: presence.take(polled.snapshot, stalls.spoiled(begun, time())) }
  })

const toPolled = (found: ReadonlyArray<ServiceInstance> | Snapshot | Polled): Polled => {
  if ("snapshot" in found) return found
  return { snapshot: "_tag" in found ? found : snapshot(found) }
}

const isSame = (a: Result.Result<Polled, RegistryError>, b: Result.Result<Polled, RegistryError>): boolean =>
  Result.isSuccess(a)
    ? Result.isSuccess(b) && a.success.snapshot === b.success.snapshot
    : Result.isFailure(b) && a.failure.message === b.failure.message
