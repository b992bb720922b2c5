/**
 * Arguments of a call where they leave the page: in its address, and as a command.
 */
import { isObject, type Schema } from "./schema.ts"

/** Longest arguments that an address carries. */
const longest = 4_000

/** For the `args` of an address; none where they are too long for one. */
export const addressed = (given: unknown): string | undefined => {
  const text = JSON.stringify(given)
  return text === undefined || text.length > longest ? undefined : text
}

export const fromAddress = (text: string | null): Schema | undefined => {
  if (text === null) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

const quoted = (text: string): string => /^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`

/** The same call in a shell. */
export const command = (tool: string, given: unknown, gateway: string): string =>
  `portolan call ${quoted(tool)} --args ${quoted(JSON.stringify(given ?? {}))} --gateway ${quoted(gateway)}`
