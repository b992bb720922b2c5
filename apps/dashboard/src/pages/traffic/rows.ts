/**
 * The report of calls as rows of one table: by service, by tool, or by who called.
 */
import type { ReportView } from "../../api/types.ts"
import { type Counts, failedOf } from "../../parts/calls.ts"

export interface Row {
  readonly name: string
  readonly calls: number
  readonly latency: Counts["latency"] | undefined
  /** Whose tool it is. */
  readonly service: string | undefined
  /** Of all calls. */
  readonly share: number | undefined
  /** Of its own calls. */
  readonly failed: number | undefined
  readonly refused: number
  /** Only services have them. */
  readonly retries: number | undefined
  readonly hedges: number | undefined
  readonly queued: number | undefined
  readonly inFlight: number | undefined
}

interface By {
  readonly key: string
  readonly title: string
  /** What a row is called. */
  readonly one: string
  readonly rows: (report: ReportView) => ReadonlyArray<Row>
  /** All that the report doesn't tell apart. */
  readonly rest: (report: ReportView) => Counts | undefined
  readonly empty: string
}

const rowOf = (name: string, counts: Counts, total: number, more: Partial<Row> = {}): Row => ({
  service: undefined,
  retries: undefined,
  hedges: undefined,
  queued: undefined,
  inFlight: undefined,
  ...more,
  name,
  calls: counts.calls,
  latency: counts.latency,
  share: total === 0 ? undefined : counts.calls / total,
  failed: failedOf(counts),
  refused: counts.failures.refused
})

const byService: By = {
  key: "",
  title: "By service",
  one: "Service",
  rows: ({ services, total }) =>
    services.top.map((one) =>
      rowOf(one.service, one, total.calls, {
        retries: one.retries.made,
        hedges: one.hedges.sent,
        queued: one.queue.queued,
        inFlight: one.inFlight
      })
    ),
  rest: ({ services }) => services.rest,
  empty: "No service has had calls"
}

export const ways: ReadonlyArray<By> = [
  byService,
  {
    key: "tool",
    title: "By tool",
    one: "Tool",
    rows: ({ tools, total }) => tools.top.map((one) => rowOf(one.tool, one, total.calls, { service: one.service })),
    rest: ({ tools }) => tools.rest,
    empty: "No tool has been called"
  },
  {
    key: "caller",
    title: "By caller",
    one: "Caller",
    rows: ({ callers, total }) => callers.top.map((one) => rowOf(one.caller, one, total.calls)),
    rest: ({ callers }) => callers.rest,
    empty: "Nobody has called"
  }
]

export const wayOf = (key: string | null): By => ways.find((way) => way.key === key) ?? byService

/** `principal:ana`: as what somebody is known, apart from the name. */
export const callerOf = (caller: string): { readonly name: string; readonly as: string } => {
  const [, as = "", name = caller] = /^(principal|tenant):(.+)$/s.exec(caller) ?? []
  return { name, as }
}
