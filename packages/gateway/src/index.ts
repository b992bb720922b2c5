/** @since 0.1.0 */
export * as About from "./About.ts"

/** @since 0.1.0 */
export * as Adapter from "./configuration/Adapter.ts"

/** @since 0.1.0 */
export * as Api from "./rest/Api.ts"

/** @since 0.1.0 */
export * as BalancingEntry from "./configuration/BalancingEntry.ts"

/** @since 0.1.0 */
export * as CallsEntry from "./configuration/CallsEntry.ts"

/** @since 0.2.0 */
export * as Changes from "./rest/Changes.ts"

/** @since 0.1.0 */
export * as Conduct from "./rest/Conduct.ts"

/** @since 0.1.0 */
export * as Configuration from "./configuration/Configuration.ts"

/** @since 0.1.0 */
export * as ConfigurationChanges from "./configuration/ConfigurationChanges.ts"

/** @since 0.1.0 */
export * as ConfigurationParts from "./configuration/ConfigurationParts.ts"

/** @since 0.1.0 */
export * as ConfigurationState from "./configuration/ConfigurationState.ts"

/** @since 0.1.0 */
export * as ConfiguredRegistries from "./configuration/ConfiguredRegistries.ts"

/** @since 0.2.0 */
export * as DocumentsApi from "./documents/DocumentsApi.ts"

/** @since 0.1.0 */
export * as EventFeed from "./rest/EventFeed.ts"

/** @since 0.1.0 */
export * as Events from "./rest/Events.ts"

/** @since 0.1.0 */
export * as ExplanationView from "./rest/ExplanationView.ts"

/** @since 0.1.0 */
export * as FleetHealth from "./rest/FleetHealth.ts"

/** @since 0.1.0 */
export * as Gateway from "./Gateway.ts"

/** @since 0.1.0 */
export * as HealthEntry from "./configuration/HealthEntry.ts"

/** @since 0.1.0 */
export * as InstanceHealth from "./rest/InstanceHealth.ts"

/** @since 0.1.0 */
export * as Leases from "./rest/Leases.ts"

/** @since 0.1.0 */
export * as ListenError from "./ListenError.ts"

/** @since 0.1.0 */
export * as LiveConfiguration from "./configuration/LiveConfiguration.ts"

/** @since 0.1.0 */
export * as Metrics from "./telemetry/Metrics.ts"

/** @since 0.1.0 */
export * as Mistake from "./configuration/Mistake.ts"

/** @since 0.1.0 */
export * as Problems from "./rest/Problems.ts"

/** @since 0.1.0 */
export * as ReportView from "./rest/ReportView.ts"

/** @since 0.1.0 */
export * as Representations from "./rest/Representations.ts"

/** @since 0.1.0 */
export * as Rest from "./rest/Rest.ts"

/** @since 0.1.0 */
export * as RoutingEntry from "./configuration/RoutingEntry.ts"

/** @since 0.2.0 */
export * as SelfDescription from "./documents/SelfDescription.ts"

/** @since 0.1.0 */
export * as Series from "./rest/Series.ts"

/** @since 0.1.0 */
export * as ServerEntry from "./configuration/ServerEntry.ts"

/** @since 0.1.0 */
export * as Telemetry from "./telemetry/Telemetry.ts"

/** @since 0.2.0 */
export * as Validation from "./configuration/Validation.ts"

/** @since 0.1.0 */
export * as Views from "./rest/Views.ts"

/** @since 0.1.0 */
export * as Webhooks from "./rest/Webhooks.ts"

/** @since 0.1.0 */
export * as WriteAccess from "./rest/WriteAccess.ts"
