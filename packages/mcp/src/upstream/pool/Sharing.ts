/**
 * Which callers share connections to servers of the handshake era.
 *
 * @since 0.2.0
 */
import { canonicalJson } from "../../internal/canonicalJson.ts"
import type { Caller, CallerSession } from "../Upstream.ts"

/**
 * What callers have in common that share connections; the session of one that shares them with nobody.
 *
 * @category models
 * @since 0.2.0
 */
export type Key = string | CallerSession

const declares = ({ capabilities }: Caller): boolean => {
  for (const _ in capabilities) return true
  return false
}

/**
 * Whether a caller can't use the gateway's own connection, which all share that have no principal and declare nothing.
 *
 * @category guards
 * @since 0.2.0
 */
export const needsOwn = (caller: Caller | undefined): caller is Caller =>
  caller !== undefined && (caller.principal !== undefined || caller.session !== undefined || declares(caller))

/**
 * The key of a caller that needs connections of its own.
 *
 * @category accessors
 * @since 0.2.0
 */
export const keyOf = (caller: Caller): Key =>
  caller.session ?? (declares(caller)
    ? canonicalJson([caller.principal ?? null, caller.capabilities])
    : `only ${caller.principal}`)
