/**
 * The columns of a table.
 */
import type { Snippet } from "svelte"
import type { Value } from "./order.ts"

export interface Column<Row> {
  readonly key: string
  readonly title: string
  /** `end` for figures; those are sorted the highest first. */
  readonly align?: "start" | "end"
  /** Of CSS: `72px`, `20%`; columns without one share what is left. */
  readonly width?: string
  /** What its rows are sorted by; without it, the column can't be sorted. */
  readonly sort?: (row: Row) => Value
  /** The least width of the table, in px, that shows the column. */
  readonly from?: number
  /** What the figures mean, where the title is too short to say it. */
  readonly hint?: string
  readonly cell: Snippet<[Row]>
}
