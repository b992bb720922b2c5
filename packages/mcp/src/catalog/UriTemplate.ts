/**
 * Recognises the URIs that a URI template makes (RFC 6570), so that a read of an unlisted resource finds its server, and
 * reads the values of its variables.
 *
 * **Details**: expressions of levels 1 to 3 are recognised by the characters that their expansion may hold. Templates come
 * from servers, so matching takes time linear in the URI whatever they hold: the positions that each part can end at are
 * carried from part to part, and nothing is ever tried twice.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6570
 * @since 0.1.0
 */

/** What an expression expands to: characters outside `stops`, at least `least` of them, after `lead` where it has one. */
interface Expansion {
  readonly lead: string
  readonly stops: string
  readonly least: 0 | 1
  /** What stands between two variables. */
  readonly between: string
  /** Whether each value stands behind its name. */
  readonly named: boolean
}

const simple: Expansion = { lead: "", stops: "/?#", least: 1, between: ",", named: false }

const expansions: Readonly<Record<string, Expansion>> = {
  "+": { lead: "", stops: "?#", least: 1, between: ",", named: false },
  "#": { lead: "#", stops: "", least: 0, between: ",", named: false },
  ".": { lead: ".", stops: "/?#", least: 0, between: ".", named: false },
  "/": { lead: "/", stops: "?#", least: 0, between: "/", named: false },
  ";": { lead: ";", stops: "/?#", least: 0, between: ";", named: true },
  "?": { lead: "?", stops: "#", least: 0, between: "&", named: true },
  "&": { lead: "&", stops: "#", least: 0, between: "&", named: true }
}

interface Expression extends Expansion {
  readonly variables: ReadonlyArray<string>
}

type Part = string | Expression

const parse = (template: string): ReadonlyArray<Part> | undefined => {
  const parts: Array<Part> = []
  let rest = template
  while (rest !== "") {
    const open = rest.indexOf("{")
    if (open === -1) return [...parts, rest]
    const close = rest.indexOf("}", open)
    if (close === -1 || parts.length > 32) return undefined
    if (open > 0) parts.push(rest.slice(0, open))
    const inside = rest.slice(open + 1, close)
    const expansion = expansions[inside[0] ?? ""]
    const variables = (expansion === undefined ? inside : inside.slice(1)).split(",")
    // Without what says how much of a value is written.
    const names = variables.map((variable) => variable.replace(/(\*|:\d+)$/, ""))
    parts.push({ ...(expansion ?? simple), variables: names })
    rest = rest.slice(close + 1)
  }
  return parts
}

/** The positions of `uri` at which `part` can end, given those at which it can begin. */
const advance = (uri: string, part: Part, begins: ReadonlyArray<boolean>): ReadonlyArray<boolean> => {
  const ends = Array.from({ length: uri.length + 1 }, () => false)
  if (typeof part === "string") {
    for (let at = 0; at <= uri.length; at++) {
      if (begins[at] === true && uri.startsWith(part, at)) ends[at + part.length] = true
    }
    return ends
  }
  let running = false
  for (let at = 0; at <= uri.length; at++) {
    // Optional as a whole where it needs no character.
    if (part.least === 0 && begins[at] === true) ends[at] = true
    if (running) ends[at] = true
    const character = uri[at]
    if (character === undefined) break
    const starts = begins[at] === true && (part.lead === "" || character === part.lead)
    running = (starts && (part.lead !== "" || !part.stops.includes(character))) ||
      (running && !part.stops.includes(character))
  }
  return ends
}

/** Where `part` begins when it ends at `end`: as late as it can, so that the parts before it get what they can. */
const beginning = (uri: string, part: Part, end: number, begins: ReadonlyArray<boolean>): number => {
  if (typeof part === "string") return end - part.length
  for (let at = end - 1; at >= 0; at--) {
    const character = uri[at] ?? ""
    if (begins[at] === true && (part.lead === "" ? !part.stops.includes(character) : character === part.lead)) return at
    if (part.stops.includes(character)) break
  }
  return end
}

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const valuesOf = ({ between, lead, named, variables }: Expression, text: string): ReadonlyArray<[string, string]> => {
  if (text === "") return []
  const values = text.slice(lead.length).split(between)
  if (named) {
    return values.flatMap((pair): ReadonlyArray<[string, string]> => {
      const [name = "", ...value] = pair.split("=")
      return variables.includes(name) ? [[name, decode(value.join("="))]] : []
    })
  }
  // What is left over belongs to the last: one that stands for a list.
  const last = variables.length - 1
  return variables.slice(0, values.length).map((name, index) => [
    name,
    decode((index === last ? values.slice(index) : values.slice(index, index + 1)).join(between))
  ])
}

/** Longest URI that matches anything. */
const longest = 2_048

/**
 * Makes a predicate of a template; `undefined` where the template is malformed or has more than 32 parts. URIs longer than
 * 2,048 characters match nothing.
 *
 * @category constructors
 * @since 0.1.0
 */
export const compile = (template: string): ((uri: string) => boolean) | undefined => {
  const parts = parse(template)
  if (parts === undefined) return undefined
  const [first] = parts
  const prefix = typeof first === "string" ? first : ""
  return (uri) => {
    if (uri.length > longest || !uri.startsWith(prefix)) return false
    let reached: ReadonlyArray<boolean> = [true]
    for (const part of parts) reached = advance(uri, part, reached)
    return reached[uri.length] === true
  }
}

/**
 * Makes the function that reads the values of a template's variables, decoded; it gives `undefined` for a URI that the
 * template doesn't make. Where a URI can be read in several ways, the first variables get as much as they can.
 *
 * @category constructors
 * @since 0.1.0
 */
export const reader = (
  template: string
): ((uri: string) => Readonly<Record<string, string>> | undefined) | undefined => {
  const parts = parse(template)
  if (parts === undefined) return undefined
  return (uri) => {
    if (uri.length > longest) return undefined
    const reached: Array<ReadonlyArray<boolean>> = [[true]]
    for (const part of parts) reached.push(advance(uri, part, reached.at(-1) ?? []))
    if (reached.at(-1)?.[uri.length] !== true) return undefined
    const read: Array<[string, string]> = []
    let end = uri.length
    for (const [index, part] of Array.from(parts.entries()).toReversed()) {
      const begin = beginning(uri, part, end, reached[index] ?? [])
      if (typeof part !== "string") read.unshift(...valuesOf(part, uri.slice(begin, end)))
      end = begin
    }
    return Object.fromEntries(read)
  }
}
