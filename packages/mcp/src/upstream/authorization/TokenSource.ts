/**
 * OAuth 2 towards upstreams, with the official SDK's flows: as ourselves (client credentials), or for a person who agreed
 * once (authorisation code), whose token is kept in a file and renewed.
 *
 * **Details**: a token is shared by all callers of an upstream, renewed before it expires and once where the server
 * refuses it; one flow at a time. The SDK is loaded when a record first needs it.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/basic/authorization
 * @since 0.1.0
 */
import type { AuthorizationServerMetadata, FetchLike, OAuthTokens } from "@modelcontextprotocol/client"
import type * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { Failure } from "../transports/Connection.ts"
import * as HttpExchange from "../transports/HttpExchange.ts"
import * as Tls from "../transports/Tls.ts"
import * as AuthorizationServer from "./AuthorizationServer.ts"
import * as Secrets from "./Secrets.ts"
import * as TokenStore from "./TokenStore.ts"

/**
 * A token that a server refused, and what it said.
 *
 * @category models
 * @since 0.1.0
 */
export interface Refused {
  /** The header that was sent, if any. */
  readonly header: string | undefined
  readonly challenge: HttpExchange.ResponseHeaders
  /** What it lacks; `undefined` where it is refused altogether. */
  readonly scope?: string | undefined
}

/**
 * The token of one upstream.
 *
 * @category models
 * @since 0.1.0
 */
export interface TokenSource {
  /** The value of the header, while it holds. Plain. */
  readonly current: () => string | undefined
  /** Gets or renews the token; callers at the same time share one flow. Rejects with `Unauthorized`. */
  readonly obtain: (refused: Refused | undefined) => Promise<string>
  /** The value of the header, got or renewed where that is due. */
  readonly header: Effect.Effect<string | undefined, Failure>
  /** The server doesn't take the current token: the next one who asks gets another. Plain. */
  readonly refused: (challenge: HttpExchange.ResponseHeaders) => void
}

/**
 * What a token is for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Of the instance, for what a person is told to do. */
  readonly id: string
  /** Of the MCP server. */
  readonly url: string
  readonly auth: ServiceInstance.Auth
  readonly tls?: ServiceInstance.Tls | undefined
  /** Longest that one request to an authorisation server may take. */
  readonly timeout: Duration.Duration
}

/** ms before its end that a token is renewed, at most; a short-lived one a fifth of its life before. */
const RenewBefore = 60_000

/** ms before a renewal that failed is tried again, while the token holds. */
const RenewAgain = 5_000

interface Held {
  readonly header: string
  /** What was asked for as ourselves. */
  readonly scope?: string | undefined
  /** Epoch ms. */
  readonly renewAt: number
  /** Epoch ms. */
  readonly expiresAt: number
}

/** What a flow needs, there for as long as it runs. */
interface Flow {
  readonly fetch: FetchLike
  readonly url: URL
  readonly now: number
  readonly refused: Refused | undefined
  readonly old: Held | undefined
  /** Never to be told. */
  readonly secrets: Array<string | undefined>
}

const isHttp = (url: string) => new URL(url.replace(/^ws/, "http"))

const unauthorized = (reason: string, status: number | undefined) =>
  new HttpExchange.Unauthorized({
    phase: "notSent",
    reason,
    // Nothing else would get through either.
    connectionLost: true,
    ...(status === undefined ? undefined : { status })
  })

/** Epoch ms; none where the server names no time. */
const expiryOf = (tokens: OAuthTokens, now: number): number | undefined =>
  tokens.expires_in === undefined ? undefined : now + tokens.expires_in * 1_000

/** Scopes of both, each once. */
const union = (one: string | undefined, other: string | undefined): string | undefined => {
  const scopes = new Set(`${one ?? ""} ${other ?? ""}`.split(" ").filter((scope) => scope !== ""))
  return scopes.size === 0 ? undefined : Array.from(scopes).join(" ")
}

const held = (accessToken: string, expiresAt: number | undefined, now: number): Held => ({
  header: `Bearer ${accessToken}`,
  expiresAt: expiresAt ?? Infinity,
  renewAt: expiresAt === undefined ? Infinity : expiresAt - Math.min(RenewBefore, Math.max(0, expiresAt - now) / 5)
})

