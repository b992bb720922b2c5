/**
 * Fetches documents of which nothing is known but their address.
 *
 * **Mental model**: one host is the operator's choice, the home: it gets the token and our certificate, wherever it is, as
 * long as nobody else names the address. All others get neither, and only those are asked that the document may point at
 * which names them. The connections of a reading are closed with it. Nothing is retried; who asked to be left alone is
 * left alone.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type { TlsOptions } from "@portolan/core/Registry"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { Buffer } from "node:buffer"
import * as Dns from "node:dns"
import type { LookupFunction } from "node:net"
import type { Reach } from "./reach.ts"

/** Error raised when a document can't be had: one line for a person. */
export class DocumentError extends Data.TaggedError("DocumentError")<{
  readonly reason: string
  /** The HTTP status, where there was an answer. */
  readonly status?: number | undefined
  readonly cause?: unknown
}> {
  override get message(): string {
    return this.reason
  }
  get unauthorized(): boolean {
    return this.status === 401 || this.status === 403
  }
}

export interface Request<K extends Tag> {
  readonly url: URL
  readonly accept: string
  /** The document that names it; none: the operator does. */
  readonly from?: URL | undefined
  /** What is known of it already. */
  readonly known?: K | undefined
}

/** An entity tag, and the address that gave it: after redirects another one than was asked. */
export interface Tag {
  readonly url: URL
  readonly etag: string | undefined
}

export interface Fresh extends Tag {
  readonly text: string
}

/** Gives what is known where that is still so. */
export type Get = <K extends Tag>(request: Request<K>) => Effect.Effect<Fresh | K, DocumentError>

export interface HttpOptions {
  readonly home: URL
  readonly reach: Reach
  readonly token?: Redacted.Redacted | undefined
  readonly tls?: TlsOptions | undefined
}

/** Looks names up; the system's, except in tests. */
export const Lookup: Context.Reference<LookupFunction> = Context.Reference<LookupFunction>(
  "@portolan/documents/Lookup",
  { defaultValue: () => Dns.lookup }
)

const timeout = Duration.seconds(10)
/** Of a document, and of all of a reading. */
const mostBytes = 8 * 2 ** 20
const mostOfAll = 256 * 2 ** 20
const mostRedirects = 5
/** Longest that a host may ask to be left alone, ms. */
const longestPause = 3_600_000
/** Connections to one host. */
const connections = 8

/** Makes what opens the connections of a reading. */
export const make = Effect.fnUntraced(function*(
  { home, reach, tls, token }: HttpOptions
): Effect.fn.Return<Effect.Effect<Get, never, Scope.Scope>> {
  const lookup = yield* Lookup
  // Until when a host wants to be left alone, epoch ms.
  const pauses = new Map<string, number>()

  /** Of what a name leads to, what may be reached is connected to: no second look-up may say otherwise. */
  const guarded: LookupFunction = (hostname, options, callback) =>
    lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error !== null) return callback(error, [])
      const addresses = Array.isArray(found) ? found.filter(({ address }) => reach.isOpen(address)) : []
      const [first] = addresses
      if (first === undefined) {
        return callback(new Error(`a public document may not point there; add its network to \`allowNetworks\``), [])
      }
      if (options.all === true) callback(null, addresses)
      else callback(null, first.address, first.family)
    })

  return Effect.gen(function*() {
    const begun = yield* Clock.currentTimeMillis
    for (const [origin, until] of pauses) if (until <= begun) pauses.delete(origin)
    // A connection of HTTP/2 outlives its requests: a dead one would be used again.
    const open = (connect: object) => NodeHttpClient.makeDispatcherOptions({ connections, allowH2: false, connect })
    const ours = yield* open({ ...tlsOf(tls), lookup })
    const others = yield* open({ lookup })
    const publicOnly = yield* open({ lookup: guarded })
    const budget = { bytes: mostOfAll }

    const ask = Effect.fnUntraced(function*(url: URL, { accept, from = home, known }: Request<Tag>) {
      const isHome = url.origin === home.origin && from.origin === home.origin
      const refused = isHome ? undefined : reach.refusal(from, url)
      if (refused !== undefined) return yield* new DocumentError({ reason: refused })
      const dispatcher = isHome ? ours : reach.isBound(from) ? publicOnly : others
      const now = yield* Clock.currentTimeMillis
      const left = (pauses.get(url.origin) ?? 0) - now
      if (left > 0) {
        const reason = `${url.host} asked to be left alone for another ${
          Duration.format(Duration.seconds(Math.ceil(left / 1000)))
        }`
        return yield* new DocumentError({ reason })
      }
      const etag = known?.url.href === url.href ? known.etag : undefined
      const answer = yield* Effect.tryPromise({
        try: async (signal) => {
          const { body, headers, statusCode } = await dispatcher.request({
            origin: url.origin,
            path: url.pathname + url.search,
            method: "GET",
            headers: {
              accept,
              "user-agent": "portolan",
              ...(isHome && token !== undefined ? { authorization: `Bearer ${Redacted.value(token)}` } : {}),
              ...(etag === undefined ? {} : { "if-none-match": etag })
            },
            signal
          })
          const header = (name: string) => [headers[name]].flat()[0]
          if (statusCode !== 200) await body.dump()
          return { status: statusCode, header, text: statusCode === 200 ? await textOf(body, url, budget) : "" }
        },
        catch: (cause) => cause instanceof DocumentError ? cause : unreachable(url, cause)
      })
      if (answer.status === 429 || answer.status === 503) {
        const pause = pauseOf(answer.header("retry-after"), now)
        if (pause > 0) pauses.set(url.origin, now + pause)
      }
      return { ...answer, isHome, conditional: etag !== undefined }
    })

    const get = Effect.fnUntraced(function*<K extends Tag>(
      request: Request<K>
    ): Effect.fn.Return<Fresh | K, DocumentError> {
      let { from, url } = request
      for (let hops = 0; hops <= mostRedirects; hops++) {
        const { conditional, header, isHome, status, text } = yield* ask(url, { ...request, from })
        if (status === 200) return { url, etag: header("etag"), text }
        if (status === 304 && conditional && request.known !== undefined) return request.known
        const location = header("location")
        if (![301, 302, 303, 307, 308].includes(status) || location === undefined) {
          return yield* refusal(url, status, isHome ? token !== undefined : undefined)
        }
        from = url
        url = yield* follow(location, url)
      }
      return yield* new DocumentError({ reason: `${shown(request.url)} redirects more than ${mostRedirects} times` })
    })

    return <K extends Tag>(request: Request<K>) =>
      Effect.timeoutOrElse(get(request), {
        duration: timeout,
        orElse: () =>
          Effect.fail(
            new DocumentError({ reason: `${shown(request.url)} gave no answer within ${Duration.format(timeout)}` })
          )
      })
  })
})

