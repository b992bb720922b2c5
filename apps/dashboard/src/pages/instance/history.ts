/**
 * What happened to an instance, as lists that people read.
 */
import type { InstanceHealth } from "../../api/types.ts"
import type { State } from "../../fleet/rows.ts"

type Check = InstanceHealth["history"]["checks"][number]

const most = 8

export interface Told extends Omit<Check, "at"> {
  /** Of the last of them. */
  readonly at: number
  readonly times: number
}

/** The newest first; those in a row that say the same are one. */
export const checksOf = (checks: ReadonlyArray<Check>): ReadonlyArray<Told> => {
  const told: Array<Told & { times: number }> = []
  for (const { at, latency, reason, result } of checks.toReversed()) {
    const last = told.at(-1)
    if (last !== undefined && last.result === result && last.reason === reason) last.times++
    else if (told.length === most) break
    else told.push({ at: Date.parse(at), latency, reason, result, times: 1 })
  }
  return told
}

export interface Was {
  readonly at: number
  readonly state: State
  readonly reason: string
}

/** The newest first. */
export const statesOf = (states: InstanceHealth["history"]["states"]): ReadonlyArray<Was> =>
  states.map(({ at, circuit, reason, status }): Was => ({
    at: Date.parse(at),
    state: circuit === "closed" || status === "draining" || status === "down" ? status : "ejected",
    reason
  })).toReversed().slice(0, 20)
