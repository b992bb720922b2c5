/**
 * The places of the navigation, and the letter after `g` that leads to each.
 */

export interface Place {
  readonly path: string
  readonly title: string
  readonly key: string
}

/** In groups, as the navigation shows them. */
export const places: ReadonlyArray<ReadonlyArray<Place>> = [
  [
    { path: "/", title: "Chart", key: "c" },
    { path: "/services", title: "Services", key: "s" },
    { path: "/instances", title: "Instances", key: "i" },
    { path: "/tools", title: "Tools", key: "t" }
  ],
  [
    { path: "/traffic", title: "Traffic", key: "r" },
    { path: "/events", title: "Events", key: "e" },
    { path: "/sources", title: "Sources", key: "o" }
  ],
  [{ path: "/configuration", title: "Configuration", key: "f" }]
]

/** Whether a path is of this place: the place itself, or something in it. */
export const isAt = (path: string, place: string): boolean =>
  path === place || place !== "/" && path.startsWith(`${place}/`)
