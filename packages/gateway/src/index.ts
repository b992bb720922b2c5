/** @since 0.1.0 */
export * as About from "./About.ts"

/** @since 0.1.0 */
export * as Api from "./Api.ts"

/** @since 0.1.0 */
export * as Configuration from "./Configuration.ts"

/** @since 0.1.0 */
export * as Events from "./Events.ts"

/** @since 0.1.0 */
export * as Gateway from "./Gateway.ts"

/** @since 0.1.0 */
export * as ListenError from "./ListenError.ts"

/** @since 0.1.0 */
export * as Metrics from "./Metrics.ts"

/** @since 0.1.0 */
export * as RoutingEntry from "./RoutingEntry.ts"

/** @since 0.1.0 */
export * as ServerEntry from "./ServerEntry.ts"

/** @since 0.1.0 */
export * as Telemetry from "./Telemetry.ts"

/** @since 0.1.0 */
export * as Views from "./Views.ts"

/** @since 0.1.0 */
export * as Conduct from "./Conduct.ts"

/** @since 0.1.0 */
export * as EventFeed from "./EventFeed.ts"

/** @since 0.1.0 */
export * as Leases from "./Leases.ts"

/** @since 0.1.0 */
export * as Problems from "./Problems.ts"

/** @since 0.1.0 */
export * as Rest from "./Rest.ts"

/** @since 0.1.0 */
export * as Series from "./Series.ts"

/** @since 0.1.0 */
export * as WriteAccess from "./WriteAccess.ts"
