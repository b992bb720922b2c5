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
    create_revision: String(revision),
    mod_revision: String(revision)
  }
})

export interface ScriptedEtcd {
  readonly url: string
  /** What was asked so far, without the watches' own way of wrapping. */
  readonly asked: ReadonlyArray<{ readonly path: string; readonly body: Readonly<Record<string, unknown>> }>
}

export const make = (script: {
  readonly status?: number | undefined
  readonly list: object | string
  /** What it answers when asked for more of the list, at its revision. */
  readonly page?: object | undefined
  /** What it answers when asked for one key, as between two watches. Default: as `list`. */
  readonly now?: object | undefined
  /** What it answers when asked what was written since. Default: as `list`. */
  readonly written?: object | undefined
  /** What a watch answers; more of them are answered as the last one. */
  readonly watches?: ReadonlyArray<ReadonlyArray<object>> | undefined
  /** Whether a watch stays open once it has said all. Default false. */
  readonly open?: boolean | undefined
}): Effect.Effect<ScriptedEtcd, never, Scope.Scope> =>
  Effect.gen(function*() {
    const asked: Array<ScriptedEtcd["asked"][number]> = []
    let watched = 0
    const rangeAnswer = (body: ScriptedEtcd["asked"][number]["body"]) =>
      "min_mod_revision" in body ?
        script.written :
        "revision" in body ?
        script.page :
        "range_end" in body
        ? undefined
        : script.now

    const answer = (path: string, text: string, response: Http.ServerResponse) => {
      const body = JSON.parse(text)
      asked.push({ path, body: body.create_request ?? body })
      if (path === "watch") {
        const watches = script.watches ?? [[]]
        for (const result of watches[Math.min(watched++, watches.length - 1)] ?? []) {
          response.write(`${JSON.stringify({ result })}\n\n`)
        }
        if (script.open !== true) response.end()
        return
      }
      response.statusCode = script.status ?? 200
      const said = path === "kv/range" ? rangeAnswer(body) ?? script.list : script.list
      response.end(typeof said === "string" ? said : JSON.stringify(said))
    }

    const server = yield* Effect.acquireRelease(
      Effect.callback<Http.Server>((resume) => {
        const server = Http.createServer((request, response) => {
          let text = ""
          request.setEncoding("utf8").on("data", (chunk: string) => text += chunk)
          request.on("end", () => answer(request.url?.slice("/v3/".length) ?? "", text, response))
        }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
        })
    )
    const address = server.address()
    return { url: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`, asked }
  })
