import type { InstanceHealth } from "../Health.ts"
import { isOut } from "./circuit.ts"
import type { Service, Settings, Tracked } from "./tracked.ts"

// How long the fastest of a service may stay so without being looked for again, ms.
const fastestHolds = 1_000

/**
 * The health of an instance as a value.
 *
 * @internal
 */
export const healthOf = (tracked: Tracked, weights: Settings["weights"], now: number): InstanceHealth => {
  const { changedAt, checkedAt, circuit, key, reason, status, window } = tracked
  const latency = window?.median(now)
  const successRate = window?.successRate(now)
  const waits = status === "unhealthy" && isOut(circuit) && circuit.state === "open" && now >= circuit.until
  return {
    key,
    status,
    score: scoreOf(tracked, weights, successRate, latency, now),
    reason: waits ? `${reason}; the next call tries it` : reason,
    changedAt,
    checkedAt,
    latency,
    successRate
  }
}

const scoreOf = (
  { service, status }: Tracked,
  weights: Settings["weights"],
  successRate: number | undefined,
  latency: number | undefined,
  now: number
): number => {
  if (status === "unhealthy" || status === "down") return 0
  const fastest = fastestOf(service, now)
  const speed = latency === undefined || fastest === undefined || latency <= fastest ? 1 : fastest / latency
  return weights.success * (successRate ?? 1) + weights.latency * speed
}

// Asked for once per instance when a long list is shown, so it is kept until something was recorded or time went by.
const fastestOf = (service: Service, now: number): number | undefined => {
  if (service.fastestOf !== service.outcomes || now - service.fastestAt >= fastestHolds) {
    service.fastest = undefined
    for (const member of service.members) {
      const median = member.window?.median(now)
      if (median !== undefined && (service.fastest === undefined || median < service.fastest)) service.fastest = median
    }
    service.fastestOf = service.outcomes
    service.fastestAt = now
  }
  return service.fastest
}
