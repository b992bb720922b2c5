/**
 * What servers list and clients don't see, as people are told of it.
 */
import type { StatusView } from "@portolan/gateway/rest/Representations"
import { plain } from "./terminal.ts"

/** Names that are told of one reason: a registry may refuse thousands. */
const most = 5

/** A line for each reason. */
export const hiddenLines = (hidden: StatusView["hidden"]) =>
  Array.from(Map.groupBy(hidden, ({ reason }) => reason), ([reason, offers]) => {
    const names = Array.from(new Set(offers.map(({ name }) => name)))
    const more = names.length > most ? ` and ${names.length - most} more` : ""
    return {
      names: plain(names.slice(0, most).join(", ") + more),
      isOne: names.length === 1,
      reason: plain(reason)
    }
  })
