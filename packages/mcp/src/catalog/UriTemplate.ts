/**
 * Recognises the URIs that a URI template makes (RFC 6570), so that a read of an unlisted resource finds its server.
 *
 * **Details**: expressions of levels 1 to 3 are recognised by the characters that their expansion may hold; values aren't
 * extracted. Templates come from servers, so matching takes time linear in the URI whatever they hold: the positions that
 * each part can end at are carried from part to part, and nothing is ever tried twice.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6570
 * @since 0.1.0
 */

/** What an expression expands to: characters outside `stops`, at least `least` of them, after `lead` where it has one. */
interface Expansion {
  readonly lead: string
  readonly stops: string
  readonly least: 0 | 1
}

const expansions: Readonly<Record<string, Expansion>> = {
  "": { lead: "", stops: "/?#", least: 1 },
  "+": { lead: "", stops: "?#", least: 1 },
  "#": { lead: "#", stops: "", least: 0 },
  ".": { lead: ".", stops: "/?#", least: 0 },
  "/": { lead: "/", stops: "?#", least: 0 },
  ";": { lead: ";", stops: "/?#", least: 0 },
  "?": { lead: "?", stops: "#", least: 0 },
  "&": { lead: "&", stops: "#", least: 0 }
}

type Part = string | Expansion

const parse = (template: string): ReadonlyArray<Part> | undefined => {
  const parts: Array<Part> = []
  let rest = template
  while (rest !== "") {
    const open = rest.indexOf("{")
    if (open === -1) return [...parts, rest]
    const close = rest.indexOf("}", open)
    if (close === -1 || parts.length > 32) return undefined
    if (open > 0) parts.push(rest.slice(0, open))
    const expansion = expansions[rest[open + 1] ?? ""] ?? expansions[""]
    if (expansion !== undefined) parts.push(expansion)
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
    if (uri.length > 2_048 || !uri.startsWith(prefix)) return false
    let reached: ReadonlyArray<boolean> = [true]
    for (const part of parts) reached = advance(uri, part, reached)
    return reached[uri.length] === true
  }
}
