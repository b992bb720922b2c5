/**
 * Callers of servers, made from what clients declare.
 *
 * @since 0.2.0
 */
import { type Fields, isFields } from "../../JsonRpc.ts"
import type { Caller, CallerSession } from "../../upstream/Upstream.ts"

/** What servers may ask of clients through the gateway, and what else of a client's capabilities concerns servers. */
const relayed = ["roots", "sampling", "elicitation", "tasks", "extensions"] as const

/** Nobody: can be asked nothing, and shares with all others of its kind. */
const nobody: Caller = { principal: undefined, capabilities: {}, session: undefined }

/** What a server may ask a client for. */
const askable = ["roots", "sampling", "elicitation"] as const

/**
 * Whether servers may ask a client anything.
 *
 * @category guards
 * @since 0.2.0
 */
export const isAskable = (declared: Fields): boolean => askable.some((name) => isFields(declared[name]))

/**
 * Makes the caller of a client. Capabilities that aren't objects, and those that the gateway doesn't relay, are left out.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (principal: string | undefined, declared: Fields, session?: CallerSession): Caller => {
  let capabilities: Record<string, unknown> | undefined
  for (const name of relayed) {
    const value = declared[name]
    if (isFields(value)) (capabilities ??= {})[name] = value
  }
  if (capabilities === undefined && principal === undefined && session === undefined) return nobody
  return { principal, capabilities: capabilities ?? {}, session }
}
