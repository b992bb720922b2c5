/**
 * The one step of OAuth 2 that needs a person: agreeing, in a browser, that Portolan may use a server.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/basic/authorization
 * @since 0.1.0
 */
import type {
  OAuthClientProvider,
  OAuthDiscoveryState,
  StoredOAuthClientInformation,
  StoredOAuthTokens
} from "@modelcontextprotocol/client"
import type * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import { createServer } from "node:http"
import * as AuthorizationServer from "./authorization/AuthorizationServer.ts"
import * as Secrets from "./authorization/Secrets.ts"
import * as TokenStore from "./authorization/TokenStore.ts"
import { oneLine } from "./transports/Connection.ts"
import * as NetworkErrors from "./transports/NetworkErrors.ts"
import * as Tls from "./transports/Tls.ts"

/**
 * Error raised when nobody could be authorised.
 *
 * @category errors
 * @since 0.1.0
 */
export class AuthorizationError extends Schema.TaggedError<AuthorizationError>()("AuthorizationError", {
  /** One line for a person; holds no secret. */
  reason: Schema.String
}) {
  override get message(): string {
    return this.reason
  }
}

/**
 * What to authorise, and how the person is reached.
 *
 * @category models
 * @since 0.1.0
 */
export interface LoginOptions {
  /** Of the endpoint: its `url`, `auth` and `tls`. */
  readonly url: string
  readonly auth: Extract<ServiceInstance.Auth, { readonly type: "authorization-code" }>
  readonly tls?: ServiceInstance.Tls | undefined
  /** Tells the person which address to open in a browser. */
  readonly onRedirect: (address: URL) => Effect.Effect<void>
  /** Port on 127.0.0.1 that the browser comes back to. Default 0: a free one. A registered client may need a fixed one. */
  readonly redirectPort?: number | undefined
  /** Longest wait for the person. Default 5 min. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * What a login came to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Login {
  /** The file that holds the token now; upstreams look there. */
  readonly file: string
  /** Epoch ms; `undefined` where the server named no time. */
  readonly expiresAt: number | undefined
  /** Whether it is renewed without the person. */
  readonly renewable: boolean
}

/** ms that one request to an authorisation server may take. */
const RequestTime = 15_000

interface Callback {
  readonly code: string
  readonly iss: string | undefined
}

interface Loopback {
  readonly redirectUrl: string
  /** The first answer that carries our `state`. */
  readonly callback: Effect.Effect<Callback, AuthorizationError>
}

/** Waits for the browser, on the loopback address only. */
const listen = (state: string, port: number): Effect.Effect<Loopback, AuthorizationError, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<
        { readonly close: () => void; readonly port: number; readonly arrived: Promise<Callback> },
        AuthorizationError
      >(
        (resume) => {
          let arrive: (callback: Callback) => void = () => {}
          let refuse: (error: AuthorizationError) => void = () => {}
          const arrived = new Promise<Callback>((resolve, reject) => {
            arrive = resolve
            refuse = reject
          })
          // Nobody may be waiting any more.
          arrived.catch(() => {})
          const server = createServer((request, response) => {
            const say = (status: number, text: string, said?: () => void) =>
              response.writeHead(status, { "content-type": "text/plain; charset=utf-8", connection: "close" })
                .end(text, said)
            const { pathname, searchParams } = new URL(request.url ?? "/", "http://127.0.0.1")
            if (request.method !== "GET" || pathname !== "/callback") return say(404, "Not found")
            if (searchParams.get("state") !== state) return say(400, "This answer belongs to no login under way here.")
            const code = searchParams.get("code")
            if (code !== null) {
              const callback = { code, iss: searchParams.get("iss") ?? undefined }
              // With the answer this listener goes.
              return say(200, "The browser is done: you can close this window.", () => arrive(callback))
            }
            const error = searchParams.get("error") ?? "no code"
            const why = searchParams.get("error_description")
            const reason = oneLine(`authorisation refused: ${error}${why === null ? "" : `: ${why}`}`)
            return say(200, "Not authorised. You can close this window.", () =>
              refuse(new AuthorizationError({ reason })))
          })
          server.once("error", (cause) =>
            resume(Effect.fail(
              new AuthorizationError({ reason: `can't listen on 127.0.0.1:${port}: ${NetworkErrors.reason(cause)}` })
            )))
          server.listen(port, "127.0.0.1", () => {
            const address = server.address()
            resume(Effect.succeed({
              port: typeof address === "object" && address !== null ? address.port : port,
              arrived,
              close: () => {
                server.close()
                server.closeAllConnections()
              }
            }))
          })
        }
      ),
      ({ close }) =>
        Effect.sync(close)
    ),
    ({ arrived, port }) => ({
      redirectUrl: `http://127.0.0.1:${port}/callback`,
      callback: Effect.tryPromise({
        try: () =>
          arrived,
        catch: (cause) =>
          cause instanceof AuthorizationError ? cause : new AuthorizationError({ reason: "authorisation failed" })
      })
    })
  )

