/** Answers as etcd's gateway would, from a script: for what a real one does too rarely. */
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as EtcdBackend from "./EtcdBackend.ts"

export const header = (revision: number) => ({
  cluster_id: "7",
  ...(revision === 0 ? {} : { revision: String(revision) })
})

export const put = (instance: ServiceInstance, revision: number) => ({
  kv: {
    key: EtcdBackend.base64(EtcdBackend.keyOf(instance)),
    value: EtcdBackend.base64(JSON.stringify(instance)),
    mod_revision: String(revision)
  }
})

export const make = (script: {
  readonly status?: number | undefined
  readonly list: object | string
  /** What a watch answers before it ends. */
  readonly watch?: ReadonlyArray<object> | undefined
}): Effect.Effect<{ readonly url: string }, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Http.Server>((resume) => {
      const server = Http.createServer((request, response) => {
        request.resume()
        if (request.url === "/v3/watch") {
          for (const result of script.watch ?? []) response.write(`${JSON.stringify({ result })}\n\n`)
          response.end()
        } else {
          response.statusCode = script.status ?? 200
          response.end(typeof script.list === "string" ? script.list : JSON.stringify(script.list))
        }
      }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  ).pipe(Effect.map((server) => {
    const address = server.address()
    return { url: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}` }
  }))
