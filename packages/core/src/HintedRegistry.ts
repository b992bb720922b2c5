/**
 * Makes a registry of a backend that tells which records changed, but not reliably: messages may be lost, doubled or
 * late, and a lease may end without a word. Redis is one.
 *
 * **Mental model**: a hint names an id, nothing more; what is true is read. An id is read when it is hinted at and when
 * the time it had left is over, and all of them at an interval. What a page of everything doesn't name counts as gone
 * only once reading it has found nothing. Every second the backend is asked whether it is there.
 *
 * **Details**: only a removal that somebody told of is `deregistered`. Whatever else is missing counts as `expired`: nobody
 * witnessed how it went, so self-preservation may hold it.
 *
 * @since 0.2.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Due, DueHeap } from "./internal/dueHeap.ts"
import { monotonic } from "./internal/monotonic.ts"
import * as Registry from "./Registry.ts"
import type { ServiceInstance } from "./ServiceInstance.ts"

/**
 * An id that may have changed, and what is known of it already.
 *
 * @category models
 * @since 0.2.0
 */
export interface Hint {
  readonly id: string
  /** Whoever removed it says that it did so on purpose: if it is gone, that is proven. */
  readonly deregistered?: boolean | undefined
}

/**
 * What reading an id found. `left` is by the backend's clock; none: it lives until it is removed.
 *
 * @category models
 * @since 0.2.0
 */
export type Reading =
  | {
    readonly _tag: "Found"
    readonly id: string
    readonly text: string
    readonly left?: Duration.Duration | undefined
  }
  /** There is something, but no text. */
  | {
    readonly _tag: "Wrong"
    readonly id: string
    readonly reason: string
    readonly left?: Duration.Duration | undefined
  }
  | { readonly _tag: "Absent"; readonly id: string }

/**
 * Some of what there is, and where to go on; without `next` it was the last of it.
 *
 * @category models
 * @since 0.2.0
 */
export interface Page {
  readonly readings: ReadonlyArray<Reading>
  readonly next?: string | undefined
}

/**
 * One session with the backend, listening already. Everything fails when the backend is lost; nothing is retried.
 *
 * @category models
 * @since 0.2.0
 */
export interface HintedSession {
  /** The first page of everything, or the one after another. Together they may name an id twice, and miss one that moves. */
  readonly page: (from: string | undefined) => Effect.Effect<Page, Registry.RegistryError>
  /** What these ids hold now, one answer for each. */
  readonly read: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<Reading>, Registry.RegistryError>
  /** Asks whether everything that the session listens to is still there. */
  readonly ping: Effect.Effect<void, Registry.RegistryError>
  /** Fails as soon as a connection is lost. */
  readonly lost: Effect.Effect<never, Registry.RegistryError>
}

/**
 * What a hinted registry is made of.
 *
 * @category models
 * @since 0.2.0
 */
export interface HintedOptions
  extends Pick<Registry.Registry, "name" | "type">, Partial<Pick<Registry.Registry, "registrar" | "trust">>
{
  /** Opens a session that says its hints to this function; its connections close with the scope. */
  readonly open: (hinted: (hint: Hint) => void) => Effect.Effect<HintedSession, Registry.RegistryError, Scope.Scope>
  /** Makes an instance of a text, or tells in a line why not. */
  readonly decode: (id: string, text: string) => Effect.Effect<ServiceInstance, string>
  /** Time between two readings of everything, moved by up to a tenth at random. Default 10 s. */
  readonly every?: Duration.Input | undefined
}

/** ms between two questions whether the backend is still there. */
const pulse = 1_000

/** Ids that are hinted at and not read yet, at most: with more of them everything is read. */
const mostHints = 10_000

/** ms: what is over within the same tenth of a second is read in one request. */
const grain = 100

/**
 * Makes the registry.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (options: HintedOptions): Registry.Registry => {
  const every = Duration.toMillis(Duration.fromInputUnsafe(options.every ?? "10 seconds"))
  // What the last session knew. A new one asks for it by name: its pages may miss what moves while they are read.
  let before: ReadonlyMap<string, Known> = new Map()

  return Registry.make({
    name: options.name,
    type: options.type,
    list: Effect.scoped(Effect.flatMap(begin(options, every), (session) => session.everything(before))),
    watch: Stream.unwrap(Effect.gen(function*() {
      const session = yield* begin(options, every)
      const first = yield* session.everything(before)
      before = session.known
      return Stream.concat(Stream.succeed<Registry.RegistryEvent>(first), Stream.fromEffectRepeat(session.next)).pipe(
        Stream.interruptWhen(session.lost)
      )
    })),
    registrar: options.registrar ?? Option.none(),
    trust: options.trust ?? "limited",
    // A question fails by itself where nobody answers; this is for one that doesn't.
    idleTimeout: Option.some(Duration.millis(10 * pulse))
  })
}

/** What an id held when it was last read. */
interface Known extends Due {
  readonly id: string
  held: Held
}

type Held = Exclude<Reading, { readonly _tag: "Absent" }>

/** Ids to read, and whether somebody said that they were removed on purpose. */
class Hints {
  readonly some = Latch.makeUnsafe(false)
  /** Whether there were too many. */
  overflown = false
  private ids = new Map<string, boolean>()

  readonly add = ({ deregistered = false, id }: Hint): void => {
    if (this.ids.size >= mostHints && !this.ids.has(id)) {
      this.ids.clear()
      this.overflown = true
    }
    this.ids.set(id, deregistered || this.ids.get(id) === true)
    this.some.openUnsafe()
  }

