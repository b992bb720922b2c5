/**
 * Who may write through the REST API: whoever has the token; without a configured token, programs on this machine.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpApiSecurity from "effect/http-api/HttpApiSecurity"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { createHash, timingSafeEqual } from "node:crypto"
import { isOwnName, pages, refusedPage } from "../internal/access.ts"
import { Forbidden, Unauthorized } from "./Problems.ts"
import type { AccessView } from "./Representations.ts"

/**
 * Settings of the access to writes.
 *
 * @category models
 * @since 0.1.0
 */
export interface WriteAccessOptions {
  /** What `Authorization: Bearer` must carry. None: writes come from loopback addresses, to loopback names only. */
  readonly token?: Redacted.Redacted<string> | undefined
  readonly publicUrl?: string | undefined
  readonly allowedOrigins?: ReadonlyArray<string> | undefined
}

/**
 * What is known of who writes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Writer {
  /** Address of the peer of the connection. */
  readonly peer: string | undefined
  /** What came as a bearer token. */
  readonly token: string | undefined
  readonly origin?: string | undefined
  readonly host?: string | undefined
  /** Whether the request says that it came through a proxy. */
  readonly forwarded?: boolean | undefined
}

/**
 * Middleware of the endpoints that change something.
 *
 * @category services
 * @since 0.1.0
 */
export class WriteAccess extends HttpApiMiddleware.Service<WriteAccess>()("@portolan/gateway/rest/WriteAccess", {
  error: [Unauthorized, Forbidden],
  security: { token: HttpApiSecurity.bearer }
}) {}

/**
 * Service that tells who may write, by the settings as they are now.
 *
 * @category services
 * @since 0.2.0
 */
export class Writers extends Context.Service<Writers, {
  /** Plain. */
  readonly access: (writer: Writer) => AccessView
}>()("@portolan/gateway/rest/WriteAccess/Writers") {}

// Digests have one length, so comparing them takes one time.
const digest = (text: string) => createHash("sha256").update(text).digest()

const isLoopback = (address: string): boolean => address === "::1" || /^(::ffff:)?127(\.\d{1,3}){3}$/.test(address)

/**
 * Why somebody may not write; none: they may.
 *
 * **Details**: behind a proxy on this machine every client looks local. So without a token nobody writes through a proxy that
 * says it is one, nor under a name that others reach the gateway by, be it `publicUrl` or one of `allowedHosts`; for whom
 * a proxy speaks isn't believed, as anybody can say it. A web page may only if it is the gateway's own, or of `publicUrl`
 * or `allowedOrigins`; a token is nothing that a browser would add by itself, so with one any page may.
 *
 * @category guards
 * @since 0.1.0
 */
export const refusal = (options: WriteAccessOptions, writer: Writer): Unauthorized | Forbidden | undefined => {
  const { token } = options
  if (token !== undefined) {
    if (writer.token === undefined || writer.token === "") {
      return new Unauthorized({ detail: "writes need the gateway's token: send it as `Authorization: Bearer <token>`" })
    }
    return timingSafeEqual(digest(writer.token), digest(Redacted.value(token)))
      ? undefined
      : new Unauthorized({ detail: "this is not the gateway's token (gateway.token)" })
  }
  if (!isLoopback(writer.peer ?? "")) {
    return new Forbidden({
      detail:
        "without a token the gateway takes writes from its own machine only: configure gateway.token, and send it " +
        "as `Authorization: Bearer <token>`"
    })
  }
  const { forwarded = false, host, origin } = writer
  if (forwarded || host !== undefined && !isOwnName(host)) {
    return new Forbidden({
      detail: "without a token the gateway takes writes from its own machine only, and " +
        `${forwarded ? "this came through a proxy" : `${host} is a name for others`}: configure gateway.token`
    })
  }
  return origin === undefined || pages(options)(origin, host)
    ? undefined
    : new Forbidden({
      detail: `pages of ${origin} may not write here without a token: configure gateway.token, or name ${origin} in ` +
        "gateway.publicUrl or gateway.allowedOrigins"
    })
}

/**
 * Layer that decides who may write. The settings are asked for at each request, so they may change.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: () => WriteAccessOptions): Layer.Layer<WriteAccess | Writers> =>
  Layer.merge(
    Layer.succeed(Writers, { access: (writer) => accessOf(options(), writer) }),
    Layer.succeed(WriteAccess, {
      token: (handler, { credential }) =>
        Effect.gen(function*() {
          const request = yield* HttpServerRequest.HttpServerRequest
          const refused = refusal(options(), writerOf(request, Redacted.value(credential)))
          if (refused !== undefined) return yield* refused
          return yield* handler
        })
    })
  )

const accessOf = (options: WriteAccessOptions, writer: Writer): AccessView => {
  const { host, origin } = writer
  // What the listener says to the writes of a page, it can't say to a read that names no origin.
  const foreign = origin === undefined || pages(options)(origin, host) ? undefined : refusedPage(origin)
  if (foreign !== undefined) return { writes: "refused", reason: foreign.detail }
  const refused = refusal(options, writer)
  if (refused !== undefined) {
    return { writes: refused.status === 401 ? "token" : "refused", reason: refused.detail ?? refused.title }
  }
  const reason = options.token === undefined ? "programs on the gateway's machine may" : "this is the gateway's token"
  return { writes: "allowed", reason }
}

/**
 * What is known of who sent a request. Browsers don't say on whose page a read was made, so pages may name their origin.
 *
 * @category constructors
 * @since 0.2.0
 */
export const writerOf = (
  { headers, remoteAddress }: HttpServerRequest.HttpServerRequest,
  token: string | undefined,
  page?: string
): Writer => ({
  peer: Option.getOrUndefined(remoteAddress),
  token,
  origin: headers["origin"] ?? page,
  host: headers["host"],
  forwarded: ["forwarded", "x-forwarded-for", "via"].some((name) => headers[name] !== undefined)
})
