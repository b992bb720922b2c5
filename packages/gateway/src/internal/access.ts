/**
 * Who may talk to the listener: Host against DNS rebinding, Origin against foreign web pages.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#security-warning
 */
import type { IncomingMessage, ServerResponse } from "node:http"

export interface AccessOptions {
  /** Address listened on. */
  readonly host: string
  readonly publicUrl?: string | undefined
  readonly allowedHosts?: ReadonlyArray<string> | undefined
  readonly allowedOrigins?: ReadonlyArray<string> | undefined
}

/** Why a request is refused. */
export interface Refusal {
  readonly title: string
  readonly detail: string
}

const isLoopback = (name: string): boolean =>
  name === "localhost" || name === "[::1]" || /^127(\.\d{1,3}){3}$/.test(name)

/** Whether the `Host` of a request names the machine that it was sent from. */
export const isOwnName = (host: string): boolean => isLoopback(URL.parse(`http://${host}`)?.hostname ?? "")

const isWildcard = (host: string): boolean => host === "0.0.0.0" || host === "::"

const bare = (address: string): string => address.startsWith("::ffff:") ? address.slice(7) : address

/** Makes the test whether pages of an origin are the gateway's own, by the name it was asked under, or are allowed. */
export const pages = (
  { allowedOrigins = [], publicUrl }: Pick<AccessOptions, "allowedOrigins" | "publicUrl">
): (origin: string, host: string | undefined) => boolean => {
  const own = publicUrl === undefined ? null : URL.parse(publicUrl)
  const origins = new Set([...allowedOrigins, ...own === null ? [] : [own.origin]])
  return (origin, host) => origins.has(origin) || origin === `http://${host}` || origin === `https://${host}`
}

/** Why pages of an origin that is neither may not even read; those of this machine may. */
export const refusedPage = (origin: string): Refusal | undefined => {
  const page = URL.parse(origin)
  return page !== null && isLoopback(page.hostname)
    ? undefined
    : {
      title: "Origin not allowed",
      detail: `${origin} may not use this gateway; allow it with gateway.allowedOrigins`
    }
}

/** Makes the check; it answers why a request is refused, or nothing. */
export const make = (options: AccessOptions): (request: IncomingMessage) => Refusal | undefined => {
  const own = options.publicUrl === undefined ? null : URL.parse(options.publicUrl)
  const hosts = new Set(
    [
      ...isWildcard(options.host) ? [] : [options.host],
      ...options.allowedHosts ?? [],
      ...own === null ? [] : [own.host, own.hostname]
    ]
      .map((host) => host.toLowerCase())
  )
  const isOurs = pages(options)

  const refusedHost = (header: string | undefined, local: string): Refusal | undefined => {
    const host = header === undefined ? null : URL.parse(`http://${header}`)
    if (host === null) return { title: "Host not allowed", detail: "the request names no host" }
    // An address that is the one connected to is no name that somebody else's DNS could answer for.
    const name = host.hostname
    return isLoopback(name) || name === local || name === `[${local}]` || hosts.has(name) || hosts.has(host.host)
      ? undefined
      : {
        title: "Host not allowed",
        detail: `${name} is none of our names; allow it with gateway.allowedHosts or publicUrl`
      }
  }

  // What passed last mostly comes again, and parsing it costs more than all else here.
  let passed: { readonly header: string | undefined; readonly local: string } | undefined

  return (request) => {
    const header = request.headers.host
    const local = bare(request.socket.localAddress ?? "")
    if (passed === undefined || passed.header !== header || passed.local !== local) {
      const refusal = refusedHost(header, local)
      if (refusal !== undefined) return refusal
      passed = { header, local }
    }
    const origin = request.headers.origin
    return origin === undefined || isOurs(origin, header) ? undefined : refusedPage(origin)
  }
}

/** Lets the pages that passed the check read our answers; answers their preflight requests. True where that is all. */
export const share = (request: IncomingMessage, response: ServerResponse): boolean => {
  const origin = request.headers.origin
  if (origin === undefined) return false
  response.setHeader("access-control-allow-origin", origin)
  response.setHeader(
    "access-control-expose-headers",
    "Mcp-Session-Id, Mcp-Protocol-Version, WWW-Authenticate, ETag, Location"
  )
  response.setHeader("vary", "Origin")
  if (request.method !== "OPTIONS" || request.headers["access-control-request-method"] === undefined) return false
  response.writeHead(204, {
    "access-control-allow-methods": "GET, POST, PUT, DELETE, OPTIONS",
    "access-control-allow-headers": request.headers["access-control-request-headers"] ?? "*",
    "access-control-max-age": "600"
  }).end()
  return true
}

/** Answers with a problem (RFC 9457). */
export const problem = (response: ServerResponse, status: number, title: string, detail: string): void => {
  response.writeHead(status, { "content-type": "application/problem+json", "connection": "close" })
    .end(JSON.stringify({ type: "about:blank", status, title, detail }))
}
