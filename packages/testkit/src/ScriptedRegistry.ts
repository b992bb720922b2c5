/**
 * A registry that says what a test tells it to say.
 *
 * **Mental model**: every session plays the next script: steps that emit, wait, fail or end. A script that runs out
 * leaves its session open, and the test goes on by hand with `emit`, `fail` and `end`, which reach all open sessions.
 * Without a script a session begins with the snapshot that `list` answers.
 *
 * **Example** (A session that is lost and comes back)
 *
 * ```ts
 * const scripted = yield* ScriptedRegistry.make({
 *   name: "flaky",
 *   sessions: [
 *     [ScriptedRegistry.emit(Registry.snapshot([weather])), ScriptedRegistry.fail],
 *     [ScriptedRegistry.wait("1 second"), ScriptedRegistry.emit(Registry.snapshot([weather]))]
 *   ]
 * })
 * yield* registries.add(scripted.registry)
 * ```
 *
 * @since 0.1.0
 */
import * as Registry from "@portolan/core/Registry"
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as Waiting from "./internal/Waiting.ts"

/**
 * One step of a session.
 *
 * @category models
 * @since 0.1.0
 */
export type Step =
  | { readonly _tag: "Emit"; readonly event: Registry.RegistryEvent }
  | { readonly _tag: "Wait"; readonly time: Duration.Duration }
  | { readonly _tag: "Fail"; readonly error: Registry.RegistryError | undefined }
  | { readonly _tag: "End" }

/**
 * Step that emits an event.
 *
 * @category constructors
 * @since 0.1.0
 */
export const emit = (event: Registry.RegistryEvent): Step => ({ _tag: "Emit", event })

/**
 * Step that says nothing for a while.
 *
 * @category constructors
 * @since 0.1.0
 */
export const wait = (time: Duration.Input): Step => ({ _tag: "Wait", time: Duration.fromInputUnsafe(time) })

/**
 * Step that fails the session with an error of the script's own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fail: Step = { _tag: "Fail", error: undefined }

/**
 * Step that fails the session with the error.
 *
 * @category constructors
 * @since 0.1.0
 */
export const failWith = (error: Registry.RegistryError): Step => ({ _tag: "Fail", error })

/**
 * Step that ends the session.
 *
 * @category constructors
 * @since 0.1.0
 */
export const end: Step = { _tag: "End" }

/**
 * What was asked of the registry.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counters {
  /** Sessions begun so far. */
  readonly opened: number
  /** Sessions open now. */
  readonly open: number
  /** Lists read so far. */
  readonly lists: number
}

/**
 * A registry and the strings it hangs on.
 *
 * @category models
 * @since 0.1.0
 */
export interface ScriptedRegistry {
  readonly registry: Registry.Registry
  readonly counters: () => Counters
  /** Adds scripts for the sessions after those that have one. */
  readonly script: (...sessions: ReadonlyArray<ReadonlyArray<Step>>) => Effect.Effect<void>
  /** What `list` answers from now on, and what a session without script begins with. */
  readonly setList: (answer: Effect.Effect<Registry.Snapshot, Registry.RegistryError>) => Effect.Effect<void>
  /** Says the event in every open session. */
  readonly emit: (event: Registry.RegistryEvent) => Effect.Effect<void>
  /** Fails every open session. */
  readonly fail: (error?: Registry.RegistryError) => Effect.Effect<void>
  /** Ends every open session. */
  readonly end: Effect.Effect<void>
  /** Waits until so many sessions have begun. */
  readonly opened: (sessions: number) => Effect.Effect<void>
  /** Waits until so many sessions are open, neither more nor fewer. */
  readonly open: (sessions: number) => Effect.Effect<void>
}

/**
 * Makes a scripted registry.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Partial<Omit<Registry.Registry, "list" | "watch">> & {
    readonly sessions?: ReadonlyArray<ReadonlyArray<Step>> | undefined
    readonly list?: Effect.Effect<Registry.Snapshot, Registry.RegistryError> | undefined
    /** What a session without script begins with. Default: what `list` answers. */
    readonly begin?: Effect.Effect<ReadonlyArray<Registry.RegistryEvent>, Registry.RegistryError> | undefined
  } = {}
): Effect.fn.Return<ScriptedRegistry> {
  type Session = Queue.Queue<Registry.RegistryEvent, Registry.RegistryError | Cause.Done>
  const { begin, list, sessions, ...rest } = options
  const name = options.name ?? "scripted"
  const scripts = Array.from(sessions ?? [])
  const live = new Set<Session>()
  const waiting = Waiting.make()
  let answer = list ?? Effect.succeed(Registry.snapshot([]))
  let opened = 0
  let lists = 0

  const scriptedError = () =>
    new Registry.RegistryError({ registry: name, operation: "watch", reason: "the script says so" })

  const play = (
    steps: ReadonlyArray<Step>,
    session: Session
  ): Stream.Stream<Registry.RegistryEvent, Registry.RegistryError> =>
    Stream.fromIterable(steps).pipe(
      Stream.mapEffect((step): Effect.Effect<ReadonlyArray<Registry.RegistryEvent>, Registry.RegistryError> => {
        switch (step._tag) {
          case "Emit":
            return Effect.succeed([step.event])
          case "Wait":
            return Effect.as(Effect.sleep(step.time), [])
          case "Fail":
            return Effect.fail(step.error ?? scriptedError())
          case "End":
            return Effect.as(Queue.end(session), [])
        }
      }),
      Stream.flatMap(Stream.fromIterable)
    )

  const watch = Stream.unwrap(Effect.gen(function*() {
    const steps = scripts[opened]
    // Bounded: a test that says more than this without anybody listening waits.
    const session: Session = yield* Effect.acquireRelease(
      Queue.bounded<Registry.RegistryEvent, Registry.RegistryError | Cause.Done>(256),
      (session) => {
        live.delete(session)
        waiting.notify()
        return Queue.shutdown(session)
      }
    )
    opened++
    live.add(session)
    waiting.notify()
    const beginning = steps !== undefined
      ? play(steps, session)
      : Stream.fromIterableEffect(begin ?? Effect.map(Effect.suspend(() => answer), (snapshot) => [snapshot]))
    return Stream.concat(beginning, Stream.fromQueue(session))
  }))

  const all = (f: (session: Session) => Effect.Effect<boolean>) =>
    Effect.suspend(() => Effect.forEach(Array.from(live), f, { discard: true }))

  return {
    registry: Registry.make({
      type: "scripted",
      ...rest,
      name,
      list: Effect.suspend(() => {
        lists++
        return answer
      }),
      watch
    }),
    counters: () => ({ opened, open: live.size, lists }),
    script: (...more) => Effect.sync(() => void scripts.push(...more)),
    setList: (next) =>
      Effect.sync(() => {
        answer = next
      }),
    emit: (event) => all((session) => Queue.offer(session, event)),
    fail: (error) => all((session) => Queue.fail(session, error ?? scriptedError())),
    end: all((session) => Queue.end(session)),
    opened: (count) => waiting.until(() => opened >= count),
    open: (count) => waiting.until(() => live.size === count)
  }
})
