/** The plainest client of the stand-in: what a request answers, byte for byte, and a watch line by line. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as Https from "node:https"
import { at, type Json, textOf } from "../src/backends/kubernetes-api/Json.ts"
import type { KubernetesApi, Manifest } from "../src/backends/KubernetesApi.ts"

export interface Asked {
  readonly method?: string
  readonly path: string
  readonly body?: Json
  readonly headers?: Readonly<Record<string, string>>
  /** A certificate to show. */
  readonly client?: { readonly cert: string; readonly key: string }
}

export interface Answered {
  readonly status: number
  readonly headers: Http.IncomingHttpHeaders
  readonly text: string
}

const open = (api: KubernetesApi, token: string, asked: Asked, answered: (response: Http.IncomingMessage) => void) => {
  const body = asked.body === undefined ? "" : JSON.stringify(asked.body)
  const request = (api.ca === undefined ? Http : Https).request(`${api.url}${asked.path}`, {
    method: asked.method ?? "GET",
    agent: false,
    ...(api.ca === undefined ? {} : { ca: api.ca, ...asked.client }),
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      // Node leaves it out of deletions.
      "content-length": Buffer.byteLength(body),
      ...asked.headers
    }
  }, answered)
  return request.end(body)
}

/** Asks and reads the answer to its end. */
export const ask = (api: KubernetesApi, asked: Asked): Effect.Effect<Answered, Error> =>
  Effect.flatMap(api.token, (token) =>
    Effect.callback((resume) => {
      const failed = (cause: Error) => resume(Effect.fail(cause))
      const request = open(api, token, asked, (response) => {
        let text = ""
        response.setEncoding("utf8").on("data", (chunk: string) => text += chunk).on("error", failed)
        response.on("end", () =>
          resume(Effect.succeed({ status: response.statusCode ?? 0, headers: response.headers, text })))
      }).on("error", failed)
      return Effect.sync(() =>
        request.destroy()
      )
    }))

/** The answer's body. */
export const json = (api: KubernetesApi, asked: Asked): Effect.Effect<Json, Error> =>
  Effect.map(ask(api, asked), ({ text }): Json => JSON.parse(text))

export interface Stream {
  readonly status: number
  /** Pieces as they came. */
  readonly chunks: ReadonlyArray<string>
  /** What came until `when` holds, or until the end. */
  readonly until: (when: (text: string) => boolean) => Effect.Effect<string>
  /** How it ended: in order, or not. */
  readonly ended: Effect.Effect<"cut" | "ended">
}

/** Opens a watch until the scope closes. */
export const watch = (api: KubernetesApi, path: string): Effect.Effect<Stream, Error, Scope.Scope> =>
  Effect.flatMap(api.token, (token) =>
    Effect.callback((resume) => {
      const chunks: Array<string> = []
      let end: "cut" | "ended" | undefined
      const told = new Set<() => void>()
      const tell = () => {
        for (const one of told) one()
      }
      const when = <A>(known: () => A | undefined): Effect.Effect<A> =>
        Effect.callback((done) => {
          const look = () => {
            const found = known()
            if (found === undefined) return
            told.delete(look)
            done(Effect.succeed(found))
          }
          told.add(look)
          look()
        })
      const request = open(api, token, { path }, (response) => {
        const finish = (how: "cut" | "ended") => () => {
          end ??= how
          tell()
        }
        response.setEncoding("utf8").on("data", (chunk: string) => {
          chunks.push(chunk)
          tell()
        })
        response.on("end", finish("ended")).on("error", finish("cut")).on("close", finish("cut"))
        const until = (holds: (text: string) => boolean) =>
          when(() => end !== undefined || holds(chunks.join("")) ? chunks.join("") : undefined)
        const stream = { status: response.statusCode ?? 0, chunks, until, ended: when(() => end) }
        resume(Effect.as(Effect.addFinalizer(() => Effect.sync(() => request.destroy())), stream))
      })
      request.on("error", (cause) => resume(Effect.fail(cause)))
    }))

/** Events of whole lines. */
export const eventsOf = (text: string): ReadonlyArray<Json> =>
  text.split("\n").slice(0, -1).map((line): Json => JSON.parse(line))

export const services = "/api/v1/namespaces/mcp/services"

/** A Service of one port. */
export const service = (name: string, n = ""): Manifest => ({
  kind: "Service",
  metadata: { name, namespace: "mcp", annotations: { n } },
  spec: { ports: [{ port: 80 }] }
})

export const nameOf = (object: Json | undefined) => textOf(at(object, "metadata", "name"))
export const revisionOf = (object: Json | undefined) => textOf(at(object, "metadata", "resourceVersion"))