  take(): Map<string, boolean> {
    const taken = this.ids
    this.ids = new Map()
    this.overflown = false
    this.some.closeUnsafe()
    return taken
  }

  /** Whether a hint not taken yet proves a removal: it may have come after the question, and before its answer. */
  proves(id: string): boolean {
    return this.ids.get(id) === true
  }
}

const begin = Effect.fnUntraced(function*(options: HintedOptions, every: number) {
  const hints = new Hints()
  const session = yield* options.open(hints.add)
  const time = yield* Effect.clockWith((clock) => Effect.succeed(monotonic(clock)))
  const known = new Map<string, Known>()
  const dues = new DueHeap<Known>()

  const judge = (held: Held): Effect.Effect<Registry.Change> => {
    const { id } = held
    const reject = (reason: string) => ({ _tag: "Reject", rejected: { id, reason } } as const)
    if (held._tag === "Wrong") return Effect.succeed(reject(held.reason))
    return Effect.match(options.decode(id, held.text), {
      onFailure: reject,
      onSuccess: (instance) => ({ _tag: "Put", instance } as const)
    })
  }

  /** Notes by id what is different from what was known. `told` says of which ids somebody told that they were removed. */
  const take = Effect.fnUntraced(function*(
    changes: Map<string, Registry.Change>,
    readings: ReadonlyArray<Reading>,
    told?: ReadonlyMap<string, boolean>
  ) {
    const now = time()
    for (const reading of readings) {
      const { id } = reading
      const before = known.get(id)
      if (reading._tag === "Absent") {
        if (before !== undefined) dues.remove(before)
        const wasKnown = known.delete(id)
        // Said of one that isn't known too: it may be held, since it was missed before this was told.
        const proven = told?.get(id) === true || hints.proves(id)
        if (proven || wasKnown) changes.set(id, { _tag: "Removed", id, how: proven ? "deregistered" : "expired" })
        continue
      }
      const entry = before ?? { id, held: reading, due: Infinity, place: -1 }
      if (reading.left !== undefined) {
        dues.set(entry, (Math.floor((now + Duration.toMillis(reading.left)) / grain) + 1) * grain)
      }
      if (before !== undefined && isSame(before.held, reading)) continue
      entry.held = reading
      known.set(id, entry)
      changes.set(id, yield* judge(reading))
    }
  })

  // The reading of everything that is under way, and when the next begins; that is known once this one is over.
  let pass: Pass | undefined
  let nextPass = Infinity
  let nextPing = 0

  /** Reads a page; answers whether it was the last. */
  const turn = Effect.fnUntraced(function*(
    changes: Map<string, Registry.Change>,
    pass: Pass,
    also: ReadonlyMap<string, unknown>
  ) {
    const page = yield* session.page(pass.from)
    for (const { id } of page.readings) pass.seen.add(id)
    yield* take(changes, page.readings)
    pass.from = page.next
    if (page.next !== undefined) return false
    const missing = new Set<string>()
    for (const ids of [known, also]) for (const id of ids.keys()) if (!pass.seen.has(id)) missing.add(id)
    if (missing.size > 0) yield* take(changes, yield* session.read(Array.from(missing)))
    nextPass = Math.min(nextPass, time() + every * (0.9 + 0.2 * (yield* Random.next)))
    return true
  })

  const everything = Effect.fnUntraced(function*(also: ReadonlyMap<string, unknown>) {
    const pass: Pass = { from: undefined, seen: new Set() }
    const read = new Map<string, Registry.Change>()
    while (!(yield* turn(read, pass, also)));
    const changes = Array.from(read.values())
    return Registry.snapshot(
      changes.flatMap((change) => change._tag === "Put" ? [change.instance] : []),
      changes.flatMap((change) => change._tag === "Reject" ? [change.rejected] : [])
    )
  })

  /** Waits until something is to be asked, asks it, and says what is different. */
  const next: Effect.Effect<Registry.RegistryEvent, Registry.RegistryError> = Effect.gen(function*() {
    const idle = Math.min(nextPing, nextPass, dues.first()?.due ?? Infinity) - time()
    if (pass === undefined && idle > 0) yield* Effect.timeoutOption(hints.some.await, Math.ceil(idle))
    if (nextPing <= time()) {
      yield* session.ping
      nextPing = time() + pulse
      return Registry.alive
    }
    if (hints.overflown) nextPass = 0
    const ids = hints.take()
    for (let due = dues.first(); due !== undefined && due.due <= time(); due = dues.first()) {
      dues.remove(due)
      if (!ids.has(due.id)) ids.set(due.id, false)
    }
    const changes = new Map<string, Registry.Change>()
    if (ids.size > 0) yield* take(changes, yield* session.read(Array.from(ids.keys())), ids)
    // A page at a time: what is hinted at meanwhile doesn't wait for all of them.
    if (pass === undefined && nextPass <= time()) {
      pass = { from: undefined, seen: new Set() }
      nextPass = Infinity
    }
    if (pass !== undefined && (yield* turn(changes, pass, known))) pass = undefined
    return changes.size === 0 ? Registry.alive : Registry.delta(Array.from(changes.values()))
  })

  return { everything, next, known, lost: session.lost }
})

/** A reading of everything: how far it is, and what it has named. */
interface Pass {
  from: string | undefined
  readonly seen: Set<string>
}

const isSame = (self: Held, that: Held): boolean =>
  self._tag === "Found"
    ? that._tag === "Found" && self.text === that.text
    : that._tag === "Wrong" && self.reason === that.reason