const clientCredentials = async (
  auth: Extract<ServiceInstance.Auth, { readonly type: "client-credentials" }>,
  clientSecret: string,
  flow: Flow
): Promise<Held> => {
  const sdk = await import("@modelcontextprotocol/client")
  const { resourceMetadataUrl, scope: wanted } = flow.refused !== undefined
    ? sdk.extractWWWAuthenticateParams(AuthorizationServer.asResponse(flow.refused.challenge))
    : auth.tokenUrl === undefined
    ? await AuthorizationServer.challengeOf(flow.url, flow.fetch)
    : {}
  const where = {
    fetchFn: flow.fetch,
    ...(resourceMetadataUrl === undefined ? {} : { resourceMetadataUrl })
  }
  const server = auth.tokenUrl === undefined
    ? await sdk.discoverOAuthServerInfo(flow.url, where)
    : {
      authorizationServerUrl: new URL(auth.tokenUrl).origin,
      authorizationServerMetadata: metadataOf(auth.tokenUrl),
      // Tells the resource's name, where the server publishes it.
      resourceMetadata: await sdk.discoverOAuthProtectedResourceMetadata(flow.url, where, flow.fetch)
        .catch(() => undefined)
    }
  const metadata = server.authorizationServerMetadata
  // The SDK would guess an address; the secret isn't sent to one that nobody named.
  if (metadata === undefined) throw new Error("the server names no authorisation server; set `auth.tokenUrl`")
  const asked = flow.old?.scope
  const scope = auth.scope ?? union(asked, wanted)
  // Asking for the same again gives the same.
  if (flow.refused?.scope !== undefined && scope === asked) throw new Error("no token has that scope")
  const provider = new sdk.ClientCredentialsProvider({
    clientId: auth.clientId,
    clientSecret,
    clientName: "portolan",
    expectedIssuer: metadata.issuer
  })
  const resource = await sdk.selectResourceURL(flow.url, provider, server.resourceMetadata)
  const tokens = await sdk.fetchToken(provider, server.authorizationServerUrl, {
    fetchFn: flow.fetch,
    metadata,
    ...(resource === undefined ? {} : { resource }),
    ...(scope === undefined ? {} : { scope })
  })
  return { ...held(tokens.access_token, expiryOf(tokens, flow.now), flow.now), scope }
}

const metadataOf = (tokenUrl: string): AuthorizationServerMetadata => ({
  issuer: new URL(tokenUrl).origin,
  authorization_endpoint: tokenUrl,
  token_endpoint: tokenUrl,
  response_types_supported: []
})

const stored = async (
  file: string,
  needed: HttpExchange.Unauthorized,
  flow: Flow
): Promise<Held> => {
  const token = await TokenStore.read(file)
  if (token === undefined) throw needed
  flow.secrets.push(token.refreshToken, token.clientSecret)
  const found = held(token.accessToken, token.expiresAt, flow.now)
  // What we hold is due for renewal, or refused; what another process put there isn't.
  const known = found.header === flow.old?.header || found.header === flow.refused?.header
  if (flow.now < found.renewAt && !known) return found
  // A renewed one has no other scope.
  if (token.refreshToken === undefined || flow.refused?.scope !== undefined) throw needed
  const sdk = await import("@modelcontextprotocol/client")
  const metadata = await sdk.discoverAuthorizationServerMetadata(token.authorizationServer, { fetchFn: flow.fetch })
  try {
    const tokens = await sdk.refreshAuthorization(token.authorizationServer, {
      clientInformation: {
        client_id: token.clientId,
        ...(token.clientSecret === undefined ? {} : { client_secret: token.clientSecret })
      },
      refreshToken: token.refreshToken,
      fetchFn: flow.fetch,
      ...(metadata === undefined ? {} : { metadata }),
      ...(token.resource === undefined ? {} : { resource: new URL(token.resource) })
    })
    const { expiresAt: _, ...kept } = token
    const expiresAt = expiryOf(tokens, flow.now)
    await TokenStore.write(file, {
      ...kept,
      accessToken: tokens.access_token,
      ...(tokens.refresh_token === undefined ? {} : { refreshToken: tokens.refresh_token }),
      ...(expiresAt === undefined ? {} : { expiresAt })
    })
    return held(tokens.access_token, expiresAt, flow.now)
  } catch (cause) {
    const gone = cause instanceof sdk.OAuthError && ["invalid_grant", "invalid_client"].includes(cause.code)
    if (!gone) throw cause
    // Another process may have renewed it in the meantime: a refresh token often works once.
    const newer = await TokenStore.read(file)
    if (newer === undefined || newer.refreshToken === token.refreshToken) throw needed
    return held(newer.accessToken, newer.expiresAt, flow.now)
  }
}