/** What the SDK asks and tells during one login. */
const memory = (redirectUrl: string, state: string, options: LoginOptions, clientSecret: string | undefined) => {
  const { auth } = options
  const kept: {
    client: StoredOAuthClientInformation | undefined
    tokens: StoredOAuthTokens | undefined
    discovery: OAuthDiscoveryState | undefined
    resource: string | undefined
    verifier: string
    address: URL | undefined
  } = {
    client: auth.clientId === undefined
      ? undefined
      : { client_id: auth.clientId, ...(clientSecret === undefined ? {} : { client_secret: clientSecret }) },
    tokens: undefined,
    discovery: undefined,
    resource: undefined,
    verifier: "",
    address: undefined
  }
  const provider: OAuthClientProvider = {
    redirectUrl,
    clientMetadata: {
      client_name: "Portolan",
      redirect_uris: [redirectUrl],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      ...(clientSecret === undefined ? { token_endpoint_auth_method: "none" } : {}),
      ...(auth.scope === undefined ? {} : { scope: auth.scope })
    },
    state: () => state,
    clientInformation: () => kept.client,
    saveClientInformation: (client) => {
      kept.client = client
    },
    tokens: () => kept.tokens,
    saveTokens: (tokens) => {
      kept.tokens = tokens
    },
    redirectToAuthorization: (address) => {
      kept.address = address
    },
    saveCodeVerifier: (verifier) => {
      kept.verifier = verifier
    },
    codeVerifier: () => kept.verifier,
    discoveryState: () => kept.discovery,
    saveDiscoveryState: (discovery) => {
      kept.discovery = discovery
    },
    saveResourceUrl: (resource) => {
      kept.resource = resource
    }
  }
  return { kept, provider }
}

/**
 * Has a person authorise us with a server: finds its authorisation server, registers us there where no `clientId` is
 * given, tells the address to open, waits for the browser on a loopback port, and stores the token (mode 0600) where the
 * upstream of this endpoint finds it. PKCE, `state`, `iss` and the resource indicator are those of the official SDK.
 *
 * **When to use** for endpoints with `auth: { type: "authorization-code" }`, whose upstream says `needs authorisation`.
 *
 * @category authorising
 * @since 0.1.0
 */
export const login = Effect.fnUntraced(
  function*(options: LoginOptions): Effect.fn.Return<Login, AuthorizationError, Scope.Scope> {
    const { auth } = options
    const clock = yield* Clock.Clock
    const url = new URL(options.url.replace(/^ws/, "http"))
    const sdk = yield* Effect.promise(() => import("@modelcontextprotocol/client"))
    const secrets: Array<string | undefined> = []
    const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, AuthorizationError> =>
      Effect.tryPromise({
        try: run,
        catch: (cause) => new AuthorizationError({ reason: AuthorizationServer.reason(cause, secrets) })
      })
    const unresolved = (error: Secrets.SecretError) => new AuthorizationError({ reason: error.reason })

    const clientSecret = auth.clientSecret === undefined
      ? undefined
      : Redacted.value(yield* Effect.mapError(Secrets.resolve(auth.clientSecret, "auth.clientSecret"), unresolved))
    const tls = options.tls === undefined ? undefined : yield* Effect.mapError(Tls.resolve(options.tls), unresolved)
    const fetchFn = yield* AuthorizationServer.makeFetch(url, tls, RequestTime)
    const state = randomBytes(24).toString("base64url")
    const loopback = yield* listen(state, options.redirectPort ?? 0)
    const { kept, provider } = memory(loopback.redirectUrl, state, options, clientSecret)
    secrets.push(clientSecret, state)

    // A refusal says where the metadata is, and which scope is wanted.
    const challenge = yield* attempt(() => AuthorizationServer.challengeOf(url, fetchFn))
    const scope = auth.scope ?? challenge.scope
    const common = { serverUrl: url, fetchFn, ...challenge, ...(scope === undefined ? {} : { scope }) }
    yield* attempt(() => sdk.auth(provider, common))
    if (kept.address === undefined) {
      return yield* new AuthorizationError({ reason: "the authorisation server named no address to open" })
    }
    yield* options.onRedirect(kept.address)

    const { code, iss } = yield* loopback.callback.pipe(
      Effect.timeoutOrElse({
        duration: options.timeout ?? "5 minutes",
        orElse: () => new AuthorizationError({ reason: "nobody came back from the browser in time" })
      })
    )
    secrets.push(code, kept.verifier)
    yield* attempt(() =>
      sdk.auth(provider, { ...common, authorizationCode: code, ...(iss === undefined ? {} : { iss }) })
    )
    const { client, discovery, resource, tokens } = kept
    if (tokens === undefined || client === undefined || discovery === undefined) {
      return yield* new AuthorizationError({ reason: "the authorisation server gave no token" })
    }
    const file = TokenStore.fileOf(options.url, auth)
    const expiresAt = tokens.expires_in === undefined
      ? undefined
      : clock.currentTimeMillisUnsafe() + tokens.expires_in * 1_000
    yield* attempt(() =>
      TokenStore.write(file, {
        url: options.url,
        authorizationServer: discovery.authorizationServerUrl,
        clientId: client.client_id,
        accessToken: tokens.access_token,
        ...(client.client_secret === undefined ? {} : { clientSecret: client.client_secret }),
        ...(resource === undefined ? {} : { resource }),
        ...(tokens.refresh_token === undefined ? {} : { refreshToken: tokens.refresh_token }),
        ...(tokens.scope === undefined ? {} : { scope: tokens.scope }),
        ...(expiresAt === undefined ? {} : { expiresAt })
      })
    )
    return { file, expiresAt, renewable: tokens.refresh_token !== undefined }
  },
  Effect.scoped
)
