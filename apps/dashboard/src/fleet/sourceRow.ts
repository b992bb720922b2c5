/**
 * A source as pages show it.
 */
import type { SourceView } from "../api/types.ts"
import type { SourceRow } from "./rows.ts"

export const sourceRow = ({ lastHeard, since, ...source }: SourceView): SourceRow => ({
  ...source,
  since: Date.parse(since),
  lastHeard: lastHeard === undefined ? undefined : Date.parse(lastHeard)
})
