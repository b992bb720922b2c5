/**
 * `calls` in the configuration: how long a call may take, when it is tried again, how many may run and wait.
 *
 * @since 0.1.0
 */
import type { RouterOptions } from "@portolan/core/Router"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { count, defaulted, number, optional, time } from "../internal/fields.ts"

/**
 * Schema of `calls`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const CallsEntry = Schema.Struct({
  timeout: time("60s", "Whole time of a call, all attempts together"),
  maxTimeout: time("10m", "Longest that progress may extend it to"),
  retries: defaulted(count(0, 10), 2, "Attempts after the first one, where those are safe"),
  retryBudget: Schema.Struct({
    share: defaulted(number(0, 10), 0.2, "Retries per call to a service"),
    reserve: defaulted(number(0, 1_000_000), 10, "Retries a second that are always allowed")
  }).annotate({ description: "How many retries all calls to a service may make together" })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed({}))),
  backoff: Schema.Struct({
    first: time(
      "25ms",
      "Longest pause before a first retry, doubled with each further one of a call"
    ),
    longest: time("1s", "Longest pause")
  }).annotate({
    description: "The pause before a retry, random between nothing and this; none before the first one elsewhere"
  })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed({}))),
  limits: Schema.Struct({
    perInstance: defaulted(
      count(1, 1_000_000),
      1_024,
      "Calls at one instance at the same time, where its record sets no limit"
    ),
    perService: optional(
      count(1, 10_000_000),
      "Calls at all instances of a service at the same time; no limit by default"
    ),
    queue: defaulted(count(0, 1_000_000), 1_000, "Calls that wait for room, per service; further ones are refused"),
    wait: time("5s", "Longest wait for room")
  }).annotate({ description: "How many calls may run and wait" })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed({}))),
  hedging: Schema.optionalKey(
    Schema.Struct({
      percentile: defaulted(
        number(0.5, 0.999),
        0.95,
        "Share of the recent calls to the service that took no longer than a call waits before its second attempt"
      ),
      share: defaulted(number(0, 1), 0.05, "Second attempts per call at most: the load that they add")
    }).annotate({ description: "A second attempt elsewhere for read-only calls that take long; none by default" })
  )
})
export type CallsEntry = typeof CallsEntry.Type

/**
 * Makes the options. `duration` reads the text of a duration.
 *
 * @category converting
 * @since 0.1.0
 */
export const toOptions = (
  { backoff, hedging, limits, maxTimeout, retries, retryBudget, timeout }: CallsEntry,
  duration: (text: string) => Duration.Duration
): RouterOptions => ({
  timeout: duration(timeout),
  maxTimeout: duration(maxTimeout),
  attempts: retries + 1,
  retryBudget,
  backoff: { first: duration(backoff.first), longest: duration(backoff.longest) },
  limits: { ...limits, wait: duration(limits.wait) },
  hedging
})
