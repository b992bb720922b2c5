import type { InstanceHealth } from "../../Health.ts"
import { isOut, wayBack } from "./circuit.ts"
import type { Service, Settings, Tracked } from "./tracked.ts"

// How long the fastest of a service holds, ms; of thousands longer, as looking for it takes the longer. Of a few it is looked
// for whenever something was recorded. In the minute that a median speaks of it seldom becomes another one.
const fastestHolds = 2_000
const few = 16

/**
 * The health of an instance as a value; `fastest` is the lowest median latency of its service.
 *
 * @internal
 */
export const healthOf = (
  tracked: Tracked,
  weights: Settings["weights"],
  fastest: number | undefined,
  now: number
): InstanceHealth => {
  const { changedAt, checks, circuit, key, reason, status, verdict, window } = tracked
  const latency = window?.median(now)
  const successRate = window?.successRate(now)
  const speed = latency === undefined || fastest === undefined || latency <= fastest ? 1 : fastest / latency
  const waits = status === "unhealthy" && isOut(circuit) && circuit.state === "open" && now >= circuit.until
  return {
    key,
    status,
    score: status === "unhealthy" || status === "down"
      ? 0
      : weights.success * (successRate ?? 1) + weights.latency * speed,
    reason: waits ? `${reason}; ${wayBack(verdict?.status !== "unhealthy")}` : reason,
    changedAt,
    checkedAt: checks?.last,
    latency,
    successRate
  }
}

/**
 * The lowest median latency of a service.
 *
 * @internal
 */
export const fastestOf = (service: Service, now: number): number | undefined => {
  const { members, outcomes } = service
  const old = now - service.fastestAt >= Math.max(fastestHolds, members.size)
  if (!old && (members.size > few || service.fastestOf === outcomes)) return service.fastest
  service.fastest = undefined
  for (const { window } of members) {
    const median = window?.median(now)
    if (median !== undefined && (service.fastest === undefined || median < service.fastest)) service.fastest = median
  }
  service.fastestOf = outcomes
  service.fastestAt = now
  return service.fastest
}
