/**
 * The same done to many instances: a few at a time, each of which may be refused without the others.
 */
import { asProblem, type Problem } from "../../api/Problem.ts"
import type { HealthDetail } from "../../api/types.ts"
import type { InstanceRow } from "../../fleet/rows.ts"

export interface Outcome<A = HealthDetail> {
  readonly done: ReadonlyArray<{ readonly row: InstanceRow; readonly answer: A }>
  readonly refused: ReadonlyArray<{ readonly row: InstanceRow; readonly problem: Problem }>
}

/** A browser opens six connections to one gateway, and one of them is the stream. */
const atOnce = 4

export const all = async <A>(
  rows: ReadonlyArray<InstanceRow>,
  each: (row: InstanceRow) => Promise<A>
): Promise<Outcome<A>> => {
  const done: Array<{ row: InstanceRow; answer: A }> = []
  const refused: Array<{ row: InstanceRow; problem: Problem }> = []
  const waiting = rows.values()
  const worker = async () => {
    // All of them take from the one iterator.
    for (const row of waiting) {
      try {
        done.push({ row, answer: await each(row) })
      } catch (cause) {
        refused.push({ row, problem: asProblem(cause) })
      }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  return { done, refused }
}
