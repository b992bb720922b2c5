/**
 * What of the catalog a request names, and the request as that server takes it.
 *
 * @since 0.2.0
 */
import * as NearestName from "@portolan/core/NearestName"
import * as Effect from "effect/Effect"
import type { Offer, OfferKind, ToolCatalog } from "../catalog/ToolCatalog.ts"
import type { Era } from "../Era.ts"
import { Code, type Fields, isFields, type Reply } from "../JsonRpc.ts"
import * as Inputs from "./Inputs.ts"
import * as Meta from "./Meta.ts"
import { failure } from "./Method.ts"
import * as Translation from "./Translation.ts"

/**
 * Finds what requests name.
 *
 * @category models
 * @since 0.2.0
 */
export interface Destination {
  /** Succeeds once the servers that are known at the start have been read, or a moment has passed. */
  readonly settled: Effect.Effect<void>
  /** Finds an offer; a server that is still connecting may have it. */
  readonly find: (
    kind: OfferKind,
    name: string,
    use: (offer: Offer | undefined) => Effect.Effect<Reply>
  ) => Effect.Effect<Reply>
  /** The reply to a request that names what nobody offers. Plain. */
  readonly unknown: (kind: OfferKind, name: string, era: Era) => Reply
}

const words: Readonly<Record<OfferKind, string>> = {
  tools: "tool",
  prompts: "prompt",
  resources: "resource",
  resourceTemplates: "resource template"
}

/**
 * Makes it.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (catalog: ToolCatalog["Service"]): Destination => {
  let settledOnce = false
  const settled = Effect.suspend(() =>
    settledOnce ? Effect.void : Effect.map(catalog.settled, () => {
      settledOnce = true
    })
  )
  return {
    settled,
    find: (kind, name, use) => {
      const offer = catalog.find(kind, name)
      return offer !== undefined || settledOnce
        ? use(offer)
        : Effect.flatMap(settled, () => use(catalog.find(kind, name)))
    },
    unknown: (kind, name, era) => {
      if (kind === "resources") return { error: Translation.unknownResource(era, name) }
      const nearest = NearestName.nearest(name, catalog.list(kind).map((offer) => offer.publicName))
      return failure(
        Code.invalidParams,
        `Unknown ${words[kind]}: ${name}${nearest === undefined ? "" : `. Did you mean ${nearest}?`}`
      )
    }
  }
}

/**
 * Gives parameters for the next hop: `changed` in place of what was given, and no `_meta` of the client's hop, nor in its
 * answers. `task` asks for what isn't declared here, and is then to be ignored.
 *
 * @category combinators
 * @since 0.2.0
 */
export const outgoing = (params: Fields, changed: Fields): Record<string, unknown> => {
  const { _meta, task: _task, ...rest } = params
  if (isFields(rest["inputResponses"])) rest["inputResponses"] = Inputs.onward(rest["inputResponses"])
  const meta = Meta.withoutHop(Meta.of(params))
  return meta === undefined ? { ...rest, ...changed } : { ...rest, ...changed, _meta: meta }
}
