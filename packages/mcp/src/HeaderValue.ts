/**
 * Values of the stateless era's headers that mirror the body.
 *
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#value-encoding
 * @since 0.1.0
 */
import type { Fields } from "./JsonRpc.ts"

// Visible ASCII, with blanks and tabs inside.
const plain = /^[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?$/
const sentinel = /^=\?base64\?(.*)\?=$/s
const canonicalBase64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/**
 * Text as a header can hold it: as it is, or in the form `=?base64?…?=`.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encode = (text: string): string =>
  plain.test(text) && !sentinel.test(text) ? text : `=?base64?${Buffer.from(text, "utf8").toString("base64")}?=`

/**
 * The text that the value of a header stands for; `undefined` where it claims to be Base64 and isn't.
 *
 * @category encoding
 * @since 0.1.0
 */
export const decode = (value: string): string | undefined => {
  const encoded = sentinel.exec(value)?.[1]
  if (encoded === undefined) return value
  if (!canonicalBase64.test(encoded)) return undefined
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(encoded, "base64"))
  } catch {
    return undefined
  }
}

/**
 * What `Mcp-Name` repeats of a request, not yet encoded; none where the method has none.
 *
 * @category encoding
 * @since 0.1.0
 */
export const nameOf = (method: string, params: Fields | undefined): string | undefined => {
  const name = method === "tools/call" || method === "prompts/get"
    ? params?.["name"]
    : method === "resources/read"
    ? params?.["uri"]
    : method === "tasks/get" || method === "tasks/update" || method === "tasks/cancel"
    ? params?.["taskId"]
    : undefined
  return typeof name === "string" ? name : undefined
}
