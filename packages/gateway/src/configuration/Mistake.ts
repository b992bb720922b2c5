/**
 * Mistakes in a configuration file, each with its place.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * One mistake and its place; lines and columns count from 1.
 *
 * @category models
 * @since 0.1.0
 */
export interface Mistake {
  /** `gateway.port`, `registries[1].url`; empty for the file as a whole. */
  readonly path: string
  readonly line: number
  readonly column: number
  readonly message: string
}

/**
 * A mistake in a line: `portolan.yaml:3:9: gateway.port: expected …`.
 *
 * @category converting
 * @since 0.1.0
 */
export const showMistake = (file: string, { column, line, message, path }: Mistake): string =>
  `${file}:${line}:${column}: ${path === "" ? "" : `${path}: `}${message}`

/**
 * Error raised when a configuration has mistakes: all of them, in the order of the file.
 *
 * @category errors
 * @since 0.1.0
 */
export class ConfigurationError extends Schema.TaggedError<ConfigurationError>()("ConfigurationError", {
  file: Schema.String,
  /** Paths of the other files that were read, or looked for. */
  others: Schema.Array(Schema.String),
  mistakes: Schema.Array(
    Schema.Struct({ path: Schema.String, line: Schema.Int, column: Schema.Int, message: Schema.String })
  )
}) {
  override get message(): string {
    return this.mistakes.map((mistake) => showMistake(this.file, mistake)).join("\n")
  }
}
