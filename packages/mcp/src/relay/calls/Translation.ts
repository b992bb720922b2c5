/**
 * What definitions, results and errors of one era look like in the other.
 *
 * **Details**: unknown fields stay. What a client of the handshake era could not read is left out, because its SDK
 * refuses a whole list for one definition it doesn't understand.
 *
 * @since 0.1.0
 */
import * as TaskSupport from "../../catalog/TaskSupport.ts"
import type { OfferKind } from "../../catalog/ToolCatalog.ts"
import type { Era } from "../../Era.ts"
import { Code, type Fields, isFields, type JsonRpcErrorObject } from "../../JsonRpc.ts"

/** "Resource not found" of the handshake era; the stateless era forbids it. */
const resourceNotFound = -32002

/**
 * What definitions are translated for: the stateless era, the version of the handshake era that has tasks, or an earlier one.
 *
 * @category models
 * @since 0.2.0
 */
export type Dialect = "stateless" | "tasks" | "earlier"

/**
 * Gives the dialect of a client.
 *
 * @category accessors
 * @since 0.2.0
 */
export const dialectOf = (client: { readonly era: Era; readonly protocolVersion: string }): Dialect =>
  client.era === "stateless" ? "stateless" : client.protocolVersion === "2025-11-25" ? "tasks" : "earlier"

/**
 * Gives a definition as clients read it. That tools run as tasks is of version 2025-11-25 alone; an `outputSchema` that isn't
 * one of an object came with the stateless era.
 *
 * @category combinators
 * @since 0.1.0
 */
export const definition = (dialect: Dialect, kind: OfferKind, fields: Fields): Fields => {
  if (kind !== "tools") return fields
  if (dialect === "stateless") return TaskSupport.without(fields)
  const told = dialect === "earlier" ? TaskSupport.without(fields) : fields
  const { outputSchema, ...rest } = told
  return outputSchema === undefined || (isFields(outputSchema) && outputSchema["type"] === "object")
    ? told
    : rest
}

/**
 * Gives a server's result as a client of an era reads it; `meta` replaces its `_meta`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const result = (
  era: Era,
  method: string,
  fields: Fields,
  meta: Record<string, unknown> | undefined
): Fields => {
  const translated: Record<string, unknown> = { ...fields }
  if (meta === undefined) delete translated["_meta"]
  else translated["_meta"] = meta
  if (era === "stateless") {
    translated["resultType"] = "complete"
    if (method === "resources/read") {
      const ttl = fields["ttlMs"]
      translated["ttlMs"] = typeof ttl === "number" && ttl >= 0 ? ttl : 0
      translated["cacheScope"] = fields["cacheScope"] === "public" ? "public" : "private"
    }
    return translated
  }
  delete translated["resultType"]
  delete translated["ttlMs"]
  delete translated["cacheScope"]
  const structured = fields["structuredContent"]
  if (structured !== undefined && !isFields(structured)) {
    delete translated["structuredContent"]
    if (!Array.isArray(fields["content"]) || fields["content"].length === 0) {
      translated["content"] = [{ type: "text", text: JSON.stringify(structured) }]
    }
  }
  return translated
}

/**
 * Gives a server's error as a client of an era reads it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const error = (era: Era, given: JsonRpcErrorObject): JsonRpcErrorObject => {
  // These speak of the headers and the version between the gateway and the server: the client can't mend them.
  if (given.code === Code.headerMismatch || given.code === Code.unsupportedProtocolVersion) {
    return { code: Code.internalError, message: `The server refused the gateway's request: ${given.message}` }
  }
  return era === "stateless" && given.code === resourceNotFound ? { ...given, code: Code.invalidParams } : given
}

/**
 * Makes the error for a resource that nobody offers.
 *
 * @category constructors
 * @since 0.1.0
 */
export const unknownResource = (era: Era, uri: string): JsonRpcErrorObject => ({
  code: era === "stateless" ? Code.invalidParams : resourceNotFound,
  message: `Resource not found: ${uri}`,
  data: { uri }
})
