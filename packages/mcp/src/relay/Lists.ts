/**
 * Lists of what is offered, in pages with cursors of our own.
 *
 * @since 0.1.0
 */
import type { ListKind, Offer, OfferKind, ToolCatalog } from "../catalog/ToolCatalog.ts"
import type { Era } from "../Era.ts"
import type { Fields } from "../JsonRpc.ts"
import * as Translation from "./Translation.ts"

/**
 * The list methods, the offers they list, the field they list them in, and the list that a `list_changed` names.
 *
 * @category constants
 * @since 0.1.0
 */
export const methods: ReadonlyMap<
  string,
  { readonly kind: OfferKind; readonly list: ListKind }
> = new Map([
  ["tools/list", { kind: "tools", list: "tools" }],
  ["resources/list", { kind: "resources", list: "resources" }],
  ["resources/templates/list", { kind: "resourceTemplates", list: "resources" }],
  ["prompts/list", { kind: "prompts", list: "prompts" }]
])

const encodeCursor = (kind: OfferKind, index: number, last: string): string =>
  Buffer.from(JSON.stringify([kind, index, last]), "utf8").toString("base64url")

const decodeCursor = (
  kind: OfferKind,
  cursor: unknown
): { readonly index: number; readonly last: string } | undefined => {
  if (typeof cursor !== "string") return undefined
  let decoded: unknown
  try {
    decoded = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8"))
  } catch {
    return undefined
  }
  if (!Array.isArray(decoded) || decoded.length !== 3 || decoded[0] !== kind) return undefined
  const index: unknown = decoded[1]
  const last: unknown = decoded[2]
  return typeof index === "number" && Number.isInteger(index) && index > 0 && typeof last === "string"
    ? { index, last }
    : undefined
}

/**
 * Makes the function that gives a page; `undefined` for a cursor that isn't ours.
 *
 * **Details**: a cursor names the last item of its page, so that a list which changes between two pages repeats and
 * skips as little as can be. The settings are read for each page. Definitions are translated once per list and era.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (catalog: ToolCatalog["Service"], settings: { readonly pageSize: number }) => {
  const translated = {
    handshake: new WeakMap<ReadonlyArray<Offer>, ReadonlyArray<Fields>>(),
    stateless: new WeakMap<ReadonlyArray<Offer>, ReadonlyArray<Fields>>()
  }
  const definitions = (era: Era, kind: OfferKind, offers: ReadonlyArray<Offer>): ReadonlyArray<Fields> => {
    const known = translated[era].get(offers)
    if (known !== undefined) return known
    const made = offers.map((offer) => Translation.definition(era, kind, offer.definition))
    translated[era].set(offers, made)
    return made
  }
  return (era: Era, kind: OfferKind, cursor: unknown): Record<string, unknown> | undefined => {
    const { pageSize } = settings
    const offers = catalog.list(kind)
    const all = definitions(era, kind, offers)
    let start = 0
    if (cursor !== undefined) {
      const decoded = decodeCursor(kind, cursor)
      if (decoded === undefined) return undefined
      const at = offers[decoded.index - 1]?.publicName === decoded.last
        ? decoded.index - 1
        : offers.findIndex((offer) => offer.publicName === decoded.last)
      // The item is gone: what stands in its place is next.
      start = at === -1 ? decoded.index - 1 : at + 1
    }
    if (start === 0 && all.length <= pageSize) return { [kind]: all }
    const end = Math.min(start + pageSize, all.length)
    const last = offers[end - 1]
    const page: Record<string, unknown> = { [kind]: all.slice(start, end) }
    if (end < all.length && last !== undefined) page["nextCursor"] = encodeCursor(kind, end, last.publicName)
    return page
  }
}
