/**
 * Lists of what is offered, in pages with cursors of our own.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { ListKind, Offer, OfferKind, ToolCatalog } from "../../catalog/ToolCatalog.ts"
import type { Era } from "../../Era.ts"
import { Code, type Fields } from "../../JsonRpc.ts"
import * as Translation from "../calls/Translation.ts"
import type { Destination } from "../Destination.ts"
import { everyEra, failure, type Method, type Part } from "../Method.ts"

/** The list methods, the offers they list, the field they list them in, and the list that a `list_changed` names. */
const listed: Readonly<Record<string, { readonly kind: OfferKind; readonly list: ListKind }>> = {
  "tools/list": { kind: "tools", list: "tools" },
  "resources/list": { kind: "resources", list: "resources" },
  "resources/templates/list": { kind: "resourceTemplates", list: "resources" },
  "prompts/list": { kind: "prompts", list: "prompts" }
}

const encodeCursor = (kind: OfferKind, last: string): string =>
  Buffer.from(JSON.stringify([kind, last]), "utf8").toString("base64url")

/** The last name of the page before. */
const decodeCursor = (kind: OfferKind, cursor: unknown): string | undefined => {
  if (typeof cursor !== "string") return undefined
  let decoded: unknown
  try {
    decoded = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8"))
  } catch {
    return undefined
  }
  if (!Array.isArray(decoded) || decoded.length !== 2 || decoded[0] !== kind) return undefined
  const last: unknown = decoded[1]
  return typeof last === "string" ? last : undefined
}

/**
 * Settings. Read for each page.
 *
 * @category models
 * @since 0.2.0
 */
export interface ListsSettings {
  /** Items in a page. */
  readonly pageSize: number
  /** How long clients may keep a page where a server in the list doesn't say, ms. */
  readonly listTtl: number
}

/**
 * Makes the function that gives a page; `undefined` for a cursor that isn't ours.
 *
 * **Details**: a cursor names the last item of its page, and the list is in the order of the names: one that changes between
 * two pages repeats and skips nothing. The settings are read for each page. Definitions are translated once per list and
 * dialect.
 *
 * @category constructors
 * @since 0.1.0
 */
export const pages = (
  catalog: Pick<ToolCatalog["Service"], "list">,
  settings: Pick<ListsSettings, "pageSize">
) => {
  const translated = new WeakMap<ReadonlyArray<Offer>, Map<Translation.Dialect, ReadonlyArray<Fields>>>()
  const definitionsOf = (dialect: Translation.Dialect, kind: OfferKind, all: ReadonlyArray<Offer>) => {
    let ofList = translated.get(all)
    if (ofList === undefined) translated.set(all, ofList = new Map())
    let made = ofList.get(dialect)
    if (made === undefined) {
      ofList.set(dialect, made = all.map(({ definition }) => Translation.definition(dialect, kind, definition)))
    }
    return made
  }
  return (
    client: { readonly era: Era; readonly protocolVersion: string },
    kind: OfferKind,
    cursor: unknown,
    { list } = catalog
  ): Record<string, unknown> | undefined => {
    const { pageSize } = settings
    const offers = list(kind)
    const all = definitionsOf(Translation.dialectOf(client), kind, offers)
    let start = 0
    if (cursor !== undefined) {
      const last = decodeCursor(kind, cursor)
      if (last === undefined) return undefined
      start = offers.findIndex((offer) => offer.publicName > last)
      if (start === -1) start = offers.length
    }
    if (start === 0 && all.length <= pageSize) return { [kind]: all }
    const end = Math.min(start + pageSize, all.length)
    const last = offers[end - 1]
    const page: Record<string, unknown> = { [kind]: all.slice(start, end) }
    if (end < all.length && last !== undefined) page["nextCursor"] = encodeCursor(kind, last.publicName)
    return page
  }
}

/**
 * Makes the part. Lists wait for `settledFor`; `identity` is the `_meta` with which the gateway says who it is.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  catalog: Pick<ToolCatalog["Service"], "list" | "freshness">,
  { offersFor, settledFor }: Pick<Destination, "offersFor" | "settledFor">,
  settings: ListsSettings,
  identity: Fields
): Part => {
  const page = pages(catalog, settings)
  const methods: Record<string, Method> = {}
  for (const [method, { kind, list }] of Object.entries(listed)) {
    methods[method] = {
      eras: everyEra,
      answer: ({ params }, { client, known }) =>
        settledFor(client).pipe(
          Effect.andThen(catalog.freshness(kind)),
          Effect.map(({ scope, silent, ttl }) => {
            const offers = offersFor(client)
            const result = page(client, kind, params?.["cursor"], offers)
            if (result === undefined) {
              return failure(Code.invalidParams, "Invalid cursor: it is not one of this server's")
            }
            known?.listed.set(list, offers.revision(list))
            if (client.era === "handshake") return { result }
            const ttlMs = silent ? Math.min(ttl, settings.listTtl) : ttl
            return { result: { ...result, resultType: "complete", ttlMs, cacheScope: scope, _meta: identity } }
          })
        )
    }
  }
  return { methods }
}
