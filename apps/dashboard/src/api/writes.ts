/**
 * What the dashboard changes at the gateway.
 */
import type { InstanceRow } from "../fleet/rows.ts"
import { clock } from "../parts/format.ts"
import { answer, request } from "./client.ts"
import { Problem } from "./Problem.ts"
import type { HealthDetail, MarkView } from "./types.ts"

type Instance = Pick<InstanceRow, "id" | "source">

const path = ({ id }: Instance, what: string): string => `instances/${encodeURIComponent(id)}/${what}`

type MarkAs = "up" | "draining" | "down"

/** What a mark is now, for whoever saw another one. */
const otherwise = (id: string, mark: MarkView | undefined): Problem =>
  new Problem({
    status: 412,
    title: "Changed meanwhile",
    detail: mark === undefined
      ? `the mark of ${id} was taken away`
      : `${id} was marked ${mark.as} at ${clock(Date.parse(mark.at))}: ${mark.reason}`
  })

/**
 * Marks an instance; `up` takes the mark away. Only if its mark is still the one of the row: whoever marked it since isn't
 * overruled.
 */
export const mark = async (row: InstanceRow, as: MarkAs, reason = ""): Promise<HealthDetail> => {
  const query = { source: row.source }
  const { body: { mark: now }, etag } = await answer<HealthDetail>("GET", path(row, "health"), { query })
  if (now?.at !== row.mark?.at) throw otherwise(row.id, now)
  return request("PUT", path(row, "mark"), {
    query,
    body: { as, ...reason === "" ? {} : { reason } },
    ...etag === undefined ? {} : { headers: { "if-match": etag } }
  })
}

export const check = (instance: Instance): Promise<HealthDetail> =>
  request("POST", path(instance, "check"), { query: { source: instance.source } })

/** Reads a registry anew; without a name, all of them. */
export const refresh = (source?: string): Promise<void> => request("POST", "refresh", { query: { source } })
