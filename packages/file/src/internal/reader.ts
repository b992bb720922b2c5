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
import type { Hint } from "./hints.ts"
import * as leases from "./leases.ts"
import * as registryText from "./registryText.ts"

/** What there is. The snapshot is the same value as long as nothing changed. */
export interface State {
  readonly snapshot: Registry.Snapshot
  readonly found: leases.Found
}

export interface Reader {
  /** Reads what may have changed; `operation` is for the error. */
  readonly read: (operation: string, what: ReadonlySet<Hint>) => Effect.Effect<State, Registry.RegistryError>
}

interface Content extends registryText.Records {
  readonly signature: string
}

/** How long a file that was just written must rest before it is believed: it may be written in place, in parts. */
const rest = Duration.millis(25)
/** How often it is given that time; one that is written without pause is read as it is then. */
const patience = 40
/** A file that was not touched for this long (ms) is at rest. */
const atRest = 1_000

export const make = (name: string, file: string, directory: string): Reader => {
  let content: Content | undefined
  let state: (State & { readonly content: Content }) | undefined
  const lock = Semaphore.makeUnsafe(1)

  const current = (left: number): Effect.Effect<Content, ReadError> =>
    Effect.gen(function*() {
      const before = yield* attempt(() => signature(file))
      if (before === content?.signature) return content
      const { mtimeMs } = yield* attempt(() => fs.stat(file))
      if (Math.abs((yield* Clock.currentTimeMillis) - mtimeMs) < atRest) yield* Effect.sleep(rest)
      const text = yield* attempt(() => fs.readFile(file, "utf8"))
      const after = yield* attempt(() => signature(file))
      if (after !== before && left > 0) return yield* current(left - 1)
      const parsed = registryText.parse(file, text)
      if (Result.isFailure(parsed)) return yield* new ReadError({ cause: parsed.failure })
      const records = yield* registryText.decode(parsed.success.services)
      return { ...records, signature: before }
    })

  return {
    read: (operation, what) =>
      lock.withPermit(Effect.gen(function*() {
        if (content === undefined || what.has("file")) content = yield* current(patience)
        const now = yield* Clock.currentTimeMillis
        const before = state?.found
        const found = before === undefined || what.has("leases") || before.nextExpiry <= now
          ? yield* attempt(() => leases.read(directory, now))
          : before
        if (state?.content !== content || state.found !== found) {
          state = { content, found, snapshot: merge(content, found, path.basename(file)) }
        }
        return state
      })).pipe(
        Effect.mapError(({ cause }) =>
          new Registry.RegistryError({ registry: name, operation, reason: tell(file, cause) })
        )
      )
  }
}

class ReadError extends Data.TaggedError("ReadError")<{ readonly cause: unknown }> {}

const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, ReadError> =>
  Effect.tryPromise({ try: run, catch: (cause) => new ReadError({ cause }) })

// The file comes first: what the operator wrote isn't taken over by whoever announces the same id.
const merge = (content: Content, found: leases.Found, name: string): Registry.Snapshot => {
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
