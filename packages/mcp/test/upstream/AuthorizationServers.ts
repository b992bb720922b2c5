/**
 * An authorisation server of OAuth 2.1, and MCP servers that want its tokens.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { createHash, randomUUID } from "node:crypto"
import type { IncomingMessage, RequestListener } from "node:http"
import * as Servers from "./Servers.ts"

export interface Authority {
  readonly url: string
  /** Form fields of all token requests. */
  readonly requests: Array<Record<string, string>>
  readonly registered: Array<Record<string, unknown>>
  /** Tokens that count. */
  readonly valid: Set<string>
  readonly settings: {
    /** Seconds. */
    expiresIn: number | undefined
    /** Answers each token request so, where it stands. */
    error: { readonly status: number; readonly body: object } | undefined
    rotate: boolean
  }
  /** What a browser does: follows the address and comes back with the redirect's answer. */
  readonly agree: (address: URL) => Effect.Effect<string>
  /** Lets those pass that carry a valid token; a refusal says where the metadata is. */
  readonly guard: (inner: RequestListener) => RequestListener
  readonly admits: (request: IncomingMessage) => boolean
}

export const secret = "the-client-secret"

/** Listens until the scope ends. */
export const make: Effect.Effect<Authority, never, Scope.Scope> = Effect.gen(function*() {
  const requests: Authority["requests"] = []
  const registered: Authority["registered"] = []
  const valid = new Set<string>()
  const refresh = new Set<string>()
  const codes = new Map<string, { readonly challenge: string; readonly redirect: string; readonly client: string }>()
  const settings: Authority["settings"] = { expiresIn: 3_600, error: undefined, rotate: true }

  const issue = (renewable: boolean) => {
    const access = `access-${randomUUID()}`
    valid.add(access)
    const renewal = `refresh-${randomUUID()}`
    if (renewable) refresh.add(renewal)
    return {
      access_token: access,
      token_type: "Bearer",
      ...(settings.expiresIn === undefined ? {} : { expires_in: settings.expiresIn }),
      ...(renewable ? { refresh_token: renewal } : {})
    }
  }

  const token = (form: URLSearchParams, authorization: string | undefined): { status: number; body: object } => {
    requests.push({ ...Object.fromEntries(form), ...(authorization === undefined ? {} : { authorization }) })
    if (settings.error !== undefined) return settings.error
    switch (form.get("grant_type")) {
      case "client_credentials":
        return authorization === `Basic ${Buffer.from(`me:${secret}`).toString("base64")}`
          ? { status: 200, body: issue(false) }
          : { status: 401, body: { error: "invalid_client", error_description: `no: ${authorization} ${secret}` } }
      case "authorization_code": {
        const code = codes.get(form.get("code") ?? "")
        codes.delete(form.get("code") ?? "")
        const challenge = createHash("sha256").update(form.get("code_verifier") ?? "").digest("base64url")
        return code !== undefined && code.challenge === challenge && code.redirect === form.get("redirect_uri") &&
            code.client === form.get("client_id")
          ? { status: 200, body: issue(true) }
          : { status: 400, body: { error: "invalid_grant" } }
      }
      case "refresh_token": {
        const old = form.get("refresh_token") ?? ""
        if (!refresh.has(old)) return { status: 400, body: { error: "invalid_grant" } }
        if (settings.rotate) refresh.delete(old)
        return { status: 200, body: issue(settings.rotate) }
      }
      default:
        return { status: 400, body: { error: "unsupported_grant_type" } }
    }
  }

  const running: Servers.Running = yield* Servers.listen((request, response) => {
    const url = new URL(request.url ?? "/", `http://127.0.0.1:${running.port}`)
    const origin = `http://127.0.0.1:${running.port}`
    switch (url.pathname) {
      case "/.well-known/oauth-authorization-server":
        return Servers.json(response, 200, {
          issuer: origin,
          authorization_endpoint: `${origin}/authorize`,
          token_endpoint: `${origin}/token`,
          registration_endpoint: `${origin}/register`,
          response_types_supported: ["code"],
          code_challenge_methods_supported: ["S256"],
          token_endpoint_auth_methods_supported: ["client_secret_basic", "none"],
          authorization_response_iss_parameter_supported: true
        })
      case "/register":
        return void Servers.body(request).then((text) => {
          const client: Record<string, unknown> = JSON.parse(text)
          registered.push(client)
          Servers.json(response, 201, { ...client, client_id: `client-${registered.length}` })
        })
      case "/authorize": {
        const query = url.searchParams
        const redirect = new URL(query.get("redirect_uri") ?? "")
        const code = randomUUID()
        codes.set(code, {
          challenge: query.get("code_challenge") ?? "",
          redirect: redirect.href,
          client: query.get("client_id") ?? ""
        })
        redirect.searchParams.set("code", code)
        redirect.searchParams.set("state", query.get("state") ?? "")
        redirect.searchParams.set("iss", origin)
        return void response.writeHead(302, { location: redirect.href }).end()
      }
      case "/token":
        return void Servers.body(request).then((text) => {
          const { body, status } = token(new URLSearchParams(text), request.headers.authorization)
          Servers.json(response, status, body)
        })
      default:
        return void response.writeHead(404).end()
    }
  })
  const origin = `http://127.0.0.1:${running.port}`

  const admits = (request: IncomingMessage) => valid.has(request.headers.authorization?.replace(/^Bearer /, "") ?? "")
  const metadata = (request: IncomingMessage) => `http://${request.headers.host}/somewhere/metadata`

  return {
    url: origin,
    requests,
    registered,
    valid,
    settings,
    admits,
    agree: (address) =>
      Effect.promise(async () => {
        const answer = await fetch(address, { redirect: "follow" })
        return answer.text()
      }),
    guard: (inner) => (request, response) => {
      if (request.url === "/somewhere/metadata") {
        return Servers.json(response, 200, {
          resource: `http://${request.headers.host}/`,
          authorization_servers: [origin],
          scopes_supported: ["tools"]
        })
      }
      if (admits(request)) return inner(request, response)
      request.resume()
      response.writeHead(401, {
        "www-authenticate": `Bearer error="invalid_token", resource_metadata="${metadata(request)}", scope="tools"`
      }).end("go away")
    }
  }
})
