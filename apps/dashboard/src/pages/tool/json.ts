/**
 * Texts of JSON as they are written. One that is read and written anew may say something else: digits that a browser
 * doesn't keep are gone, and so is all but the last of what has one name.
 */
const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"|[[\]{},:]|[^\s[\]{},:"]+/g

/** Characters of a text that is set, and of what it comes to: what indents deep levels may be far longer. */
const mostRead = 1_000_000
const mostSet = 5_000_000

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** A text that is JSON of some structure, set so that people can read it: numbers and names stay as they are. */
export const readable = (text: string): string | undefined => {
  if (text.length > mostRead || !/^\s*[[{]/.test(text) || !isJson(text)) return undefined
  let set = ""
  let depth = 0
  let before = ""
  for (const token of text.match(tokens) ?? []) {
    const begun = before === "[" || before === "{"
    const ends = token === "]" || token === "}"
    if (begun) depth++
    if (ends) depth--
    if (before === "," || begun !== ends) set += `\n${"  ".repeat(depth)}`
    // Letters of other scripts may be written as numbers.
    set += token === ":" ? ": " : token.includes("\\u") ? JSON.stringify(JSON.parse(token)) : token
    if (set.length > mostSet) return undefined
    before = token
  }
  return set
}

const isKept = (token: string): boolean => {
  const value = Number(token)
  return Number.isFinite(value) && (!/^[+-]?\d+$/.test(token) || BigInt(token) === BigInt(value))
}

/** A number that a browser would send as another one. Fractions are rounded everywhere. */
export const lossy = (text: string): string | undefined =>
  text.match(tokens)?.find((token) => /^[+-]?\d/.test(token) && !isKept(token))
