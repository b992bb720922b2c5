/**
 * One thing that a service offers to clients.
 *
 * @since 0.1.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import type { Target } from "@portolan/core/Router"
import type { Fields } from "../JsonRpc.ts"

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
  /**
   * Whether running it twice does no harm: for tools where all who list it say `readOnlyHint` or `idempotentHint`, always for
   * the others.
   */
  readonly repeatable: boolean
  /**
   * Whether it changes nothing, so that it may run twice at once: for tools where all who list it say `readOnlyHint`, always
   * for the others.
   */
  readonly readOnly: boolean
  /** Instances that list it, now. Plain. */
  readonly instances: () => ReadonlyArray<InstanceKey>
  /** Whether an instance lists it, now. Plain. */
  readonly has: (key: InstanceKey) => boolean
}

/** What servers offer, by the list that holds it. */
export type OfferKind = "tools" | "resources" | "resourceTemplates" | "prompts"

/** List of which a `list_changed` notification speaks. */
export type ListKind = "tools" | "resources" | "prompts"

/**
 * Something that a server lists and clients don't see, and why: another service has the name, a definition is none that may
 * be offered, or its registry may not offer it.
 *
 * @category models
 * @since 0.1.0
 */
export interface HiddenOffer {
  readonly kind: OfferKind
  readonly publicName: string
  readonly service: string
  /** One line. */
  readonly reason: string
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

/** All kinds of offers. */
export const offerKinds: ReadonlyArray<OfferKind> = ["tools", "resources", "resourceTemplates", "prompts"]

/** All lists. */
export const listKinds: ReadonlyArray<ListKind> = ["tools", "resources", "prompts"]
