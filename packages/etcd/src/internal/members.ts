/**
 * Requests to the members of a cluster.
 *
 * **Mental model**: one member serves all requests, until it can't be reached, is silent for too long, or says that it is
 * cut off from the others; from then on the next one does. A request that failed isn't made again, except that one with
 * a token which etcd doesn't take any more is made with a new one.
 *
 * @since 0.2.0
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type { TlsOptions } from "@portolan/core/Registry"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { closed, type EtcdError, garbled, refused, silent, unreachable } from "./etcdError.ts"
import { TokenAnswer } from "./wire.ts"

/**
 * How a cluster is reached.
 *
 * @category models
 * @since 0.2.0
 */
export interface EtcdOptions {
  /** Addresses of members, such as `http://127.0.0.1:2379`; the next is taken when one is dead, hung or cut off. */
  readonly endpoints: ReadonlyArray<string>
  /** Name of the user, with `password`, for a cluster that asks for one. */
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** How TLS towards `https` endpoints differs from the usual. */
  readonly tls?: TlsOptions | undefined
  /** How long a member may take to answer. Default 3 s. */
  readonly timeout?: Duration.Input | undefined
}

/** What is asked of whichever member serves now. */
export interface Members {
  /** How long a member may take to answer. */
  readonly timeout: Duration.Duration
  /** The whole answer. */
  readonly text: (path: string, body: string) => Effect.Effect<string, EtcdError>
  /** An answer that goes on, once it has begun. */
  readonly stream: (path: string, body: string) => Stream.Stream<Uint8Array, EtcdError>
}

/** What is taken of an answer before the time is over. */
type Take<A> = (
  response: HttpClientResponse.HttpClientResponse
) => Effect.Effect<A, HttpClientError.HttpClientError>

/** Connections are closed with the scope. */
export const make = Effect.fnUntraced(function*(
  { endpoints, password, tls, username, ...options }: EtcdOptions
): Effect.fn.Return<Members, never, Scope.Scope> {
  const timeout = Duration.fromInputUnsafe(options.timeout ?? "3 seconds")
  const dispatcher = yield* NodeHttpClient.makeDispatcherOptions({
    // A connection of HTTP/2 outlives its requests: a dead one would be used again.
    allowH2: false,
    connect: {
      ca: tls?.ca,
      cert: tls?.cert,
      key: tls?.key,
      passphrase: tls?.passphrase,
      ...(tls?.serverName === undefined ? {} : { servername: tls.serverName })
    }
  })
  const client = HttpClient.transformResponse(
    yield* Effect.provideService(NodeHttpClient.makeUndici, NodeHttpClient.Dispatcher, dispatcher),
    // A span would carry the address.
    Effect.withTracerEnabled(false)
  )

  // Clients that begin at the same time don't all burden the same member.
  let current = yield* Random.nextIntBetween(0, endpoints.length, { halfOpen: true })
  const endpointOf = (turn: number) => (endpoints[turn % endpoints.length] ?? "").replace(/\/+$/, "")
  /** Another request may have moved on already. */
  const moveOn = (turn: number, error: EtcdError) =>
    Effect.sync(() => {
      if (error.unavailable === true && current === turn) current = turn + 1
    })

  const ask = <A>(path: string, body: string, take: Take<A>, token = ""): Effect.Effect<A, EtcdError> =>
    Effect.suspend(() => {
      const turn = current
      const endpoint = endpointOf(turn)
      return HttpClientRequest.post(`${endpoint}/v3/${path}`).pipe(
        // A member that is cut off from the others says so, instead of answering with what it knew last.
        HttpClientRequest.setHeader("grpc-metadata-hasleader", "true"),
        token === "" ? (request) => request : HttpClientRequest.setHeader("authorization", token),
        HttpClientRequest.bodyText(body, "application/json"),
        client.execute,
        Effect.flatMap((response) =>
          response.status === 200 ? take(response) : Effect.flatMap(
            response.text,
            (text) => Effect.fail(refused(response.status, text))
          )
        ),
        Effect.mapError((error) => error._tag === "EtcdError" ? error : unreachable(endpoint, error)),
        Effect.timeoutOrElse({ duration: timeout, orElse: () => Effect.fail(silent(endpoint, timeout)) }),
        Effect.tapError((error) => moveOn(turn, error))
      )
    })

  const readToken = Schema.decodeUnknownEffect(Schema.fromJsonString(TokenAnswer))
  const authenticate = ask(
    "auth/authenticate",
    JSON.stringify({ name: username, password }),
    (response) => response.text
  ).pipe(
    Effect.flatMap((answer) => Effect.mapError(readToken(answer), () => garbled("auth/authenticate"))),
    Effect.map(({ token }) => token),
    // It wants none: its authentication is turned off.
    Effect.catchIf(({ code }) => code === 9, () => Effect.succeed(""))
  )

  let token: string | undefined
  const oneAtATime = Semaphore.makeUnsafe(1)
  /** A token that isn't this one. To check a password costs etcd much, so it is asked once for all who wait. */
  const tokenOtherThan = (old: string | undefined) =>
    oneAtATime.withPermit(
      Effect.suspend(() =>
        token !== undefined && token !== old ?
          Effect.succeed(token) :
          Effect.tap(authenticate, (fresh) =>
            Effect.sync(() => {
              token = fresh
            }))
      )
    )

  const request = <A>(path: string, body: string, take: Take<A>): Effect.Effect<A, EtcdError> =>
    username === undefined ? ask(path, body, take) : Effect.gen(function*() {
      const known = token ?? (yield* tokenOtherThan(undefined))
      return yield* ask(path, body, take, known).pipe(
        Effect.catchIf(isOfToken, () => Effect.flatMap(tokenOtherThan(known), (fresh) => ask(path, body, take, fresh)))
      )
    })

  return {
    timeout,
    text: (path, body) => request(path, body, (response) => response.text),
    stream: (path, body) =>
      Stream.unwrap(Effect.suspend(() => {
        const turn = current
        return Effect.map(request(path, body, (response) => Effect.succeed(response.stream)), (stream) =>
          stream.pipe(
            Stream.mapError((error) => closed(endpointOf(turn), error)),
            Stream.tapError((error) => moveOn(turn, error))
          ))
      }))
  }
})

/** Whether a new token may be taken: the old one's time is over, its etcd was started anew, or users were changed. */
const isOfToken = ({ reason, unauthorized }: EtcdError): boolean =>
  unauthorized === true && !/permission denied|user ID or password|CommonName/.test(reason)
