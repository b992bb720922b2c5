/**
 * What all announced servers offer: tools, resources, resource templates and prompts, replicas merged, under public names
 * with an exact table back.
 *
 * @since 0.1.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import type { Target } from "@portolan/core/Router"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { Fields } from "../JsonRpc.ts"

/**
 * How public names are made: `prefix` puts the service before each, `conflict` only before those that collide, `none`
 * never (the earlier registry wins a collision).
 *
 * @category models
 * @since 0.1.0
 */
export interface NamingOptions {
  readonly naming: "prefix" | "conflict" | "none"
  /** Default `__`. */
  readonly separator: string
  /** Longest public name; longer ones are shortened with a hash. None by default. */
  readonly maxLength?: number | undefined
}

/**
 * One thing that a service offers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Offer {
  /** Name (tools, prompts), URI (resources) or URI template (templates) that clients use. */
  readonly publicName: string
  /** The same as the server knows it. */
  readonly name: string
  readonly service: string
  /** The definition as the server gave it, under its public name; unknown fields kept. */
  readonly definition: Fields
  /** One object per offer, reused: the router caches by it. Accepts exactly the instances that list it. */
  readonly target: Target
  /** Whether running it twice does no harm: `readOnlyHint` or `idempotentHint` for tools, always for the others. */
  readonly repeatable: boolean
  /** Instances that list it, now. Plain. */
  readonly instances: () => ReadonlyArray<InstanceKey>
}

export type OfferKind = "tools" | "resources" | "resourceTemplates" | "prompts"

/** List of which a `list_changed` notification speaks. */
export type ListKind = "tools" | "resources" | "prompts"

/**
 * A name that could not be had: another service of an earlier registry has it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Collision {
  readonly kind: OfferKind
  readonly publicName: string
  readonly service: string
  readonly winner: string
}

/**
 * What the servers can do, taken together: what the relay may tell its clients (never invented).
 *
 * @category models
 * @since 0.1.0
 */
export interface OfferedCapabilities {
  readonly tools: boolean
  readonly resources: boolean
  readonly prompts: boolean
  readonly completions: boolean
  readonly logging: boolean
}

/**
 * Service that keeps the offers.
 *
 * @category services
 * @since 0.1.0
 */
export class ToolCatalog extends Context.Service<ToolCatalog, {
  /** All offers of a kind, in a deterministic order; the same array while nothing changed. Plain. */
  readonly list: (kind: OfferKind) => ReadonlyArray<Offer>
  /** Exact table: public name to offer. A resource that is not listed is found by the templates. Plain. */
  readonly find: (kind: OfferKind, publicName: string) => Offer | undefined
  /** Grows with each change of a list. Plain. */
  readonly revision: (kind: ListKind) => number
  /** One element per change of a list; changes that come together are one. First element: the first change after subscribing. */
  readonly changes: Stream.Stream<ReadonlySet<ListKind>>
  /** Waits until every announced server was asked once (or failed), at most 2 s after the start of the wait. */
  readonly settled: Effect.Effect<void>
  readonly capabilities: () => OfferedCapabilities
  readonly collisions: () => ReadonlyArray<Collision>
  /** Instances whose lists failed or are stale, with the reason, for `status`. Plain. */
  readonly problems: () => ReadonlyArray<{ readonly key: InstanceKey; readonly reason: string }>
}>()("@portolan/mcp/catalog/ToolCatalog") {}
