/**
 * Requests that take several rounds: what a client of the stateless era goes on with them with.
 *
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr
 * @since 0.2.0
 */
import type { Fields } from "./JsonRpc.ts"

/**
 * Gives parameters as the handshake era has them: there nothing goes on, and who sends these by accident answers nothing.
 *
 * @category combinators
 * @since 0.2.0
 */
export const without = (params: Fields): Fields => {
  if (params["inputResponses"] === undefined && params["requestState"] === undefined) return params
  const { inputResponses: _, requestState: _state, ...rest } = params
  return rest
}
