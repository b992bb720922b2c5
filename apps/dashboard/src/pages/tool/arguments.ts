/**
 * Arguments of a call where they leave the page: in its address, and as a command.
 */
import { parsed } from "./draft.ts"
import { isObject, type Schema } from "./schema.ts"

/** Longest arguments that an address carries. */
const longest = 4_000

/** For the `args` of an address; none where they are too long for one. */
export const addressed = (given: unknown): string | undefined => {
  const text = JSON.stringify(given)
  return text === undefined || text.length > longest ? undefined : text
}

/** What can't be read is there to be seen as it is written. */
export const fromAddress = (text: string | null): Schema | undefined => {
  const value = parsed(text ?? "")
  return isObject(value) ? value : undefined
}

const quoted = (text: string): string => /^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`

/** What nobody sees, a terminal may take for a key. */
const unseen = /[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g

const jsonOf = (value: unknown): string =>
  JSON.stringify(value).replaceAll(unseen, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** The same call in a shell. */
export const command = (tool: string, given: unknown, gateway: string): string =>
  `portolan call --url ${quoted(gateway)} --args ${quoted(jsonOf(given ?? {}))} ${tool.startsWith("-") ? "-- " : ""}${
    quoted(tool)
  }`
