/**
 * Puts a token into each request, and has one that is refused, or lacks a scope, replaced, once a request.
 *
 * @since 0.1.0
 */
import { lackedScope, type ResponseHeaders, type Sender, Unauthorized } from "../transports/HttpExchange.ts"
import type { TokenSource } from "./TokenSource.ts"

/** Bytes of a refusal that are read so that the socket stays usable. */
const MaxRefusal = 65_536

const refusedAgain = () =>
  new Unauthorized({
    phase: "notSent",
    reason: "the server refuses the new token (HTTP 401): check `auth`",
    status: 401,
    connectionLost: true
  })

/**
 * Makes a sender that authorises what goes over another one. A request that is refused for its token has not run: it is
 * sent again with a new one. Where the token lacks a scope, one is asked for that has it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (inner: Sender, tokens: TokenSource): Sender => ({
  dispatch: (options, handler) => {
    const attempt = (header: string, last: boolean) => {
      let challenge: ResponseHeaders | undefined
      let scope: string | undefined
      let size = 0
      return inner.dispatch({ ...options, headers: { ...options.headers, authorization: header } }, {
        onRequestStart: (controller, context) => handler.onRequestStart?.(controller, context),
        onResponseStart: (controller, status, headers, message) => {
          scope = last || status !== 403 ? undefined : lackedScope(headers)
          if (status === 401 || scope !== undefined) challenge = headers
          else handler.onResponseStart?.(controller, status, headers, message)
        },
        onResponseData: (controller, chunk) => {
          if (challenge === undefined) return handler.onResponseData?.(controller, chunk)
          size += chunk.length
          if (size > MaxRefusal) controller.abort(new Error("the refusal is too long"))
        },
        onResponseEnd: (controller, trailers) => {
          if (challenge === undefined) return handler.onResponseEnd?.(controller, trailers)
          if (last) return handler.onResponseError?.(controller, refusedAgain())
          tokens.obtain({ header, challenge, scope }).then((renewed) => attempt(renewed, true)).catch((
            cause: unknown
          ) => handler.onResponseError?.(controller, cause instanceof Error ? cause : new Error(String(cause))))
        },
        onResponseError: (controller, error) => handler.onResponseError?.(controller, error)
      })
    }
    const header = tokens.current()
    if (header !== undefined) return attempt(header, false)
    tokens.obtain(undefined).then((obtained) => attempt(obtained, false)).catch((cause: unknown) =>
      options.onRejected(cause instanceof Error ? cause : new Error(String(cause)))
    )
    return true
  }
})
