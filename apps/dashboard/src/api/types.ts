/**
 * Types of the REST API: those of the gateway's own schemas, of which nothing but types is in the bundle.
 */
export type { Change } from "@portolan/gateway/rest/Changes"
export type { Event, InstanceFigures, ServiceFigures } from "@portolan/gateway/rest/Events"
export type { ExplanationView } from "@portolan/gateway/rest/ExplanationView"
export type { InstanceHealth } from "@portolan/gateway/rest/InstanceHealth"
export type { ReportView } from "@portolan/gateway/rest/ReportView"
export type {
  ConfigurationMistake,
  ConfigurationView,
  HealthDetail,
  HealthView,
  InstanceView,
  MarkView,
  SourceView,
  StatusView,
  ToolView,
  ValidationView
} from "@portolan/gateway/rest/Representations"
export type { Report as SeriesReport } from "@portolan/gateway/rest/Series"
