/**
 * `_meta`: what belongs to one hop is taken off before a message goes on to the next.
 *
 * @since 0.1.0
 */
import { type Fields, isFields } from "../JsonRpc.ts"

/**
 * Keys of `_meta` that Portolan reads or writes.
 *
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/index#meta
 * @category constants
 * @since 0.1.0
 */
export const Key = {
  progressToken: "progressToken",
  protocolVersion: "io.modelcontextprotocol/protocolVersion",
  clientInfo: "io.modelcontextprotocol/clientInfo",
  clientCapabilities: "io.modelcontextprotocol/clientCapabilities",
  serverInfo: "io.modelcontextprotocol/serverInfo",
  logLevel: "io.modelcontextprotocol/logLevel",
  subscriptionId: "io.modelcontextprotocol/subscriptionId",
  /** How a call was routed (R4). */
  routing: "dev.portolan/routing"
} as const

const hopKeys: ReadonlySet<string> = new Set([
  Key.progressToken,
  Key.protocolVersion,
  Key.clientInfo,
  Key.clientCapabilities,
  Key.serverInfo,
  Key.logLevel,
  Key.subscriptionId,
  // What another gateway says of its routes, or somebody claims of ours.
  Key.routing
])

/**
 * Gives the `_meta` of parameters or a result.
 *
 * @category accessors
 * @since 0.1.0
 */
export const of = (fields: Fields | undefined): Fields | undefined => {
  const meta = fields?.["_meta"]
  return isFields(meta) ? meta : undefined
}

/**
 * Copies a `_meta` without the keys of its hop; `undefined` where nothing is left. Trace context and the keys of others
 * stay.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withoutHop = (meta: Fields | undefined): Record<string, unknown> | undefined => {
  if (meta === undefined) return undefined
  let rest: Record<string, unknown> | undefined
  for (const name of Object.keys(meta)) {
    if (hopKeys.has(name) || name === "__proto__") continue
    rest ??= {}
    rest[name] = meta[name]
  }
  return rest
}

/**
 * Gives parameters or a result for the next hop: the same where there is no `_meta`, else a copy whose `_meta` is without the
 * keys of this hop.
 *
 * @category combinators
 * @since 0.2.0
 */
export const onward = (fields: Fields): Fields => {
  const meta = of(fields)
  if (meta === undefined) return fields
  const { _meta, ...rest } = fields
  const kept = withoutHop(meta)
  return kept === undefined ? rest : { ...rest, _meta: kept }
}

/**
 * Gives parameters that ask for progress under a token.
 *
 * @category combinators
 * @since 0.2.0
 */
export const withProgress = (params: Fields, progressToken: string | number): Fields => ({
  ...params,
  _meta: { ...of(params), [Key.progressToken]: progressToken }
})
