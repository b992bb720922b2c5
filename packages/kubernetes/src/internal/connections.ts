/**
 * Requests to an API server over connections of their own.
 *
 * @since 0.2.0
 */
import * as NodeStream from "@effect/platform-node/NodeStream"
import Undici, { type Dispatcher } from "@effect/platform-node/Undici"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import type { Access, ApiServer } from "./apiServer.ts"
import { type Asked, KubernetesError, refusal, unreachable } from "./kubernetesError.ts"

/** A request, but for where to and by whom. */
export interface Request {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE"
  /** With its query. */
  readonly path: string
  readonly body?: string
  readonly contentType?: string
  /** ms: it is broken off where nothing comes for so long. Default: none. */
  readonly silence?: number
}

export interface Connections {
  /** The whole answer. */
  readonly text: (asked: Asked, request: Request) => Effect.Effect<string, KubernetesError>
  /** An answer that goes on, once it has begun. */
  readonly open: (
    asked: Asked,
    request: Request
  ) => Effect.Effect<Stream.Stream<Uint8Array, KubernetesError>, KubernetesError, Scope.Scope>
}

type Body = Dispatcher.ResponseData["body"]

/** ms that a server may take to answer. */
const patience = 10_000

/** Bytes of an answer at most. */
const longest = 64 * 1024 * 1024

/** They are closed with the scope. */
export const make = Effect.fnUntraced(function*(
  server: ApiServer
): Effect.fn.Return<Connections, never, Scope.Scope> {
  let dispatcher: Dispatcher | undefined
  yield* Effect.addFinalizer(() => Effect.promise(async () => dispatcher?.destroy()))
  let tls: Access["tls"] = {}
  const dispatcherFor = (access: Access): Dispatcher => {
    tls = access.tls
    dispatcher ??= access.proxy === undefined
      ? new Undici.Agent({
        // With the certificates of the moment. A connection of HTTP/2 outlives its requests: a dead one would be used again.
        connect: (options, callback) =>
          Undici.buildConnector({ ...tls, allowH2: false, timeout: patience })(options, callback)
      })
      : new Undici.ProxyAgent({ uri: access.proxy, requestTls: tls, allowH2: false })
    return dispatcher
  }

  const attempt = <A>(asked: Asked, { body, contentType, method, path, silence = 0 }: Request, take: Take<A>) =>
    Effect.flatMap(server.access, (access) =>
      Effect.tryPromise({
        try: async (signal) => {
          const answer = await dispatcherFor(access).request({
            origin: access.server.origin,
            path: access.server.pathname.replace(/\/$/, "") + path,
            method,
            headers: {
              accept: "application/json",
              ...(contentType === undefined ? {} : { "content-type": contentType }),
              ...access.headers
            },
            body: body ?? null,
            signal,
            // What is read at once is timed all together.
            headersTimeout: silence,
            bodyTimeout: silence
          })
          if (answer.statusCode < 300) return await take(answer.body, access)
          const { "retry-after": retryAfter } = answer.headers
          const said = await textOf(answer.body)
          throw refusal(asked, answer.statusCode, said, typeof retryAfter === "string" ? retryAfter : undefined)
        },
        catch: (cause) => cause instanceof KubernetesError ? cause : unreachable(access.server.href, cause)
      }).pipe(
        Effect.timeoutOrElse({
          duration: patience,
          orElse: () => Effect.fail(unreachable(access.server.href, `no answer within ${patience} ms`))
        }),
        Effect.tapError(({ retryAfter, status }) => {
          if (status === undefined || status === 401) server.forget(access)
          return retryAfter === undefined ? Effect.void : server.rest(retryAfter)
        })
      ))

  // Where our token is refused, another one may lie there by now.
  const ask: typeof attempt = (asked, request, take) =>
    Effect.catchIf(
      attempt(asked, request, take),
      ({ status }) => status === 401,
      () => attempt(asked, request, take)
    )

  return {
    text: (asked, request) => ask(asked, request, textOf),
    open: (asked, request) =>
      Effect.map(
        Effect.acquireRelease(
          // What is aborted says so, to nobody.
          ask(asked, request, (body, access) => ({ body: body.on("error", () => {}), access })),
          ({ body }) => Effect.sync(() => body.destroy()),
          { interruptible: true }
        ),
        ({ access, body }) =>
          NodeStream.fromReadable({
            evaluate: () => body,
            onError: (cause) => unreachable(access.server.href, cause)
          })
      )
  }
})

/** What is taken of an answer before the time is over. */
type Take<A> = (body: Body, access: Access) => A | Promise<A>

const textOf = async (body: Body): Promise<string> => {
  const chunks: Array<Uint8Array> = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.length
    if (size > longest) throw new Error(`its answer is longer than ${longest} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString("utf8")
}
