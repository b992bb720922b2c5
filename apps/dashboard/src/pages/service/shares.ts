/**
 * How the calls of a service are spread over its instances, and how they would be if weights alone decided.
 */
import type { InstanceRow } from "../../fleet/rows.ts"

export interface Share {
  /** Part of the calls of the last 10 s; none: the service has no calls. */
  readonly share: number | undefined
  /** Its weight's part of the weights of all that calls go to first; none where it isn't one of them. */
  readonly fair: number | undefined
  /** Whether calls go to it only when there is nothing left nearer. */
  readonly elsewhere: boolean
}

/** By the key of the instance; `elsewhere` are those that rules leave for last. */
export const sharesOf = (
  rows: ReadonlyArray<InstanceRow>,
  elsewhere: ReadonlySet<string> = new Set()
): ReadonlyMap<string, Share> => {
  const calls = rows.reduce((sum, { rate }) => sum + rate, 0)
  const takers = rows.filter(({ key, routable }) => routable && !elsewhere.has(key))
  const weight = takers.reduce((sum, row) => sum + row.weight, 0)
  return new Map(rows.map((row) => [row.key, {
    share: calls > 0 ? row.rate / calls : undefined,
    fair: row.routable && weight > 0 && !elsewhere.has(row.key) ? row.weight / weight : undefined,
    elsewhere: elsewhere.has(row.key)
  }]))
}

/** What a full bar stands for, so that the longest of them fills most of it. */
export const fullOf = (shares: ReadonlyMap<string, Share>): number =>
  Math.max(...Array.from(shares.values(), ({ fair = 0, share = 0 }) => Math.max(fair, share)), 0.01) * 1.15
