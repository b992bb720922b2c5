/**
 * An MCP server that wants OAuth 2, and the authorisation server that it names, in one: whoever opens its address agrees.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { createServer, type ServerResponse } from "node:http"

const json = (response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}) =>
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body))

/** Starts it; `refuse` makes it say that the person didn't agree. */
export const authorizing = (
  options: { readonly refuse?: boolean } = {}
): Effect.Effect<{ readonly url: string }, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<{ readonly url: string; readonly close: () => void }>((resume) => {
      let base = ""
      const server = createServer((request, response) => {
        const { pathname, searchParams } = new URL(request.url ?? "/", base)
        request.resume()
        if (pathname.startsWith("/.well-known/oauth-protected-resource")) {
          return json(response, 200, { resource: `${base}/mcp`, authorization_servers: [base] })
        }
        if (pathname.startsWith("/.well-known/")) {
          return json(response, 200, {
            issuer: base,
            authorization_endpoint: `${base}/authorize`,
            token_endpoint: `${base}/token`,
            registration_endpoint: `${base}/register`,
            response_types_supported: ["code"],
            grant_types_supported: ["authorization_code", "refresh_token"],
            code_challenge_methods_supported: ["S256"],
            token_endpoint_auth_methods_supported: ["none"]
          })
        }
        if (pathname === "/register") {
          return json(response, 201, {
            client_id: "us",
            redirect_uris: ["http://127.0.0.1/callback"],
            token_endpoint_auth_method: "none"
          })
        }
        if (pathname === "/authorize") {
          const back = new URL(searchParams.get("redirect_uri") ?? base)
          back.searchParams.set("state", searchParams.get("state") ?? "")
          if (options.refuse === true) back.searchParams.set("error", "access_denied")
          else back.searchParams.set("code", "the-code")
          return response.writeHead(302, { location: back.href }).end()
        }
        if (pathname === "/token") {
          return json(response, 200, {
            access_token: "the-access-token",
            token_type: "Bearer",
            expires_in: 3600,
            refresh_token: "the-refresh-token"
          })
        }
        const metadata = `${base}/.well-known/oauth-protected-resource/mcp`
        json(response, 401, { error: "no token" }, { "www-authenticate": `Bearer resource_metadata="${metadata}"` })
      }).listen(0, "127.0.0.1", () => {
        const address = server.address()
        base = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
        const close = () => {
          server.close()
          server.closeAllConnections()
        }
        resume(Effect.succeed({ url: `${base}/mcp`, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )
