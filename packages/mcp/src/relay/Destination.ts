/**
 * What of the catalog a request names, and the request as that server takes it.
 *
 * @since 0.2.0
 */
import * as NearestName from "@portolan/core/NearestName"
import * as Effect from "effect/Effect"
import type { View } from "../catalog/Audiences.ts"
import type { Offer, OfferKind, ToolCatalog } from "../catalog/ToolCatalog.ts"
import { Code, type Fields, isFields, type Reply } from "../JsonRpc.ts"
import type { Client } from "./calls/Exchange.ts"
import * as Inputs from "./calls/Inputs.ts"
import * as Translation from "./calls/Translation.ts"
import * as Meta from "./Meta.ts"
import { failure } from "./Method.ts"
import * as Callers from "./sessions/Callers.ts"

/**
 * Finds what requests name.
 *
 * @category models
 * @since 0.2.0
 */
export interface Destination {
  /** Succeeds once the servers that are known at the start have been read, or a moment has passed. */
  readonly settled: Effect.Effect<void>
  /** The same, and what they offer to clients that can be asked what this one can. */
  readonly settledFor: (client: Client) => Effect.Effect<void>
  /** What is offered to a client. Plain. */
  readonly offersFor: (client: Client) => View
  /** Finds an offer; a server that is still connecting may have it. */
  readonly find: (
    kind: OfferKind,
    name: string,
    client: Client,
    use: (offer: Offer | undefined) => Effect.Effect<Reply>
  ) => Effect.Effect<Reply>
  /** The reply to a request that names what nobody offers. Plain. */
  readonly unknown: (kind: OfferKind, name: string, client: Client) => Reply
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
  const settledFor = ({ caller }: Client): Effect.Effect<void> => {
    if (!Callers.isAskable(caller.capabilities)) return settled
    const theirs = catalog.audiences.settled(caller)
    return Effect.suspend(() =>
      settledOnce ? theirs : Effect.all([theirs, settled], { concurrency: "unbounded", discard: true })
    )
  }
  const offersFor = ({ caller }: Client): View => catalog.audiences.of(caller) ?? catalog
  return {
    settled,
    settledFor,
    offersFor,
    find: (kind, name, client, use) => {
      const offer = offersFor(client).find(kind, name)
      return offer !== undefined
        ? use(offer)
        : Effect.flatMap(settledFor(client), () => use(offersFor(client).find(kind, name)))
    },
    unknown: (kind, name, client) => {
      if (kind === "resources") return { error: Translation.unknownResource(client.era, name) }
      const nearest = NearestName.nearest(name, offersFor(client).list(kind).map((offer) => offer.publicName))
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
  const meta = Meta.withoutHop(Meta.of(params))
  const next: Record<string, unknown> = { ...rest, ...changed }
  if (meta !== undefined) next["_meta"] = meta
  const { inputResponses } = rest
  if (isFields(inputResponses)) next["inputResponses"] = Inputs.onward(inputResponses)
  return next
}
