/**
 * Registry in a JSON or YAML file that operators edit, with leases of running processes in a directory beside it.
 *
 * **Mental model**: the file is the operator's and is only read. `{"services": [ServiceInstance, …]}` says what there
 * is, and other keys are left alone. A process that announces itself writes one small file of its own into
 * `<file>.d/`; its modification time is its last heartbeat.
 *
 * When it is read, how long it must rest to be believed, and what becomes of a lost one is `Registry.fromPoll`'s and
 * core's; here is only how it is read, and who hints that it changed.
 *
 * **Details**
 * - What changed is told within about 100 ms where the system tells of changes, and at the next reading (`every`)
 *   elsewhere, as on network file systems.
 * - A file that is gone, unreadable or broken fails the session: the last state stays, marked stale with the reason.
 *   `{"services": []}` empties it at once.
 * - A record that is wrong, or whose id another has, is rejected; the rest goes on.
 *
 * **Gotchas**: leases count on the clocks of the machines that share the directory.
 *
 * @since 0.1.0
 */
import * as Registries from "@portolan/core/Registries"
import * as Registry from "@portolan/core/Registry"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import * as FileHints from "./FileHints.ts"
import { codeOf, replace } from "./internal/files.ts"
import * as leases from "./internal/leases.ts"
import { withLock } from "./internal/lockFile.ts"
import * as reader from "./internal/reader.ts"
import * as registryText from "./internal/registryText.ts"

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface FileRegistryOptions {
  /** The file; JSON or YAML by its extension, else by its content. */
  readonly path: string
  /** Default: the path as it was given. */
  readonly name?: string | undefined
  /**
   * Longest time until it is read again without a hint, which heals lost ones. Default 30 s; at most 1 s where the
   * system tells of no changes.
   */
  readonly every?: Duration.Input | undefined
}

/** How long the file must rest to be believed: a write in place may be read in parts. */
const settle = Duration.millis(25)
const blindEvery = Duration.seconds(1)

/**
 * Opens the registry. It needs not be there yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: FileRegistryOptions): Effect.Effect<Registry.Registry> =>
  Effect.suspend(() => {
    const file = path.resolve(options.path)
    const directory = `${file}.d`
    const name = options.name ?? options.path
    const every = Duration.fromInputUnsafe(options.every ?? "30 seconds")
    const read = reader.make(name, file, directory)
    let told = true
    return Registry.fromPoll({
      name,
      type: "file",
      every,
      // A file system that hangs (a network's) is one that is lost.
      timeout: "30 seconds",
      settle,
      wake: FileHints.make({
        files: () => [file],
        directories: [directory],
        // A heartbeat touches a lease, and one that is under way is hidden.
        counts: (at, event, name) => at !== directory || event === "rename" && name?.startsWith(".") !== true,
        tell: (are) => void (told = are)
      }),
      poll: Effect.suspend(() => read(Duration.toMillis(told ? every : Duration.min(every, blindEvery)))),
      registrar: Option.some(leases.registrar(name, directory)),
      trust: "full",
      authoritative: true
    })
  })

/**
 * Layer that adds the registry to `Registries`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: FileRegistryOptions & { readonly precedence?: number | undefined }
): Layer.Layer<never, Registry.RegistryError, Registries.Registries> => Registries.layerOf(make(options), options)

/**
 * A registry file as data: its services as they are written, and every other key.
 *
 * @category models
 * @since 0.1.0
 */
export type RegistryFile = registryText.RegistryFile

/**
 * Changes the file itself, one process at a time, in one step for whoever reads it. A file that isn't there yet begins
 * without services; one that is broken is left as it is, and so is YAML, whose comments would be lost.
 *
 * @category combinators
 * @since 0.1.0
 */
export const update = (
  file: string,
  change: (content: RegistryFile) => RegistryFile
): Effect.Effect<void, Registry.RegistryError> => {
  const refuse = (reason: string) => new Registry.RegistryError({ registry: file, operation: "update", reason })
  const read = async (): Promise<RegistryFile | string> => {
    const text = await fs.readFile(file, "utf8").catch((error: unknown) => {
      if (codeOf(error) !== "ENOENT") throw error
    })
    if (text !== undefined && registryText.isYaml(file, text) || text === undefined && registryText.isYaml(file, "{")) {
      return "YAML isn't rewritten, as its comments would be lost; edit it by hand or keep the services in JSON"
    }
    const parsed = text === undefined ? Result.succeed({ services: [] }) : registryText.parse(file, text)
    return Result.isFailure(parsed) ? `${path.basename(file)}: ${parsed.failure}` : parsed.success
  }
  const attempt = <A>(run: () => Promise<A>) =>
    Effect.tryPromise({ try: run, catch: (cause) => refuse(reader.tell(file, cause)) })
  return Effect.gen(function*() {
    const target = yield* attempt(() => fs.realpath(file).catch(() => path.resolve(file)))
    const write = Effect.gen(function*() {
      const content = yield* attempt(read)
      if (typeof content === "string") return yield* refuse(content)
      yield* attempt(() => replace(target, `${JSON.stringify(change(content), null, 2)}\n`))
    })
    yield* Effect.mapError(
      withLock(`${target}.lock`, write),
      (error) => error instanceof Registry.RegistryError ? error : refuse(reader.tell(file, error.cause))
    )
  })
}
