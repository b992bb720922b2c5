/**
 * The filters of `discovery/discover`.
 *
 * @since 0.2.0
 */
import * as NearestName from "@portolan/core/NearestName"
import * as Query from "@portolan/core/Query"
import * as Result from "effect/Result"
import { createHash } from "node:crypto"
import type { Offer } from "../../catalog/Offer.ts"
import { type Fields, isFields } from "../../JsonRpc.ts"
import type { Origin } from "./Origins.ts"

/**
 * What is asked for.
 *
 * @category models
 * @since 0.2.0
 */
export interface DiscoveryFilter {
  /** The same for the same filters. */
  readonly id: string
  /** Whether an instance is among those asked for. Plain. */
  readonly matches: (subject: Query.QuerySubject) => boolean
  /** Whether an offer of such instances is. Plain. */
  readonly takes: (offer: Offer, origin: Origin) => boolean
}

/** An instance or an offer must meet all of them. */
const filters: ReadonlySet<string> = new Set(["tags", "available", "source", "search"])
const others = ["filters", "cursor", "_meta"]

/** Bounds the work of one request: patterns of a filter, and characters of `search`. */
const most = { patterns: 64, search: 256 }

const given = (params: Fields): Fields | string => {
  const inside = params["filters"]
  if (inside !== undefined && !isFields(inside)) return "filters: expected an object"
  const found: Record<string, unknown> = {}
  for (const [where, fields] of [["", params], ["filters.", inside ?? {}]] as const) {
    for (const [name, value] of Object.entries(fields)) {
      if (where === "" && others.includes(name)) continue
      if (!filters.has(name)) return `${where}${name}: unknown filter${NearestName.hint(name, filters)}`
      if (name in found) return `${where}${name}: it is given twice`
      if (Array.isArray(value) && value.length > most.patterns) {
        return `${where}${name}: expected at most ${most.patterns} patterns`
      }
      if (typeof value === "string" && value.length > most.search) {
        return `${where}${name}: expected at most ${most.search} characters`
      }
      found[name] = value
    }
  }
  return found
}

/** The texts of an offer in which words are looked for: those that an answer shows. */
const textOf = ({ definition, publicName, service }: Offer, { tags }: Origin): string =>
  [publicName, definition["name"], definition["title"], definition["description"], service, ...tags]
    .filter((text) => typeof text === "string").join("\n").toLowerCase()

/**
 * Reads the filters: those of `params.filters`, or of the parameters themselves. The answer is a mistake in one line where
 * they can't be used.
 *
 * @category decoding
 * @since 0.2.0
 */
export const decode = (params: Fields): DiscoveryFilter | string => {
  const found = given(params)
  if (typeof found === "string") return found
  const mistake = ({ path, reason }: Query.QueryError) =>
    `${isFields(params["filters"]) ? "filters." : ""}${path}: ${reason}`
  const decoded = Query.decode(found)
  if (Result.isFailure(decoded)) return mistake(decoded.failure)
  const { available, search = "", source, tags } = decoded.success
  // Of an offer, and not of each instance that has it: what is left to call makes it available.
  const compiled = Query.compile({ source, tags })
  if (Result.isFailure(compiled)) return mistake(compiled.failure)
  const words = search.toLowerCase().split(/\s+/).filter((word) => word !== "")
  return {
    id: createHash("sha256").update(JSON.stringify([available, search, source, tags])).digest("base64url").slice(0, 12),
    matches: compiled.success,
    takes: (offer, origin) => {
      if (available !== undefined && origin.available !== available) return false
      if (words.length === 0) return true
      const text = textOf(offer, origin)
      return words.every((word) => text.includes(word))
    }
  }
}
