/**
 * Looks at the text of a configuration without taking it: what is wrong in it, and what of it would wait for a start.
 *
 * **Details**: whoever sends a text may not be whoever starts the gateway. So what stands in environment variables is never
 * told, and of files only regular and small ones are read.
 *
 * @since 0.2.0
 */
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import { unreadable } from "../internal/unreadable.ts"
import * as Configuration from "./Configuration.ts"
import * as ConfigurationChanges from "./ConfigurationChanges.ts"

/**
 * What is told of a text.
 *
 * @category models
 * @since 0.2.0
 */
export interface Validation {
  /** In the order of the text; none: it can be taken. */
  readonly mistakes: ReadonlyArray<Configuration.Mistake>
  /** Keys whose new values would take effect at the next start. */
  readonly pending: ReadonlyArray<string>
}

/**
 * What a text is looked at with.
 *
 * @category models
 * @since 0.2.0
 */
export interface ValidationOptions extends Omit<Configuration.ParseOptions, "readFile"> {
  /** What the gateway was started with. */
  readonly initial: Configuration.Configuration
  /** First keys of paths whose values take effect at the next start. Default none. */
  readonly atStart?: ReadonlyArray<string> | undefined
}

/**
 * Whether there is nothing in a text. At a start that is a configuration; later it is more likely a disk that is full.
 *
 * @category guards
 * @since 0.2.0
 */
export const isBlank = (text: string): boolean => text.trim() === ""

/**
 * The mistake of a text with nothing in it.
 *
 * @category constructors
 * @since 0.2.0
 */
export const blank: Configuration.Mistake = {
  path: "",
  line: 1,
  column: 1,
  message: "the file is empty; write {} to use the defaults alone"
}

/** Largest file that is read, bytes. */
const largest = 1024 * 1024
/** Most mistakes that are told. */
const most = 200

const readFile = (path: string): Result.Result<string, string> =>
  Result.try({
    try: () => {
      const stats = Fs.statSync(path)
      // A pipe or a device might never end.
      return stats.isFile() && stats.size <= largest ? Fs.readFileSync(path, "utf8") : undefined
    },
    catch: unreadable
  }).pipe(
    Result.flatMap((text) =>
      text === undefined ? Result.fail("no regular file of at most 1 MiB") : Result.succeed(text)
    )
  )

/**
 * Looks at a text.
 *
 * @category decoding
 * @since 0.2.0
 */
export const validate = (text: string, options: ValidationOptions): Validation => {
  if (isBlank(text)) return { mistakes: [blank], pending: [] }
  const parsed = Configuration.parse(text, { ...options, readFile })
  return Result.isSuccess(parsed)
    ? { mistakes: [], pending: ConfigurationChanges.pending(options.initial, parsed.success, options.atStart ?? []) }
    : { mistakes: parsed.failure.mistakes.slice(0, most), pending: [] }
}
