/**
 * What the client hears of a call while it runs: progress and log messages.
 *
 * @since 0.2.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import type { Attempt } from "@portolan/core/Router"
import type { Fields, JsonRpcNotification } from "../../JsonRpc.ts"
import type { Logging } from "../Logging.ts"
import * as Meta from "../Meta.ts"
import type { Exchange } from "./Exchange.ts"

/**
 * The exchange of a call that hears of it: the one and only, or the newest of several in which the call goes on.
 *
 * @category models
 * @since 0.2.0
 */
export interface Hearing {
  /** None while the client is yet to come back: then nobody hears anything. */
  exchange: Exchange | undefined
  /** Whether servers are asked for progress: the client wanted it when the call began. */
  readonly progress: boolean
  /** What the client calls the progress of the call. None: it wants none. */
  token: string | number | undefined
  /** The highest progress so far: it must grow, also across attempts and rounds. */
  highest: number
}

/**
 * Gives the progress token in the `_meta` of a request.
 *
 * @category accessors
 * @since 0.2.0
 */
export const tokenOf = (meta: Fields | undefined): string | number | undefined => {
  const token = meta?.[Meta.Key.progressToken]
  return typeof token === "string" || typeof token === "number" ? token : undefined
}

/**
 * Makes that of a new call.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (exchange: Exchange, meta: Fields | undefined): Hearing => {
  const token = tokenOf(meta)
  return { exchange, progress: token !== undefined, token, highest: -Infinity }
}

/**
 * Passes a notification of a server on, where it is one of those that the client wants. Plain.
 *
 * @category combinators
 * @since 0.2.0
 */
export const tell = (
  hearing: Hearing,
  attempt: Attempt,
  server: InstanceKey,
  logging: Logging,
  notification: JsonRpcNotification
): void => {
  if (!attempt.isHeard()) return
  const { method, params: given = {} } = notification
  const { exchange, token } = hearing
  const progress = method === "notifications/progress"
  if (progress) {
    if (!hearing.progress) return
    // Also where the client has come back and wants to hear of it no more: the server is at work all the same.
    attempt.extend()
    const value = given["progress"]
    if (exchange === undefined || token === undefined || typeof value !== "number" || value <= hearing.highest) return
    hearing.highest = value
  } else {
    if (exchange === undefined || method !== "notifications/message") return
    const { client, logLevel } = exchange
    if (logLevel === undefined && client.era === "stateless") return
    if (!logging.passes(server, given["level"], logLevel)) return
  }
  const { _meta, ...rest } = given
  const kept = Meta.withoutHop(Meta.of(given))
  const params: Record<string, unknown> = kept === undefined ? rest : { ...rest, _meta: kept }
  if (progress) params["progressToken"] = token
  if (exchange.streams) attempt.commit()
  exchange.notify({ jsonrpc: "2.0", method, params })
}
