/**
 * An explanation of where a call would go, put into lists that people read: instances left out for one reason are one
 * line.
 */
import type { ExplanationView } from "../api/types.ts"
import { keyOf as instanceKey } from "../fleet/instanceRow.ts"
import { ms } from "./format.ts"

export type Candidate = ExplanationView["considered"][number]

/** Those that are left out for the same reason. */
export interface LeftOut {
  readonly reason: string
  readonly instances: ReadonlyArray<Candidate>
}

/** Where a few are, each is named; more of one reason are counted. */
export const named = 3

/** Groups in the order in which their first one is listed. */
export const leftOutOf = ({ leftOut }: ExplanationView): ReadonlyArray<LeftOut> => {
  const groups = new Map<string, Array<Candidate>>()
  for (const candidate of leftOut) {
    const group = groups.get(candidate.reason)
    if (group === undefined) groups.set(candidate.reason, [candidate])
    else group.push(candidate)
  }
  return Array.from(groups, ([reason, instances]) => ({ reason, instances }))
}

export const keyOf = ({ instance: id, source }: Candidate): string => instanceKey({ id, source })

/**
 * Those that would do, but are in another region than the one that is picked: what calls go to when nothing nearer is
 * left.
 */
export const elsewhereOf = (explanation: ExplanationView | undefined): ReadonlySet<string> => {
  const region = explanation?.picked?.region
  if (explanation === undefined || region === undefined) return new Set()
  return new Set(
    explanation.leftOut
      .filter((one) => one.region !== region && (one.status === "healthy" || one.status === "unknown"))
      .map(keyOf)
  )
}

/** `ewma 12 ms · 3 in flight` */
export const loadOf = ({ inFlight, latency }: Candidate): string =>
  [...latency === undefined ? [] : [`ewma ${ms(latency).text}`], `${inFlight}\u00a0in\u00a0flight`].join(" · ")

/** `score 0.98 · ewma 12 ms · 3 in flight` */
export const judgedBy = (one: Candidate): string => `score ${one.score.toFixed(2)} · ${loadOf(one)}`
