/**
 * The configuration of a running gateway: read again when its file changes, and applied to the parts that it concerns.
 *
 * **Mental model**: each part takes the slice of the configuration that it needs. A part whose slice is the same as
 * before isn't asked. A file with mistakes changes nothing; a part that can't be changed keeps its state, is asked again at
 * the next reading, and doesn't hold up the others.
 *
 * @since 0.1.0
 */
import type { Wake } from "@portolan/core/Registry"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import * as Configuration from "./Configuration.ts"
import * as ConfigurationChanges from "./ConfigurationChanges.ts"
import type { ConfigurationStatus, Settable } from "./ConfigurationState.ts"
import { blank, isBlank } from "./Validation.ts"

/**
 * A part of the gateway that takes new settings while it runs.
 *
 * @category models
 * @since 0.1.0
 */
export interface Part {
  /** What of a configuration concerns it; compared with what it was given before. */
  readonly select: (configuration: Configuration.Configuration) => unknown
  /** Takes the configuration. The answer is what of it could not be done: there the state before stays. */
  readonly apply: (
    configuration: Configuration.Configuration
  ) => Effect.Effect<ReadonlyArray<Configuration.Mistake>>
}

/**
 * What is needed to keep a configuration live.
 *
 * @category models
 * @since 0.1.0
 */
export interface LiveConfigurationOptions extends Omit<Configuration.ParseOptions, "file" | "directory"> {
  /** Path of the file. */
  readonly file: string
  /** What the gateway was started with. */
  readonly initial: Configuration.Configuration
  /** Asked in their order. */
  readonly parts: ReadonlyArray<Part>
  /** First keys of paths whose values take effect at the next start. Default none. */
  readonly atStart?: ReadonlyArray<string> | undefined
  readonly status: Settable
}

/**
 * A live configuration.
 *
 * @category models
 * @since 0.1.0
 */
export interface LiveConfiguration {
  /** The last one without mistakes. Plain. */
  readonly current: () => Configuration.Configuration
  /** Paths of the files that it is made of. Plain. */
  readonly files: () => ReadonlyArray<string>
  /** Reads the file now and applies it, whether it changed or not. */
  readonly reload: Effect.Effect<ConfigurationStatus>
  /** Reads the file whenever it changed, once it rests; hints are asked for what may have changed. */
  readonly follow: (hints: Wake) => Effect.Effect<never, never, Scope.Scope>
}

/** How long the file must rest to be believed. */
const settle = Duration.millis(100)
/** The same for a file that is gone or empty, which may be in the middle of being replaced. */
const settleGone = Duration.seconds(1)
/** Time between two looks while it doesn't rest. */
const look = Duration.millis(25)
/** Heals hints that got lost. */
const every = Duration.seconds(10)

const read = (path: string): Effect.Effect<Result.Result<string, string>> =>
  Effect.promise(() =>
    Fs.readFile(path, "utf8").then(
      (text) => Result.succeed(text),
      (cause: NodeJS.ErrnoException) =>
        Result.fail(cause.code === "ENOENT" ? "the file isn't there" : `can't be read: ${cause.message}`)
    )
  )

