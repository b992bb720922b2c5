/**
 * `health` in the configuration: how often instances are checked, and when calls take one out of traffic.
 *
 * @since 0.1.0
 */
import type { HealthOptions } from "@portolan/core/Health"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { count, defaulted, duration, number, optional, time } from "../internal/fields.ts"

const Ejection = Schema.Struct({
  consecutiveFailures: optional(count(1, 1_000), "Failed calls in a row that eject an instance; fall by default"),
  baseTime: time("1s", "Time of the first ejection, doubled each time it happens again"),
  maxTime: time("5m", "Longest ejection"),
  maxShare: defaulted(number(0, 1), 0.5, "Share of a service's instances that calls may eject; one always may be"),
  interval: time("10s", "Time between two looks at the success rates"),
  minInstances: defaulted(
    count(2, 10_000),
    5,
    "Instances of a service with enough calls, below which success rates aren't compared"
  ),
  minRequests: defaulted(count(1, 1_000_000), 100, "Calls within an interval that are enough"),
  deviations: defaulted(
    number(0.1, 10),
    1.9,
    "Standard deviations below the mean success rate at which an instance is ejected"
  ),
  trials: defaulted(
    count(1, 1_000),
    3,
    "Trial calls that an ejected instance gets at a time once its time is over, and successes that bring it back"
  ),
  readmitOnCheck: defaulted(Schema.Boolean, true, "Whether a check that passes brings an ejected instance back")
})

/**
 * Schema of `health`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const HealthEntry = Schema.Struct({
  interval: time("30s", "Time between two checks of an instance; each instance may set its own"),
  unhealthyInterval: time("1s", "Time between two checks of an unhealthy instance"),
  idleInterval: Schema.optionalKey(duration({
    description:
      "Time between two checks of the instances of a service that got no call for as long; as the others by default"
  })),
  timeout: time("10s", "Longest a check may take"),
  rise: defaulted(count(1, 100), 1, "Successful checks in a row until an unhealthy instance is healthy"),
  fall: defaulted(count(1, 100), 3, "Failed checks or calls in a row until a healthy instance is unhealthy"),
  concurrency: defaulted(count(1, 10_000), 32, "Checks under way at the same time"),
  ejection: Ejection.annotate({ description: "When calls take an instance out of traffic, and for how long" })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed({})))
})
export type HealthEntry = typeof HealthEntry.Type

/**
 * Makes the options. `read` reads the text of a duration.
 *
 * @category converting
 * @since 0.1.0
 */
export const toOptions = (entry: HealthEntry, read: (text: string) => Duration.Duration): HealthOptions => ({
  ...entry,
  interval: read(entry.interval),
  unhealthyInterval: read(entry.unhealthyInterval),
  idleInterval: entry.idleInterval === undefined ? undefined : read(entry.idleInterval),
  timeout: read(entry.timeout),
  ejection: {
    ...entry.ejection,
    baseTime: read(entry.ejection.baseTime),
    maxTime: read(entry.ejection.maxTime),
    interval: read(entry.ejection.interval)
  }
})
