/**
 * Which instances the list shows: those that meet what is chosen beside the field, and that the gateway found for its
 * text.
 */
import { type InstanceRow, type State, states } from "../../fleet/rows.ts"

export interface Choice {
  /** Any of these; empty: all. */
  readonly states: ReadonlySet<State>
  readonly service: string | undefined
  /** Empty: those of no region. */
  readonly region: string | undefined
  /** Keys that the gateway found; none: nothing was asked for. */
  readonly found: ReadonlySet<string> | undefined
}

const isState = (text: string): text is State => states.some((state) => state === text)

/** `ejected,down` of the address, without what is no state. */
export const statesOf = (text: string | null): ReadonlySet<State> =>
  new Set((text ?? "").split(",").filter((part) => isState(part)))

/** All but the states: what they are counted of. */
export const meets = (row: InstanceRow, { found, region, service }: Choice): boolean =>
  (service === undefined || row.service === service) &&
  (region === undefined || row.region === region) &&
  (found === undefined || found.has(row.key))

/** How many are in each state, from healthy to the worst: always all states, so that none changes place. */
export const countStates = (rows: Iterable<InstanceRow>): ReadonlyArray<readonly [State, number]> => {
  const counts = new Map<State, number>()
  for (const { state } of rows) counts.set(state, (counts.get(state) ?? 0) + 1)
  return states.toReversed().map((state) => [state, counts.get(state) ?? 0])
}
