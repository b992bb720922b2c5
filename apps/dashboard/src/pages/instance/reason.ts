/**
 * Why an instance is as it is, beside the word for its state: without saying that word again.
 */
import type { InstanceRow } from "../../fleet/rows.ts"
import { age } from "../../parts/format.ts"

/** Empty where all is well. `now`: the gateway's time. */
export const reasonOf = ({ reason, state, until }: InstanceRow, now: number): string => {
  if (state === "healthy") return ""
  const why = reason.replace(/^ejected for [^:]+: /, "").replace(/^marked (?:draining|down)(?=: |$)/, "marked")
  if (state !== "ejected" || until === undefined) return why
  return `${until > now ? `back in ${age(until - now)}` : "on trial now"}${why === "" ? "" : `: ${why}`}`
}
