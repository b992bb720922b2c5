/**
 * Which callers share connections to servers of the handshake era.
 *
 * @since 0.2.0
 */
import { isFields } from "../JsonRpc.ts"
import type { Caller, CallerSession } from "./Upstream.ts"

/**
 * What callers have in common that share connections; the session of one that shares them with nobody.
 *
 * @category models
 * @since 0.2.0
 */
export type Key = string | CallerSession

/** JSON whose text says only what is in it, not in what order. */
const canonical = (value: unknown): string =>
  Array.isArray(value)
    ? `[${value.map(canonical).join()}]`
    : isFields(value)
    ? `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join()}}`
    : JSON.stringify(value) ?? "null"

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
    ? canonical([caller.principal ?? null, caller.capabilities])
    : `only ${caller.principal}`)
