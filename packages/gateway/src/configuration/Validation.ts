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
import { hidden } from "../internal/redact.ts"
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
/** Shorter texts are no secrets, and occur in other words. */
const shortest = 4

const readFile = (path: string): Result.Result<string, string> =>
  Result.try({
    try: () => {
      const stats = Fs.statSync(path)
      // A pipe or a device might never end.
      if (!stats.isFile() || stats.size > largest) throw new Error("no regular file of at most 1 MiB")
      return Fs.readFileSync(path, "utf8")
    },
    catch: (cause) => `can't read ${path}: ${cause instanceof Error ? cause.message : String(cause)}`
  })

/**
 * Looks at a text.
 *
 * @category decoding
 * @since 0.2.0
 */
export const validate = (text: string, options: ValidationOptions): Validation => {
  if (isBlank(text)) return { mistakes: [blank], pending: [] }
  const told = new Set<string>()
  const env = new Proxy(options.env ?? process.env, {
    get: (variables, name) => {
      const value = typeof name === "string" ? variables[name] : undefined
      if (value !== undefined && value.length >= shortest) told.add(value)
      return value
    }
  })
  const mask = (message: string): string =>
    Array.from(told).reduce((masked, value) => masked.replaceAll(value, hidden), message)
  const parsed = Configuration.parse(text, { ...options, env, readFile })
  return Result.isSuccess(parsed)
    ? { mistakes: [], pending: ConfigurationChanges.pending(options.initial, parsed.success, options.atStart ?? []) }
    : {
      mistakes: parsed.failure.mistakes.slice(0, most)
        .map((mistake) => ({ ...mistake, message: mask(mistake.message) })),
      pending: []
    }
}
