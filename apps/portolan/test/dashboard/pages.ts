/**
 * The pages of the dashboard, for tests that look at each of them.
 */

export interface Place {
  readonly path: string
  /** Its heading; that of the chart is the verdict. */
  readonly heading: string | RegExp
}

const service = "weather"

/** Every page, of a fleet with the service `weather` and its tool `get_forecast`. */
export const places: ReadonlyArray<Place> = [
  { path: "/", heading: /servic|source|server/i },
  { path: "/services", heading: "Services" },
  { path: `/services/${service}`, heading: new RegExp(`^${service}`) },
  { path: "/instances", heading: "Instances" },
  { path: "/tools", heading: "Tools" },
  { path: `/tools/${service}__get_forecast`, heading: /get_forecast/ },
  { path: "/traffic", heading: "Traffic" },
  { path: "/events", heading: "Events" },
  { path: "/sources", heading: "Sources" },
  { path: "/configuration", heading: "Configuration" }
]
