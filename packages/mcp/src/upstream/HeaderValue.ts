/**
 * Values of the stateless era's headers that mirror the body.
 *
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#value-encoding
 * @since 0.1.0
 */
import type { Fields } from "../JsonRpc.ts"

// Visible ASCII, with blanks and tabs inside.
const plain = /^[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?$/

/**
 * Text as a header can hold it: as it is, or in the form `=?base64?…?=`.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encode = (text: string): string =>
  plain.test(text) && !(text.startsWith("=?base64?") && text.endsWith("?="))
    ? text
    : `=?base64?${Buffer.from(text, "utf8").toString("base64")}?=`

/**
 * The value of `Mcp-Name` for a request; none where the method has none.
 *
 * @category encoding
 * @since 0.1.0
 */
export const nameOf = (method: string, params: Fields | undefined): string | undefined => {
  const name = method === "tools/call" || method === "prompts/get"
    ? params?.["name"]
    : method === "resources/read"
    ? params?.["uri"]
    : undefined
  return typeof name === "string" ? encode(name) : undefined
}
