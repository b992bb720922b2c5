/**
 * Reads a registry file and its leases as a whole, and only what changed since.
 */
import * as Registry from "@portolan/core/Registry"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import { codeOf, signature } from "./files.ts"
import * as leases from "./leases.ts"
import * as registryText from "./registryText.ts"

interface Read<A> {
  readonly value: A
  /** Of what was read; none: it may have changed within the same tick. */
  readonly signature: string | undefined
}

/**
 * Reads what there is: only what changed since, and leases that were read longer than `age` (ms) ago, as not every
 * change of theirs shows in their directory. The snapshot is the same value as long as nothing changed.
 */
export const make = (name: string, file: string, directory: string) => {
  let content: Read<Result.Result<registryText.Records, string>> | undefined
  let found: Read<leases.Found> & { readonly at: number } | undefined
  let state: { readonly from: readonly [unknown, unknown]; readonly snapshot: Registry.Snapshot } | undefined
  const lock = Semaphore.makeUnsafe(1)

  return (age: number): Effect.Effect<Registry.Polled, Registry.RegistryError> =>
    lock.withPermit(Effect.gen(function*() {
      const at = yield* Clock.currentTimeMillis

      const written = yield* attempt(() => signature(file, at))
      if (content === undefined || written === undefined || content.signature !== written) {
        const parsed = registryText.parse(file, yield* attempt(() => fs.readFile(file, "utf8")))
        const value = Result.isFailure(parsed)
          ? Result.fail(parsed.failure)
          : Result.succeed(yield* registryText.decode(parsed.success.services))
        content = { value, signature: written }
      }
      if (Result.isFailure(content.value)) return yield* new ReadError({ cause: content.value.failure })

      const listed = yield* attempt(() => signature(directory, at).catch(ifAbsent("no leases")))
      const isDue = found === undefined || Math.min(found.value.nextExpiry, found.at + age) <= at
      if (found === undefined || isDue || listed === undefined || found.signature !== listed) {
        found = { value: yield* attempt(() => leases.read(directory, at)), signature: listed, at }
      }

      const from = [content.value, found.value] as const
      if (state?.from[0] !== from[0] || state.from[1] !== from[1]) {
        state = { from, snapshot: merge(content.value.success, found.value, path.basename(file)) }
      }
      return { snapshot: state.snapshot, goodFor: Duration.millis(Math.min(found.value.nextExpiry - at, age)) }
    })).pipe(
      Effect.mapError(({ cause }) =>
        new Registry.RegistryError({ registry: name, operation: "poll", reason: tell(file, cause) })
      )
    )
}

const ifAbsent = <A>(value: A) => (error: unknown): A => {
  if (codeOf(error) !== "ENOENT") throw error
  return value
}

class ReadError extends Data.TaggedError("ReadError")<{ readonly cause: unknown }> {}

const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, ReadError> =>
  Effect.tryPromise({ try: run, catch: (cause) => new ReadError({ cause }) })

// The file comes first: what the operator wrote isn't taken over by whoever announces the same id.
const merge = (content: registryText.Records, found: leases.Found, name: string): Registry.Snapshot => {
  const ids = new Set(content.instances.map(({ id }) => id))
  const taken = found.instances.filter(({ id }) => ids.has(id))
  return Registry.snapshot(
    [...content.instances, ...found.instances.filter(({ id }) => !ids.has(id))],
    [
      ...content.rejected,
      ...found.rejected,
      ...taken.map(({ id }) => ({ id, reason: `id: "${id}" is in ${name} too` }))
    ]
  )
}

/** Tells in one line why a file can't be used. */
export const tell = (file: string, cause: unknown): string => {
  const name = path.basename(file)
  switch (codeOf(cause)) {
    case "ENOENT":
      return `${name} isn't there, or is a link that leads nowhere; looked at ${file}`
    case "EACCES":
    case "EPERM":
      return `${name} can't be read: permission denied`
    case "EISDIR":
      return `${name} is a directory; expected a JSON or YAML file`
    default:
      return `${name}: ${cause instanceof Error ? cause.message : String(cause)}`
  }
}
