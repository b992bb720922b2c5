/**
 * Levels of log messages, as MCP takes them from syslog.
 *
 * @see https://www.rfc-editor.org/rfc/rfc5424#section-6.2.1
 * @since 0.1.0
 */

/**
 * The levels, from the most talkative to the most urgent.
 *
 * @category constants
 * @since 0.1.0
 */
export const levels = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"] as const
/**
 * Level of a log message, after RFC 5424.
 *
 * @category models
 * @since 0.1.0
 */
export type LogLevel = (typeof levels)[number]

/**
 * Tells whether a value is the name of a level.
 *
 * @category guards
 * @since 0.1.0
 */
export const isLogLevel = (value: unknown): value is LogLevel => levels.some((level) => level === value)

/**
 * Tells whether a message of `level` passes where `wanted` is the lowest level wanted. A level that nobody knows passes.
 *
 * @category guards
 * @since 0.1.0
 */
export const passes = (level: unknown, wanted: LogLevel): boolean =>
  !isLogLevel(level) || levels.indexOf(level) >= levels.indexOf(wanted)

/**
 * Gives the more talkative of two levels.
 *
 * @category combinators
 * @since 0.1.0
 */
export const lower = (a: LogLevel | undefined, b: LogLevel | undefined): LogLevel | undefined =>
  a === undefined ? b : b === undefined ? a : levels.indexOf(a) < levels.indexOf(b) ? a : b
