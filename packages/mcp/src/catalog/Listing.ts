/**
 * Reads what one server lists, page by page to the end.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type Fields, isFields } from "../JsonRpc.ts"
import { oneLine } from "../upstream/transports/Connection.ts"
import { type Upstream, UpstreamError } from "../upstream/Upstream.ts"
import * as Freshness from "./Freshness.ts"
import type { ListKind, OfferKind } from "./Offer.ts"

/** The request that lists a kind, where its items stand in the result, and which field names an item. */
const requests: Readonly<
  Record<OfferKind, { readonly method: string; readonly items: string; readonly name: string }>
> = {
  tools: { method: "tools/list", items: "tools", name: "name" },
  resources: { method: "resources/list", items: "resources", name: "uri" },
  resourceTemplates: { method: "resources/templates/list", items: "resourceTemplates", name: "uriTemplate" },
  prompts: { method: "prompts/list", items: "prompts", name: "name" }
}

/**
 * The kinds that a list-changed notification of a list speaks of.
 *
 * @category models
 * @since 0.1.0
 */
export const kinds: Readonly<Record<ListKind, ReadonlyArray<OfferKind>>> = {
  tools: ["tools"],
  resources: ["resources", "resourceTemplates"],
  prompts: ["prompts"]
}

/**
 * Bounds on what one server may list: beyond them the listing is an error of that server.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListingLimits {
  /** Pages of one list. */
  readonly pages: number
  /** Items of one list. */
  readonly items: number
  /** Time for one page. */
  readonly timeout: Duration.Input
}

/** What a list may cost where nothing else is said. */
export const defaultLimits: ListingLimits = { pages: 500, items: 10_000, timeout: "10 seconds" }

/**
 * One list, to its end.
 *
 * @category models
 * @since 0.2.0
 */
export interface Listed {
  /** By name. */
  readonly items: ReadonlyMap<string, Fields>
  /** What the server says of all pages together. None: it has no such list. */
  readonly hints: Freshness.Hints | undefined
}

/**
 * Reads one list. Items without a name are left out; of several with one name the first counts. A method that the server
 * doesn't know is an empty list.
 *
 * **Details**: a repeated cursor, too many pages or items, a time-out and an answer without the list fail with an
 * `UpstreamError`: half a list is never returned.
 *
 * @category listing
 * @since 0.1.0
 */
export const read = Effect.fnUntraced(function*(
  upstream: Pick<Upstream, "instance" | "request" | "state">,
  kind: OfferKind,
  limits: ListingLimits = defaultLimits
): Effect.fn.Return<Listed, UpstreamError> {
  const { items, method, name } = requests[kind]
  const found = new Map<string, Fields>()
  const cursors = new Set<string>()
  let hints: Freshness.Hints | undefined
  const broken = (reason: string) =>
    new UpstreamError({ instance: upstream.instance().id, phase: "answered", reason: oneLine(`${method}: ${reason}`) })

  let cursor: string | undefined
  for (let page = 0; page < limits.pages; page++) {
    const reply = yield* upstream.request({ method, params: cursor === undefined ? {} : { cursor } }).pipe(
      Effect.timeoutOrElse({
        duration: limits.timeout,
        orElse: () =>
          Effect.fail(broken(`no answer within ${Duration.format(Duration.fromInputUnsafe(limits.timeout))}`))
      })
    )
    if ("error" in reply) {
      if (reply.error.code === -32601) return { items: found, hints }
      return yield* broken(`error ${reply.error.code}: ${reply.error.message}`)
    }
    const list = reply.result[items]
    if (!Array.isArray(list)) return yield* broken(`the result has no "${items}" list`)
    for (const item of list) {
      if (!isFields(item)) continue
      const key = item[name]
      if (typeof key === "string" && key !== "" && !found.has(key)) found.set(key, item)
    }
    if (found.size > limits.items) return yield* broken(`more than ${limits.items} items`)
    const given = Freshness.hints(reply.result)
    hints = hints === undefined ? given : Freshness.together(hints, given)
    const next = reply.result["nextCursor"]
    // Before the stateless era nobody said that an empty one leads on, and some servers end like that.
    if (typeof next !== "string" || (next === "" && upstream.state().profile?.era !== "stateless")) {
      return { items: found, hints }
    }
    if (cursors.has(next)) return yield* broken("the server repeats its cursor")
    cursors.add(next)
    cursor = next
  }
  return yield* broken(`more than ${limits.pages} pages`)
})