/**
 * Makes a live configuration. It does nothing until it is told to.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: LiveConfigurationOptions): Effect.Effect<LiveConfiguration> =>
  Effect.sync(() => {
    const { file, initial, parts, status } = options
    const directory = Path.dirname(Path.resolve(file))
    let current = initial
    let others = initial.source.others
    let revision = 1
    let loadedAt = status.state.current()?.loadedAt ?? 0
    // What the parts took last.
    const slices = new Map(parts.map((part) => [part, part.select(initial)]))
    // Of one reading, which is never done twice at once.
    const reading = Semaphore.makeUnsafe(1)
    let seen: string | undefined

    const isOfStart = ({ path }: { readonly path: string }): boolean =>
      options.atStart?.includes(path.split(".")[0] ?? "") === true

    const pending = (): ReadonlyArray<string> => ConfigurationChanges.pending(initial, current, options.atStart ?? [])

    const settings = (): ReadonlyArray<ConfigurationChanges.Setting> => [
      ...ConfigurationChanges.effective(current).filter((setting) => !isOfStart(setting)),
      ...ConfigurationChanges.effective(initial).filter(isOfStart)
    ]

    const tell = Effect.fnUntraced(function*(at: number, mistakes: ReadonlyArray<Configuration.Mistake>) {
      const next: ConfigurationStatus = {
        file,
        loadedAt,
        revision,
        pending: pending(),
        settings: settings(),
        ...(mistakes.length === 0 ? {} : { error: { at, mistakes } })
      }
      yield* status.set(next)
      return next
    })

    const complain = (what: string, mistakes: ReadonlyArray<Configuration.Mistake>) =>
      Effect.forEach(
        mistakes,
        (mistake) => Effect.logError(`${what}: ${Configuration.showMistake(file, mistake)}`),
        { discard: true }
      )

    const refuse = Effect.fnUntraced(function*(mistakes: ReadonlyArray<Configuration.Mistake>) {
      yield* complain("configuration not reloaded, the one before stays in use", mistakes)
      return yield* tell(yield* Clock.currentTimeMillis, mistakes)
    })

    const applyTo = (part: Part, configuration: Configuration.Configuration) =>
      Effect.gen(function*() {
        const slice = part.select(configuration)
        if (Equal.equals(slices.get(part), slice)) return []
        const failed = yield* part.apply(configuration).pipe(
          Effect.catchDefect((defect) =>
            Effect.succeed([configuration.source.mistakeAt([], `not applied: ${String(defect)}`)])
          )
        )
        if (failed.length === 0) slices.set(part, slice)
        return failed
      })

    const take = Effect.fnUntraced(function*(configuration: Configuration.Configuration) {
      const mistakes: Array<Configuration.Mistake> = []
      for (const part of parts) mistakes.push(...yield* applyTo(part, configuration))
      const changes = ConfigurationChanges.describe(ConfigurationChanges.diff(current, configuration))
      current = configuration
      revision++
      loadedAt = yield* Clock.currentTimeMillis
      const waiting = pending()
      const later = waiting.length === 0 ? "" : ` (at the next start: ${waiting.join(", ")})`
      yield* Effect.logInfo(`configuration reloaded: ${changes}${later}`)
      yield* complain("configuration applied in part", mistakes)
      return yield* tell(loadedAt, mistakes)
    })

    const apply = Effect.fnUntraced(function*(found: Result.Result<string, string>) {
      if (Result.isFailure(found)) {
        return yield* refuse([{ path: "", line: 1, column: 1, message: found.failure }])
      }
      // At the start an empty file is a configuration; here it is more likely a disk that is full.
      if (isBlank(found.success)) return yield* refuse([blank])
      const parsed = Configuration.parse(found.success, { ...options, file, directory })
      if (Result.isFailure(parsed)) {
        others = parsed.failure.others
        return yield* refuse(parsed.failure.mistakes)
      }
      others = parsed.success.source.others
      return yield* take(parsed.success)
    })

    const isInUse = (found: Result.Result<string, string>): boolean => {
      if (Result.isFailure(found)) return false
      const parsed = Configuration.parse(found.success, { ...options, file, directory })
      return Result.isSuccess(parsed) && ConfigurationChanges.diff(current, parsed.success).length === 0
    }

    /** The file, and a text that differs as soon as one of the files does. */
    const inspect = Effect.gen(function*() {
      const [main, ...rest] = yield* Effect.forEach([file, ...others], read)
      return { main: main ?? Result.fail("no file"), identity: JSON.stringify([main, rest]) }
    })

    const rested = Effect.gen(function*() {
      let found = yield* inspect
      let since = yield* Clock.currentTimeMillis
      while (true) {
        const gone = Result.isFailure(found.main) || isBlank(found.main.success)
        const now = yield* Clock.currentTimeMillis
        if (found.identity === seen || now - since >= Duration.toMillis(gone ? settleGone : settle)) return found
        yield* Effect.sleep(look)
        const next = yield* inspect
        if (next.identity !== found.identity) since = yield* Clock.currentTimeMillis
        found = next
      }
    })

    return {
      current: () => current,
      files: () => [file, ...others],
      reload: reading.withPermit(Effect.gen(function*() {
        const found = yield* inspect
        seen = found.identity
        return yield* apply(found.main)
      })),
      follow: Effect.fnUntraced(function*(hints) {
        const hint = yield* hints
        return yield* Effect.forever(Effect.gen(function*() {
          const { identity } = yield* rested
          const isDone = yield* reading.withPermit(Effect.gen(function*() {
            const found = yield* inspect
            // It moved on meanwhile, and is to rest anew.
            if (found.identity !== identity) return false
            if (identity === seen) return true
            const first = seen === undefined
            seen = identity
            // What was there at the start is in use already, unless it changed since.
            if (!first || !isInUse(found.main)) yield* apply(found.main)
            return true
          }))
          if (isDone) yield* Effect.timeoutOption(hint, every)
        }))
      })
    }
  })
