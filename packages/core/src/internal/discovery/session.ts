/**
 * Keeps a registry's session running: begins it, watches for silence, and begins it anew when it is lost.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Pull from "effect/Pull"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { RegistryError } from "../../Registry.ts"
import * as Slices from "./slices.ts"
import type { Source } from "./source.ts"

/** All in ms; see `DiscoveryOptions`. */
export interface Settings {
  readonly idleTimeout: number
  readonly connectTimeout: number
  readonly firstRetryCap: number
  readonly retryCap: number
  readonly healthyAfter: number
}

/** First step of the back-off; AWS "full jitter": uniform between nothing and a step that doubles up to the cap. */
const backoffBase = 100

/** ms between the starts of two sessions of a source, however they end: ten requests a second at most. */
const startSpacing = 100

export class Session {
  readonly source: Source
  private readonly settings: Settings
  private readonly changed: (source: Source) => void
  // An event may be taken in slices; no other may come between.
  private readonly lock = Semaphore.makeUnsafe(1)
  private readonly listing = Semaphore.makeUnsafe(1)
  private readonly held = Latch.makeUnsafe(false)

  /** `changed` is called after the source was touched or heard. */
  constructor(source: Source, settings: Settings, changed: (source: Source) => void) {
    this.source = source
    this.settings = settings
    this.changed = changed
  }

  /** Runs until interrupted. */
  get run(): Effect.Effect<void> {
    return Effect.all([this.sessions, this.releases], { concurrency: "unbounded", discard: true })
  }

  /** Reads the registry now. */
  get refresh(): Effect.Effect<void, RegistryError> {
    const { registry } = this.source
    const list = Effect.timeoutOrElse(registry.list, {
      duration: this.connectTimeout,
      orElse: () => Effect.fail(this.error("list", `no answer within ${this.connectTimeout} ms`))
    })
    return this.listing.withPermit(
      Effect.gen({ self: this }, function*() {
        this.source.listing()
        const snapshot = yield* list
        yield* this.take((now) => this.source.takeList(snapshot, now))
      }).pipe(Effect.ensuring(Effect.sync(() => this.source.listed())))
    )
  }

  private get sessions(): Effect.Effect<never> {
    return Effect.scoped(Effect.gen({ self: this }, function*() {
      const { wake } = this.source.registry
      const hint = wake === undefined ? Effect.never : yield* wake
      let lost = 0
      while (true) {
        const begun = yield* Clock.currentTimeMillis
        this.source.begin()
        const exit = yield* Effect.exit(Effect.scoped(this.session))
        const now = yield* Clock.currentTimeMillis
        let wait = 0
        // Silence of a session that was well is no loss: the next one tells.
        if (Exit.isFailure(exit) || !this.source.live) {
          if (this.connectedAt !== undefined && now - this.connectedAt >= this.settings.healthyAfter) lost = 0
          const reason = Exit.isFailure(exit) ? reasonOf(exit.cause) : `no answer within ${this.connectTimeout} ms`
          if (lost === 0) yield* Effect.logWarning(`registry "${this.source.registry.name}" is lost: ${reason}`)
          this.source.failed(reason, now)
          this.changed(this.source)
          const cap = this.source.known ? this.settings.retryCap : this.settings.firstRetryCap
          wait = (yield* Random.next) * Math.min(cap, backoffBase * 2 ** Math.min(lost++, 20))
        } else lost = 0
        const spacing = Math.max(begun + startSpacing - now, 0)
        yield* Effect.sleep(spacing)
        // What was mended is seen at once.
        if (wait > spacing) yield* Effect.timeoutOption(hint, Math.ceil(wait - spacing))
      }
    }))
  }

  private connectedAt: number | undefined

  /** One session; ends when it is silent for too long, fails when it is lost. */
  private get session(): Effect.Effect<void, RegistryError | Cause.Done, Scope.Scope> {
    return Effect.gen({ self: this }, function*() {
      this.connectedAt = undefined
      const pull = yield* Stream.toPull(this.source.registry.watch)
      while (true) {
        const limit = this.source.live ? this.idleTimeout : this.connectTimeout
        const events = yield* (limit === Infinity ? Effect.asSome(pull) : Effect.timeoutOption(pull, limit))
        if (Option.isNone(events)) return
        for (const event of events.value) {
          const mistake = yield* this.take((now) => this.source.take(event, now))
          if (mistake !== undefined) return yield* this.error("watch", mistake)
        }
        if (this.source.live) this.connectedAt ??= yield* Clock.currentTimeMillis
      }
    })
  }

  private take<A>(take: (now: number) => Generator<void, A>): Effect.Effect<A> {
    // Not interrupted half-way: what was taken is to be told too.
    return this.lock.withPermit(Effect.uninterruptible(Effect.gen({ self: this }, function*() {
      const answer = yield* Slices.run(take(yield* Clock.currentTimeMillis))
      this.held.openUnsafe()
      this.changed(this.source)
      return answer
    })))
  }

  /** Lets held removals go when their time has come. */
  private get releases(): Effect.Effect<never> {
    return Effect.gen({ self: this }, function*() {
      while (true) {
        this.held.closeUnsafe()
        const due = this.source.due
        if (due === undefined) yield* this.held.await
        else {
          const now = yield* Clock.currentTimeMillis
          yield* Effect.timeoutOption(this.held.await, Math.max(due - now, 0))
          const { source } = this
          yield* this.lock.withPermit(Clock.currentTimeMillis.pipe(Effect.map((now) => source.release(now))))
          this.changed(this.source)
        }
      }
    })
  }

  private get idleTimeout(): number {
    return Option.match(this.source.registry.idleTimeout, {
      onNone: () => this.settings.idleTimeout,
      onSome: Duration.toMillis
    })
  }

  /** A registry that may be silent for long while it works, as a slow poll is, may be so at first too. */
  private get connectTimeout(): number {
    const own = Option.match(this.source.registry.idleTimeout, { onNone: () => 0, onSome: Duration.toMillis })
    return Number.isFinite(own) ? Math.max(own, this.settings.connectTimeout) : this.settings.connectTimeout
  }

  private error(operation: string, reason: string): RegistryError {
    return new RegistryError({ registry: this.source.registry.name, operation, reason })
  }
}

const reasonOf = (cause: Cause.Cause<RegistryError | Cause.Done>): string => {
  if (Pull.isDoneCause(cause)) return "the session ended"
  const error = Cause.squash(cause)
  if (error instanceof RegistryError) return error.detail
  return error instanceof Error ? error.message : String(error)
}
