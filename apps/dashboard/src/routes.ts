/**
 * The pages: which path shows which, and under which title. A page's code is loaded when it is first gone to.
 */
import type { Component } from "svelte"
import { nameOf } from "./segments.ts"

export type Params = Readonly<Record<string, string>>
export type Page = Component<{ params: Record<string, string> }>

export interface Route {
  /** `/services/:name` */
  readonly pattern: string
  readonly title: (params: Params) => string
  readonly load: () => Promise<{ readonly default: Page }>
  /** Paths of one key are one page that stays when the path changes among them; default: each path is its own. */
  readonly key?: string
}

export interface Match {
  readonly route: Route
  readonly params: Record<string, string>
  readonly key: string
}

// Of a page that takes nothing from its path; the same one each time.
const bare = (load: () => Promise<{ readonly default: Component<Record<string, never>> }>) => {
  let page: { readonly default: Page } | undefined
  return async () => {
    const { default: whole } = await load()
    return page ??= { default: (internals) => whole(internals, {}) }
  }
}
const instances = () => import("./pages/instances/Instances.svelte")

const routes: ReadonlyArray<Route> = [
  { pattern: "/", title: () => "Chart", load: bare(() => import("./pages/chart/Chart.svelte")) },
  { pattern: "/services", title: () => "Services", load: bare(() => import("./pages/services/Services.svelte")) },
  { pattern: "/services/:name", title: ({ name = "" }) => name, load: () => import("./pages/service/Service.svelte") },
  { pattern: "/instances", title: () => "Instances", load: instances, key: "/instances" },
  { pattern: "/instances/:id", title: ({ id = "" }) => id, load: instances, key: "/instances" },
  { pattern: "/tools", title: () => "Tools", load: bare(() => import("./pages/tools/Tools.svelte")) },
  { pattern: "/tools/:name", title: ({ name = "" }) => name, load: () => import("./pages/tool/Tool.svelte") },
  { pattern: "/traffic", title: () => "Traffic", load: bare(() => import("./pages/traffic/Traffic.svelte")) },
  { pattern: "/events", title: () => "Events", load: bare(() => import("./pages/events/Events.svelte")) },
  { pattern: "/sources", title: () => "Sources", load: bare(() => import("./pages/sources/Sources.svelte")) },
  {
    pattern: "/configuration",
    title: () => "Configuration",
    load: bare(() => import("./pages/configuration/Configuration.svelte"))
  }
]

/** The page of a path; none: there is no such page. */
export const matching = (path: string, among: ReadonlyArray<Route> = routes): Match | undefined => {
  const segments = path.replace(/(?<=.)\/$/, "").split("/")
  for (const route of among) {
    const parts = route.pattern.split("/")
    if (parts.length !== segments.length) continue
    const params: Record<string, string> = {}
    const matches = parts.every((part, at) => {
      const segment = segments[at] ?? ""
      if (!part.startsWith(":")) return part === segment
      params[part.slice(1)] = nameOf(segment)
      return segment !== ""
    })
    if (matches) return { route, params, key: route.key ?? path }
  }
  return undefined
}
