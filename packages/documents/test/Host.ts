/** A host on loopback that serves what a test says, and tells what it was asked. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as Https from "node:https"
import type { LookupFunction } from "node:net"

export interface Asked {
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: Http.IncomingHttpHeaders
}

export interface Answer {
  readonly status?: number | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** A text as it is, anything else as JSON; a function writes it itself. */
  readonly body?: unknown
}

export interface Host {
  readonly port: number
  readonly url: string
  readonly asked: Array<Asked>
  /** Connections that are open. */
  readonly open: Effect.Effect<number>
}

/** Serves until the scope closes; with TLS where it is given some. */
export const make = (
  answer: (asked: Asked) => Answer | undefined,
  tls?: Https.ServerOptions
): Effect.Effect<Host, never, Scope.Scope> => {
  const asked: Array<Asked> = []
  return Effect.acquireRelease(
    Effect.callback<Http.Server | Https.Server>((resume) => {
      const handle = (request: Http.IncomingMessage, response: Http.ServerResponse) => {
        const url = new URL(request.url ?? "/", "http://127.0.0.1")
        const seen = { path: url.pathname, query: url.searchParams, headers: request.headers }
        asked.push(seen)
        const { body, headers, status } = answer(seen) ?? { status: 404 }
        response.writeHead(status ?? 200, { "content-type": "application/json", ...headers })
        if (typeof body === "function") body(response)
        else response.end(body === undefined || typeof body === "string" ? body : JSON.stringify(body))
      }
      const server = tls === undefined ? Http.createServer(handle) : Https.createServer(tls, handle)
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  ).pipe(Effect.map((server) => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    return {
      port,
      url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
      asked,
      open: Effect.callback<number>((resume) => {
        server.getConnections((_, count) => resume(Effect.succeed(count)))
      })
    }
  }))
}

/** Serves documents by their paths; they may be changed. */
export const serve = (documents: Record<string, unknown>): Effect.Effect<Host, never, Scope.Scope> =>
  make(({ path }) => path in documents ? { body: documents[path] } : undefined)

/** Looks up these names and no others. */
export const names =
  (known: Readonly<Record<string, ReadonlyArray<string>>>): LookupFunction => (hostname, options, callback) => {
    const addresses = (known[hostname] ?? []).map((address) => ({ address, family: address.includes(":") ? 6 : 4 }))
    const [first] = addresses
    if (first === undefined) callback(new Error(`getaddrinfo ENOTFOUND ${hostname}`), [])
    else if (options.all === true) callback(null, addresses)
    else callback(null, first.address, first.family)
  }
