/**
 * What became of calls, as shares.
 */
import type { ReportView } from "../api/types.ts"

export type Counts = Pick<ReportView["total"], "calls" | "failures" | "interrupted" | "latency" | "successes">

/** Calls that came to nothing through no fault of the caller. */
const failuresOf = ({ failures: { failed, shed, unavailable } }: Counts): number => failed + shed + unavailable

/** Share of the calls that failed; none where there were no calls. */
export const failedOf = (counts: Counts | undefined): number | undefined =>
  counts === undefined || counts.calls === 0 ? undefined : failuresOf(counts) / counts.calls

interface Part {
  readonly key: "answered" | "refused" | "interrupted" | "shed" | "unavailable" | "failed"
  readonly title: string
  readonly calls: number
  readonly share: number
  /** Whether the calls came to nothing through no fault of the caller. */
  readonly bad: boolean
}

/** What became of calls, each of them in one part. */
export const partsOf = ({ calls, failures, interrupted, successes }: Counts): ReadonlyArray<Part> =>
  ([
    ["answered", "Answered", successes],
    ["failed", "Failed at an instance", failures.failed, true],
    ["unavailable", "No instance could take them", failures.unavailable, true],
    ["shed", "Too much to do", failures.shed, true],
    ["refused", "Refused: the request was at fault", failures.refused],
    ["interrupted", "The caller gave up", interrupted]
  ] as const).map(([key, title, some, bad = false]) => ({
    key,
    title,
    calls: some,
    share: calls === 0 ? 0 : some / calls,
    bad
  }))
