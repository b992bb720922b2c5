/**
 * `balancing` in the configuration: how an instance is chosen among several.
 *
 * @since 0.1.0
 */
import { strategyNames } from "@portolan/core/Balancer"
import * as Schema from "effect/Schema"
import { defaulted, number, time } from "../internal/fields.ts"

/**
 * Schema of `balancing`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const BalancingEntry = Schema.Struct({
  strategy: defaulted(Schema.Literals(strategyNames), "peak-ewma", "How an instance is chosen among several"),
  slowStart: time("10s", "Time in which a new or recovered instance comes to its full share; 0s for at once"),
  panicThreshold: defaulted(
    number(0, 1),
    0.5,
    "Share of a service's instances that must be routable; where fewer are, the unhealthy ones get calls too"
  )
})
export type BalancingEntry = typeof BalancingEntry.Type