/** An address as a person may see it: without its query, which may hold anything. */
export const shown = (url: URL): string => `${url.origin}${url.pathname}`

const tlsOf = ({ serverName, ...pem }: TlsOptions = {}) =>
  Object.fromEntries(Object.entries({ ...pem, servername: serverName }).filter(([, value]) => value !== undefined))

const textOf = async (
  body: AsyncIterable<Uint8Array>,
  url: URL,
  budget: { bytes: number }
): Promise<string> => {
  const chunks: Array<Uint8Array> = []
  let size = 0
  // Leaving the loop closes the connection.
  for await (const chunk of body) {
    size += chunk.length
    budget.bytes -= chunk.length
    if (size > mostBytes) {
      throw new DocumentError({ reason: `${shown(url)} is longer than ${mostBytes / 2 ** 20} MiB` })
    }
    if (budget.bytes < 0) {
      const most = `${mostOfAll / 2 ** 20} MiB`
      throw new DocumentError({ reason: `${shown(url)} and the documents before it are longer than ${most}` })
    }
    chunks.push(chunk)
  }
  return new TextDecoder().decode(Buffer.concat(chunks))
}

const follow = (location: string, from: URL): Effect.Effect<URL, DocumentError> => {
  const url = URL.parse(location, from.href)
  if (url === null || !/^https?:$/.test(url.protocol) || (from.protocol === "https:" && url.protocol === "http:")) {
    const where = url === null ? "nowhere" : url.protocol === "http:" ? "plain http" : url.protocol
    return Effect.fail(new DocumentError({ reason: `${shown(from)} redirects to ${where}` }))
  }
  return Effect.succeed(url)
}

/** ms that a `Retry-After` asks for (RFC 9110 §10.2.3). */
const pauseOf = (value: string | undefined, now: number): number => {
  if (value === undefined) return 0
  const pause = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now
  return Number.isNaN(pause) ? 0 : Math.min(pause, longestPause)
}

/** `hasToken` is known of the home only. */
const refusal = (url: URL, status: number, hasToken: boolean | undefined): DocumentError => {
  const unauthorized = status === 401 || status === 403
  const next = unauthorized && hasToken !== undefined ? `; ${hasToken ? "check" : "set"} its token` : ""
  return new DocumentError({ reason: `${shown(url)} answered HTTP ${status}${next}`, status })
}

const unreachable = (url: URL, cause: unknown): DocumentError => {
  // A name with several addresses fails with the failures of all of them.
  const first = cause instanceof AggregateError ? cause.errors[0] : cause
  const said = first instanceof Error && first.message !== "" ? first.message : String(first)
  // What OpenSSL says ends with a line break.
  const what = said.trim().replace(/\s+/g, " ")
  return new DocumentError({ reason: `${shown(url)} can't be reached: ${what}`, cause })
}
