/**
 * The shapes of the states, on a field of 12 × 12: for glyphs, and for whoever draws many of them at once.
 */
import type { State } from "../fleet/rows.ts"

export interface Shape {
  readonly path: string
  /** Filled without a line; else a line without filling. */
  readonly filled: boolean
  readonly dash?: string
}

const ring = "M6 1.75a4.25 4.25 0 1 1 0 8.5a4.25 4.25 0 1 1 0-8.5z"

export const shapes: Readonly<Record<State, Shape>> = {
  healthy: { filled: true, path: "M6 2.25a3.75 3.75 0 1 1 0 7.5a3.75 3.75 0 1 1 0-7.5z" },
  degraded: { filled: true, path: "M6 1.2 11.2 10.4H.8z" },
  // The cross is cut out of the diamond.
  unhealthy: {
    filled: true,
    path: "M6 0 12 6 6 12 0 6zM4.5 3.6 3.6 4.5 5.1 6 3.6 7.5 4.5 8.4 6 6.9 7.5 8.4 8.4 7.5 6.9 6 8.4 4.5 7.5 3.6 6 5.1z"
  },
  ejected: { filled: false, path: "M6 1.2 10.8 6 6 10.8 1.2 6z" },
  draining: { filled: false, path: `${ring}M6 3.9v4M4.4 6.4 6 8 7.6 6.4` },
  down: { filled: false, path: "M2.4 2.4 9.6 9.6M9.6 2.4 2.4 9.6" },
  stale: { filled: false, path: ring, dash: "0.1 2.57" },
  unknown: { filled: false, path: `${ring}M6 5.8v.4` }
}
