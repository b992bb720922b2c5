/**
 * What a request of the stateless era must carry, in the body and, over HTTP, repeated in the headers.
 *
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#server-validation
 * @since 0.1.0
 */
import { handshakeVersions, statelessVersions } from "../Era.ts"
import * as HeaderValue from "../HeaderValue.ts"
import { Code, isFields, type JsonRpcErrorObject, type JsonRpcNotification, type JsonRpcRequest } from "../JsonRpc.ts"
import type { Client } from "./calls/Forwarding.ts"
import { isLogLevel, type LogLevel } from "./LogLevel.ts"
import * as Meta from "./Meta.ts"
import { headerMismatch } from "./Refusals.ts"
import * as Callers from "./sessions/Callers.ts"

/**
 * Reads a header; `undefined` where it isn't there.
 *
 * @category models
 * @since 0.1.0
 */
export type HeaderOf = (name: string) => string | undefined

/**
 * What a request says of its client, or why it is refused (with HTTP status 400).
 *
 * @category models
 * @since 0.1.0
 */
export type Envelope =
  | { readonly client: Client; readonly logLevel: LogLevel | undefined }
  | { readonly error: JsonRpcErrorObject }

/**
 * Tells whether a version is of the stateless era.
 *
 * @category guards
 * @since 0.1.0
 */
export const isStatelessVersion = (version: unknown): boolean => statelessVersions.some((known) => known === version)

/**
 * Tells whether a message says that it is of the stateless era, rightly or not.
 *
 * @category guards
 * @since 0.1.0
 */
export const claims = (message: JsonRpcRequest | JsonRpcNotification): boolean => {
  const meta = Meta.of(message.params)
  return meta !== undefined && Object.hasOwn(meta, Meta.Key.protocolVersion)
}

/**
 * Makes the error for a version that isn't spoken here.
 *
 * @category constructors
 * @since 0.1.0
 */
export const unsupported = (requested: unknown): JsonRpcErrorObject => ({
  code: Code.unsupportedProtocolVersion,
  message: "Unsupported protocol version",
  data: { supported: [...statelessVersions, ...handshakeVersions], requested }
})

const invalid = (message: string): Envelope => ({ error: { code: Code.invalidParams, message } })

/** Compares the standard headers with the body. */
const headersOf = (request: JsonRpcRequest, version: string, header: HeaderOf): JsonRpcErrorObject | undefined => {
  const versionHeader = header("mcp-protocol-version")
  if (versionHeader === undefined) return headerMismatch("MCP-Protocol-Version is missing")
  if (versionHeader !== version) {
    return headerMismatch(`MCP-Protocol-Version is ${versionHeader}, but the body names ${version}`)
  }
  const method = header("mcp-method")
  if (method === undefined) return headerMismatch("Mcp-Method is missing")
  if (method !== request.method) return headerMismatch(`Mcp-Method is ${method}, but the body names ${request.method}`)
  const name = HeaderValue.nameOf(request.method, request.params)
  if (name === undefined) return undefined
  const nameHeader = header("mcp-name")
  if (nameHeader === undefined) return headerMismatch("Mcp-Name is missing")
  const decoded = HeaderValue.decode(nameHeader)
  if (decoded === undefined) return headerMismatch("Mcp-Name is not valid Base64")
  return decoded === name ? undefined : headerMismatch(`Mcp-Name is ${decoded}, but the body names ${name}`)
}

/**
 * Checks a request. A transport without headers gives none: there is nothing to compare then.
 *
 * @category constructors
 * @since 0.1.0
 */
export const check = (
  request: JsonRpcRequest,
  header: HeaderOf | undefined,
  principal: string | undefined
): Envelope => {
  const meta = Meta.of(request.params)
  const missing = meta === undefined
    ? ["_meta"]
    : [Meta.Key.protocolVersion, Meta.Key.clientCapabilities].filter((name) => !Object.hasOwn(meta, name))
  if (meta === undefined || missing.length > 0) {
    return invalid(`Missing in every request of protocol version 2026-07-28: ${missing.join(", ")}`)
  }
  const version = meta[Meta.Key.protocolVersion]
  if (typeof version !== "string") return invalid(`${Meta.Key.protocolVersion} must be a string`)
  const capabilities = meta[Meta.Key.clientCapabilities]
  if (!isFields(capabilities)) return invalid(`${Meta.Key.clientCapabilities} must be an object`)
  const info = meta[Meta.Key.clientInfo]
  if (info !== undefined && !isFields(info)) return invalid(`${Meta.Key.clientInfo} must be an object`)
  const logLevel = meta[Meta.Key.logLevel]
  if (logLevel !== undefined && !isLogLevel(logLevel)) return invalid(`${Meta.Key.logLevel} is not a log level`)
  const error = header === undefined ? undefined : headersOf(request, version, header)
  if (error !== undefined) return { error }
  if (!isStatelessVersion(version)) return { error: unsupported(version) }
  const caller = Callers.make(principal, capabilities)
  return { client: { era: "stateless", protocolVersion: version, info, capabilities, principal, caller }, logLevel }
}
