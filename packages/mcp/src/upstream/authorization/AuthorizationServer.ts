/**
 * How authorisation servers are spoken with: the official SDK's flows over sockets of ours, bounded in time and size.
 *
 * @since 0.1.0
 */
import type { FetchLike } from "@modelcontextprotocol/client"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Agent, fetch } from "undici"
import { oneLine } from "../transports/Connection.ts"
import * as NetworkErrors from "../transports/NetworkErrors.ts"
import type * as Tls from "../transports/Tls.ts"
import * as Secrets from "./Secrets.ts"

/** Bytes of the longest answer. */
const MaxAnswer = 1024 * 1024

/**
 * Makes the way out: requests to the origin of `server` use its own TLS settings. `timeout` in ms holds for each request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeFetch = (
  server: URL,
  tls: Tls.Resolved | undefined,
  timeout: number
): Effect.Effect<FetchLike, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const agent = (settings: Tls.Settings | undefined) =>
          new Agent({ connect: { timeout, ...settings }, maxResponseSize: MaxAnswer, allowH2: false })
        return { own: agent(tls?.server), others: agent(tls?.others) }
      }),
      ({ others, own }) => Effect.promise(() => Promise.all([own.destroy(), others.destroy()]))
    ),
    ({ others, own }): FetchLike => async (url, init) => {
      const answer = await fetch(url, {
        method: init?.method ?? "GET",
        headers: [...new Headers(init?.headers)],
        body: init?.body === undefined || init.body === null ? null : String(init.body),
        redirect: "manual",
        dispatcher: new URL(url).origin === server.origin ? own : others,
        signal: AbortSignal.timeout(timeout)
      })
      // What the SDK is handed has been read in full: nothing of it stays open.
      const body = await answer.arrayBuffer()
      const empty = answer.status === 204 || answer.status === 205 || answer.status === 304
      return new Response(empty ? null : body, { status: answer.status, headers: [...answer.headers] })
    }
  )

/** Only the headers count. */
export const asResponse = (headers: Readonly<Record<string, string | Array<string> | undefined>>): Response => {
  const challenge = headers["www-authenticate"]
  const value = Array.isArray(challenge) ? challenge.join(", ") : challenge
  return new Response(null, { status: 401, headers: value === undefined ? {} : { "www-authenticate": value } })
}

/**
 * What a server says to somebody without a token: where its metadata is, and which scope it wants. Nothing, where it
 * doesn't ask for one.
 *
 * @category discovery
 * @since 0.1.0
 */
export const challengeOf = async (
  server: URL,
  fetch: FetchLike
): Promise<{ readonly resourceMetadataUrl?: URL; readonly scope?: string }> => {
  const sdk = await import("@modelcontextprotocol/client")
  const ping = { jsonrpc: "2.0", id: 0, method: "ping" }
  const answer = await fetch(server.href, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json, text/event-stream" },
    body: JSON.stringify(ping)
    // The flow itself tells better what is wrong.
  }).catch(() => undefined)
  if (answer?.status !== 401) return {}
  const { resourceMetadataUrl, scope } = sdk.extractWWWAuthenticateParams(answer)
  return {
    ...(resourceMetadataUrl === undefined ? {} : { resourceMetadataUrl }),
    ...(scope === undefined ? {} : { scope })
  }
}

/**
 * Why a flow failed, in one line without any of the `secrets`.
 *
 * @category errors
 * @since 0.1.0
 */
export const reason = (cause: unknown, secrets: ReadonlyArray<string | undefined>): string =>
  Secrets.hide(describe(cause), secrets)

const describe = (cause: unknown): string => {
  if (!(cause instanceof Error)) return "authorisation failed"
  if (cause.name === "TimeoutError") return "the authorisation server doesn't answer"
  // What the server said: `invalid_client`.
  const code = NetworkErrors.codeOf(cause)
  if (code === "server_error" || code === "temporarily_unavailable") {
    return oneLine(`authorisation server: ${code}: ${cause.message}`)
  }
  if (code !== undefined && /^[a-z_]+$/.test(code)) return oneLine(`authorisation refused: ${code}: ${cause.message}`)
  if (cause instanceof TypeError && cause.cause instanceof Error) {
    return `authorisation server: ${NetworkErrors.reason(cause.cause)}`
  }
  return oneLine(`authorisation failed: ${cause.message}`)
}
