/**
 * How the fleet is, in one sentence: the headline of the chart, and what a screen reader is told.
 */
import type { SourceRow, Totals } from "../fleet/rows.ts"
import { count } from "./format.ts"

const words = ["No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve"]

export const verdict = (
  { attention, instances, routable, services }: Pick<Totals, "attention" | "instances" | "routable" | "services">,
  sources: ReadonlyArray<Pick<SourceRow, "state">> = []
): string => {
  const all = services === 1 ? "The only service" : services === 2 ? "Both services" : `All ${count(services)} services`
  if (instances === 0) return "No servers yet"
  if (routable === 0) {
    return services === 1 ? "The only service takes no calls" : `None of ${count(services)} services takes calls`
  }
  if (sources.length > 0 && sources.every(({ state }) => state === "stale")) {
    return "Every source is lost: last known state"
  }
  if (attention === 0) return `${all} ${services === 1 ? "is" : "are"} well`
  if (attention === services) return `${all} ${services === 1 ? "needs" : "need"} attention`
  return `${words[attention] ?? count(attention)} of ${count(services)} services ${
    attention === 1 ? "needs" : "need"
  } attention`
}
