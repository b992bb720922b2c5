/**
 * What differs between plain values: what was told isn't told again.
 */
import type { RowChanges } from "./rows.ts"

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null

export const isSame = (a: unknown, b: unknown): boolean => {
  if (Object.is(a, b)) return true
  if (!isRecord(a) || !isRecord(b) || Array.isArray(a) !== Array.isArray(b)) return false
  const names = Object.keys(a)
  if (names.length !== Object.keys(b).length) return false
  for (const name of names) if (!isSame(a[name], b[name])) return false
  return true
}

/** The fields of a row that aren't as they were; nothing where all are. */
const difference = <Row extends object>(before: Row, after: Row): Partial<Row> | undefined => {
  const fields: Partial<Row> = {}
  let some = false
  for (const name of Object.keys(after)) {
    const value: unknown = Reflect.get(after, name)
    if (isSame(Reflect.get(before, name), value)) continue
    Object.assign(fields, { [name]: value })
    some = true
  }
  return some ? fields : undefined
}

/** Gathers what changed of the rows of one kind; of those that weren't told it needn't be told that they are gone. */
export class Differences<Row extends object> {
  readonly #told: Set<string>
  readonly #rows: Array<Row> = []
  readonly #differ: Array<{ readonly key: string; readonly fields: Partial<Row> }> = []
  readonly #gone: Array<string> = []

  /** `told`: keys of the rows that were told, which it keeps. */
  constructor(told: Set<string>) {
    this.#told = told
  }

  tell(key: string, before: Row | undefined, row: Row): void {
    this.#told.add(key)
    if (before === undefined) return void this.#rows.push(row)
    const fields = difference(before, row)
    if (fields !== undefined) this.#differ.push({ key, fields })
  }

  leave(key: string): void {
    if (this.#told.delete(key)) this.#gone.push(key)
  }

  /** Nothing where nothing differs. */
  all(): RowChanges<Row> | undefined {
    const [rows, differ, gone] = [this.#rows, this.#differ, this.#gone]
    return rows.length + differ.length + gone.length === 0 ? undefined : { rows, differ, gone }
  }
}
