/**
 * The figures of the last quarter of an hour, for the lines beside those of now.
 */
import type { SeriesReport } from "../../api/types.ts"
import type { ServiceRow } from "../../fleet/rows.ts"

type Values = ReadonlyArray<number | null>

export interface Past {
  /** Calls a second. */
  readonly calls: Values
  /** Share that failed; none where there were no calls. */
  readonly failed: Values
  /** ms */
  readonly p95: Values
  /** A second. */
  readonly failovers: Values
}

export const nothing: Past = { calls: [], failed: [], p95: [], failovers: [] }

/** Of a whole window, so that a young gateway's lines begin where its time does. */
export const pastOf = ({ gateway, step }: SeriesReport, window = 900): Past => {
  const unknown: Values = Array.from(
    { length: Math.max(0, Math.round(window / step) - gateway.calls.length) },
    () => null
  )
  const perSecond = (
    counts: Values
  ): Values => [...unknown, ...counts.map((made) => made === null ? null : made / step)]
  return {
    calls: perSecond(gateway.calls),
    failed: [
      ...unknown,
      ...gateway.failures.map((failures, at) => {
        const calls = gateway.calls[at] ?? 0
        return failures === null || calls === 0 ? null : failures / calls
      })
    ],
    p95: [...unknown, ...gateway.p95],
    failovers: perSecond(gateway.failovers)
  }
}

/** `between 0.1 and 6.2`, for whoever doesn't see the line. */
export const range = (values: Values, text: (value: number) => string): string => {
  const known = values.filter((value) => value !== null)
  return known.length === 0 ? "nothing yet" : `between ${text(Math.min(...known))} and ${text(Math.max(...known))}`
}

/** Whose calls fail: `all postgres`, `mostly postgres`; none where no service stands out. */
export const blame = (services: ReadonlyArray<ServiceRow>): string | undefined => {
  const failing = services.map(({ failed = 0, name, rate }) => ({ name, rate: rate * failed }))
  const all = failing.reduce((sum, { rate }) => sum + rate, 0)
  const [most] = failing.sort((a, b) => b.rate - a.rate)
  if (most === undefined || all <= 0) return undefined
  const share = most.rate / all
  return share > 0.995 ? `all ${most.name}` : share >= 0.6 ? `mostly ${most.name}` : undefined
}
