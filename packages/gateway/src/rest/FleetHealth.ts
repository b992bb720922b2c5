/**
 * The health of the whole fleet: a verdict, and what it follows from.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { HealthDetail, HealthStatus } from "./Representations.ts"

const Verdict = Schema.Literals(["healthy", "degraded", "unhealthy"]).annotate({
  description: "`unhealthy`: no instance takes calls; `degraded`: one that should doesn't, or not as well as the others"
})

const counts = {
  verdict: Verdict,
  instances: Schema.Int,
  available: Schema.Int.annotate({ description: "Instances that calls may go to" }),
  ejected: Schema.Int.annotate({ description: "Instances that calls keep out of traffic" }),
  statuses: Schema.Record(HealthStatus, Schema.Int)
}

/**
 * Health of a service in that of the fleet.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ServiceVerdict = Schema.Struct({ service: Schema.String, ...counts })
  .annotate({ identifier: "ServiceVerdict" })
export type ServiceVerdict = typeof ServiceVerdict.Type

/**
 * Health of the fleet.
 *
 * @category schemas
 * @since 0.1.0
 */
export const FleetHealth = Schema.Struct({
  ...counts,
  verdict: Verdict.annotate({ description: "That of the service that is worst off; `healthy` where there is none" }),
  reason: Schema.String.annotate({ description: "The verdict in one line" }),
  /** Those that are worst off first. */
  services: Schema.Array(ServiceVerdict),
  /** Services that aren't listed. */
  moreServices: Schema.Int,
  /** Instances that are worst off, of those that aren't healthy. */
  worst: Schema.Array(HealthDetail)
}).annotate({ identifier: "FleetHealth" })
export type FleetHealth = typeof FleetHealth.Type

const severity = { healthy: 0, degraded: 1, unhealthy: 2 } as const
const badness = { healthy: 0, unknown: 0, draining: 1, degraded: 2, unhealthy: 3, down: 4 } as const
const noStatuses = { healthy: 0, degraded: 0, unhealthy: 0, draining: 0, down: 0, unknown: 0 }

/**
 * An instance of the fleet. `detail` is asked for only where the instance isn't healthy.
 *
 * @category models
 * @since 0.1.0
 */
export interface Member {
  readonly service: string
  readonly status: typeof HealthStatus.Type
  readonly ejected: boolean
  readonly detail: () => HealthDetail
}

/**
 * Makes it of the health of all instances, with at most `top` services and instances in its lists.
 *
 * @category constructors
 * @since 0.1.0
 */
export const of = (instances: Iterable<Member>, top: number): FleetHealth => {
  const unwell: Array<HealthDetail> = []
  const byService = new Map<string, { ejected: number; instances: number; statuses: typeof noStatuses }>()
  for (const { detail, ejected, service, status } of instances) {
    if (badness[status] > 0) unwell.push(detail())
    let known = byService.get(service)
    if (known === undefined) byService.set(service, known = { ejected: 0, instances: 0, statuses: { ...noStatuses } })
    known.instances++
    known.statuses[status]++
    if (ejected) known.ejected++
  }
  const services = Array.from(byService, ([service, { ejected, instances, statuses }]): ServiceVerdict => {
    const available = statuses.healthy + statuses.degraded + statuses.unknown
    const verdict = available === 0
      ? "unhealthy"
      : statuses.degraded + statuses.unhealthy + statuses.down > 0
      ? "degraded"
      : "healthy"
    return { service, verdict, instances, available, ejected, statuses }
  }).sort((a, b) => severity[b.verdict] - severity[a.verdict] || (a.service < b.service ? -1 : 1))
  const statuses = { ...noStatuses }
  for (const service of services) {
    for (const status of HealthStatus.literals) statuses[status] += service.statuses[status]
  }
  const sum = (figure: "available" | "ejected" | "instances") => services.reduce((all, each) => all + each[figure], 0)
  const without = services.filter(({ verdict }) => verdict === "unhealthy")
  const limping = services.filter(({ verdict }) => verdict === "degraded")
  const named = (some: ReadonlyArray<ServiceVerdict>): string =>
    some.slice(0, 3).map(({ service }) => service).join(", ") + (some.length > 3 ? `, and ${some.length - 3} more` : "")
  return {
    verdict: without.length > 0 ? "unhealthy" : limping.length > 0 ? "degraded" : "healthy",
    reason: without.length > 0
      ? `no instance takes calls: ${named(without)}`
      : limping.length > 0
      ? `not all instances are well: ${named(limping)}`
      : services.length === 0
      ? "nothing is announced"
      : "all instances are well",
    instances: sum("instances"),
    available: sum("available"),
    ejected: sum("ejected"),
    statuses,
    services: services.slice(0, top),
    moreServices: Math.max(services.length - top, 0),
    worst: unwell.sort((a, b) => badness[b.status] - badness[a.status] || a.score - b.score).slice(0, top)
  }
}