/**
 * Makes the authorisation of an upstream, for the life of the scope; nothing is asked for yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<TokenSource, never, Scope.Scope> {
  const { auth, id } = options
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  const url = isHttp(options.url)
  const run = yield* FiberSet.makeRuntimePromise()
  let token: Held | undefined
  let under: Promise<string> | undefined
  let last: Refused | undefined

  /** Everything else gets through with it. */
  const lacks = (scope: string) =>
    new HttpExchange.Unauthorized({
      phase: "answered",
      reason: `the token lacks the scope "${scope}": add it to \`auth.scope\`` +
        (auth.type === "authorization-code" ? ` and run portolan login ${id}` : ""),
      status: 403
    })

  const current = () => token !== undefined && now() < token.renewAt ? token.header : undefined

  const flow = Effect.fnUntraced(function*(refused: Refused | undefined) {
    const tls = options.tls === undefined ? undefined : yield* Tls.resolve(options.tls)
    const clientSecret = auth.clientSecret === undefined
      ? ""
      : Redacted.value(yield* Secrets.resolve(auth.clientSecret, "auth.clientSecret"))
    const secrets: Array<string | undefined> = [clientSecret]
    const fetch = yield* AuthorizationServer.makeFetch(url, tls, Duration.toMillis(options.timeout))
    const parts: Flow = { fetch, url, now: now(), refused, old: token, secrets }
    token = yield* Effect.tryPromise({
      try: () =>
        auth.type === "client-credentials"
          ? clientCredentials(auth, clientSecret, parts)
          : stored(
            TokenStore.fileOf(options.url, auth),
            unauthorized(`needs authorisation: run portolan login ${id}`, 401),
            parts
          ),
      catch: (cause) => {
        if (cause instanceof HttpExchange.Unauthorized) return cause
        const reason = AuthorizationServer.reason(cause, secrets)
        // What a server refused it refuses again; an outage passes.
        return unauthorized(reason, reason.startsWith("authorisation refused") ? 401 : undefined)
      }
    })
    return token.header
  }, (self, refused) =>
    self.pipe(
      Effect.catchTag("SecretError", ({ reason }) => Effect.fail(unauthorized(reason, undefined))),
      Effect.scoped,
      Effect.catch((failure) => {
        const old = token
        if (refused?.scope !== undefined) return Effect.fail(lacks(refused.scope))
        token = undefined
        if (old === undefined || now() >= old.expiresAt || old.header === refused?.header) return Effect.fail(failure)
        // It still holds for a while.
        token = { ...old, renewAt: Math.min(old.expiresAt, now() + RenewAgain) }
        return Effect.succeed(old.header)
      })
    ))

  const obtain = (refused: Refused | undefined): Promise<string> => {
    const held = current()
    // Somebody else had it renewed in the meantime.
    if (held !== undefined && held !== refused?.header) return Promise.resolve(held)
    return under ??= run(flow(refused)).finally(() => {
      under = undefined
    })
  }

  return {
    current,
    obtain,
    header: Effect.tryPromise({
      try: () => {
        const refused = last
        last = undefined
        return obtain(refused)
      },
      catch: (cause): Failure =>
        cause instanceof HttpExchange.Unauthorized
          ? cause.failure
          : { phase: "notSent", reason: "authorisation failed", cause }
    }),
    refused: (challenge) => {
      last = { header: token?.header, challenge }
    }
  }
})
