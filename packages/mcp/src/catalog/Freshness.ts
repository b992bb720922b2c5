/**
 * How long what servers list may be kept, and by whom.
 *
 * @see https://modelcontextprotocol.io/specification/2026-07-28/server/utilities/caching
 * @since 0.2.0
 */
import type { Fields } from "../JsonRpc.ts"

/**
 * Who may share what is kept: everybody, or those of one authorization.
 *
 * @category models
 * @since 0.2.0
 */
export type CacheScope = "public" | "private"

/**
 * What a server says of one result.
 *
 * @category models
 * @since 0.2.0
 */
export interface Hints {
  /** ms; none where it doesn't say. */
  readonly ttl: number | undefined
  readonly scope: CacheScope
}

/**
 * The hints with a list, and when they were given.
 *
 * @category models
 * @since 0.2.0
 */
export interface Reading extends Hints {
  /** Epoch ms. */
  readonly at: number
}

/**
 * How long the lists of several servers, put together, may be kept: as long as the one that allows the least.
 *
 * @category models
 * @since 0.2.0
 */
export interface Freshness {
  /** ms from now; `Infinity` where nobody says. */
  readonly ttl: number
  /** Whether there is one that doesn't say. */
  readonly silent: boolean
  readonly scope: CacheScope
}

/** A list is never asked for more often than this, ms. */
const shortest = 100

/**
 * Reads the hints of a result. What isn't a time counts as none at all, and what isn't public is private.
 *
 * @category decoding
 * @since 0.2.0
 */
export const hints = (result: Fields): Hints => {
  const { cacheScope, ttlMs } = result
  return {
    ttl: ttlMs === undefined
      ? undefined
      : typeof ttlMs === "number" && ttlMs > 0
      ? Math.min(Math.floor(ttlMs), Number.MAX_SAFE_INTEGER)
      : 0,
    scope: cacheScope === "public" ? "public" : "private"
  }
}

/**
 * Gives the hints that hold for two results together.
 *
 * @category combinators
 * @since 0.2.0
 */
export const together = (one: Hints, other: Hints): Hints => ({
  ttl: one.ttl === undefined || other.ttl === undefined ? undefined : Math.min(one.ttl, other.ttl),
  scope: one.scope === "public" ? other.scope : "private"
})

/**
 * Where there is no list: nothing to share.
 *
 * @category constants
 * @since 0.2.0
 */
export const nobodys: Freshness = { ttl: Infinity, silent: true, scope: "private" }

/**
 * Adds a list to those before it. Its time begins anew while its server tells of changes, because it is known to be right now.
 *
 * @category combinators
 * @since 0.2.0
 */
export const add = (before: Freshness | undefined, reading: Reading, now: number, tells: boolean): Freshness => {
  const { at, scope, ttl } = reading
  const all = before ?? { ttl: Infinity, silent: false, scope }
  const left = ttl === undefined ? Infinity : Math.max(0, at + ttl - now)
  return {
    ttl: Math.min(all.ttl, left > 0 && tells && ttl !== undefined ? ttl : left),
    silent: all.silent || ttl === undefined,
    scope: all.scope === "public" ? scope : "private"
  }
}

/**
 * Whether a list is to be asked for again when it is used: its time is over, or nobody says a time or tells of changes and it
 * is older than `maxAge`, ms; a heuristic, as the specification allows.
 *
 * @category guards
 * @since 0.2.0
 */
export const isOutdated = ({ at, ttl = 0 }: Reading, now: number, tells: boolean, maxAge: number): boolean =>
  ttl > 0 ? now - at >= Math.max(ttl, shortest) : !tells && now - at >= Math.max(maxAge, shortest)
