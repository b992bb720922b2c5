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

/** A column of figures. */
export const figure = <Row>(
  key: string,
  title: string,
  width: string,
  sort: (row: Row) => Value,
  cell: Snippet<[Row]>,
  more: Pick<Column<Row>, "from" | "hint"> = {}
): Column<Row> => ({ key, title, align: "end", width, sort, cell, ...more })

/** What figures of the last minute mean. */
export const hint = {
  failed: "Share of the calls of the last minute that failed",
  median: "Median of the checks and calls of the last minute that succeeded"
}
