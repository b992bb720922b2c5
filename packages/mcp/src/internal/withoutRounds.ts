import type { Fields } from "../JsonRpc.ts"

/**
 * Gives parameters as the handshake era has them. There a request takes one round: who sends these by accident answers
 * nothing.
 *
 * @internal
 */
export const withoutRounds = (params: Fields): Fields => {
  if (params["inputResponses"] === undefined && params["requestState"] === undefined) return params
  const { inputResponses: _, requestState: _state, ...rest } = params
  return rest
}
