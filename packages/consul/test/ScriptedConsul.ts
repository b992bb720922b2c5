/** Answers as Consul would, from a script: for what a real one does too rarely. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"

export interface Answer {
  readonly index: number
  readonly body: unknown
  readonly status?: number | undefined
  readonly leader?: boolean | undefined
  /** ms since the server heard its leader. */
  readonly lastContact?: number | undefined
}

export interface Query {
  /** `catalog/services`, `health/service/weather`. */
  readonly path: string
  /** As it was sent; `undefined` where it was not. */
  readonly index: string | undefined
  /** `consistent`, `stale`, or neither. */
  readonly mode: string | undefined
}

/** Answers each query with what the script returns for it; `undefined` leaves it waiting. */
export const make = (
  script: (query: Query, earlier: ReadonlyArray<Query>) => Answer | undefined
): Effect.Effect<{ readonly url: string; readonly queries: ReadonlyArray<Query> }, never, Scope.Scope> => {
  const queries: Array<Query> = []
  return Effect.acquireRelease(
    Effect.callback<Http.Server>((resume) => {
      const server = Http.createServer((request, response) => {
        const url = new URL(request.url ?? "/", "http://127.0.0.1")
        const query: Query = {
          path: url.pathname.slice("/v1/".length),
          index: url.searchParams.get("index") ?? undefined,
          mode: ["consistent", "stale"].find((mode) => url.searchParams.has(mode))
        }
        const answer = script(query, queries.filter(({ path }) => path === query.path))
        queries.push(query)
        if (answer === undefined) return
        response.statusCode = answer.status ?? 200
        response.setHeader("X-Consul-Index", String(answer.index))
        response.setHeader("X-Consul-KnownLeader", String(answer.leader ?? true))
        response.setHeader("X-Consul-LastContact", String(answer.lastContact ?? 0))
        response.end(typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body))
      }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  ).pipe(Effect.map((server) => {
    const address = server.address()
    return { url: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`, queries }
  }))
}

/** A row of a health query. */
export const entry = (id: string, change: {
  readonly Service?: object | undefined
  readonly Node?: object | undefined
  readonly Checks?: ReadonlyArray<{ readonly CheckID: string; readonly Status: string }> | undefined
} = {}) => ({
  Node: { Node: "one", Address: "10.0.0.1", ...change.Node },
  Service: { ID: id, Service: "weather", Tags: ["mcp"], Address: "10.0.0.9", Port: 8080, Meta: {}, ...change.Service },
  Checks: change.Checks ?? []
})
