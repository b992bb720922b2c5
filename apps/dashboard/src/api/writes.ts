/**
 * What the dashboard changes at the gateway.
 */
import type { InstanceRow } from "../fleet/rows.ts"
import { answer, request } from "./client.ts"
import type { HealthDetail } from "./types.ts"

type Instance = Pick<InstanceRow, "id" | "source">

const path = ({ id }: Instance, what: string): string => `instances/${encodeURIComponent(id)}/${what}`

/** How it is now, with the tag that says so. */
export const healthOf = (instance: Instance, signal?: AbortSignal) =>
  answer<HealthDetail>("GET", path(instance, "health"), {
    query: { source: instance.source },
    ...signal === undefined ? {} : { signal }
  })

/** `up` takes the mark away. With `etag`: only if nobody has marked it since. */
export const mark = (
  instance: Instance,
  as: "up" | "draining" | "down",
  reason: string,
  etag?: string
): Promise<HealthDetail> =>
  request("PUT", path(instance, "mark"), {
    query: { source: instance.source },
    body: { as, ...reason === "" ? {} : { reason } },
    ...etag === undefined ? {} : { headers: { "if-match": etag } }
  })

export const check = (instance: Instance): Promise<HealthDetail> =>
  request("POST", path(instance, "check"), { query: { source: instance.source } })

/** Reads a registry anew; without a name, all of them. */
export const refresh = (source?: string): Promise<void> => request("POST", "refresh", { query: { source } })
