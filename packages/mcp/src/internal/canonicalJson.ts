import { isFields } from "../JsonRpc.ts"

/**
 * JSON whose text says only what is in it, not in what order.
 *
 * @internal
 */
export const canonicalJson = (value: unknown): string =>
  Array.isArray(value)
    ? `[${value.map(canonicalJson).join()}]`
    : isFields(value)
    ? `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonicalJson(value[name])}`).join()}}`
    : JSON.stringify(value) ?? "null"
