/**
 * An HTTP proxy before a real server: counts requests, and answers in its stead with garbage or a refusal.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"

/**
 * A running proxy.
 *
 * @category models
 * @since 0.1.0
 */
export interface HttpFaults {
  readonly port: number
  readonly requests: Effect.Effect<number>
  /** Answers everything so from now on; what is open is cut. */
  readonly answer: (answer: { readonly status: number; readonly body: string }) => Effect.Effect<void>
  /** Lets everything through again. */
  readonly pass: Effect.Effect<void>
}

/**
 * Starts a proxy until the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  target: { readonly host: string; readonly port: number }
): Effect.fn.Return<HttpFaults, never, Scope.Scope> {
  let requests = 0
  let instead: { readonly status: number; readonly body: string } | undefined

  const handle = (request: Http.IncomingMessage, response: Http.ServerResponse) => {
    requests++
    if (instead !== undefined) {
      request.resume()
      response.writeHead(instead.status).end(instead.body)
      return
    }
    const { headers, method, url } = request
    const forwarded = Http.request({ ...target, agent: false, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers).flushHeaders()
      answer.on("error", () => response.destroy()).pipe(response)
    })
    forwarded.on("error", () => response.destroy())
    response.on("close", () => forwarded.destroy())
    request.pipe(forwarded)
  }

  const server = yield* Effect.acquireRelease(
    Effect.callback<Http.Server>((resume) => {
      const server = Http.createServer(handle).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  const address = server.address()
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    requests: Effect.sync(() => requests),
    answer: (answer) =>
      Effect.sync(() => {
        instead = answer
        server.closeAllConnections()
      }),
    pass: Effect.sync(() => {
      instead = undefined
    })
  }
})
