/**
 * Which instances a program's call may go to, and under which name each of them has the tool.
 *
 * **Details**: a public name means one offer. A name that servers give means every service that offers it, which must be
 * one unless the caller narrows. A capability is had by an instance that announces it, or that lists a tool which an alias
 * or its own name makes stand for it.
 *
 * @since 0.1.0
 */
import type { CatalogEntry, InstanceKey } from "@portolan/core/Catalog"
import type { Discovery } from "@portolan/core/Discovery"
import * as NearestName from "@portolan/core/NearestName"
import { pattern, type Query } from "@portolan/core/Query"
import type { Target } from "@portolan/core/Router"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as TaskSupport from "../catalog/TaskSupport.ts"
import type { Offer, OfferKind, ToolCatalog } from "../catalog/ToolCatalog.ts"
import { AmbiguousTool, NoTool } from "./CallError.ts"

/**
 * What a program asks for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Wanted {
  readonly kind: Exclude<OfferKind, "resourceTemplates">
  /** None: whichever tool stands for the capabilities. */
  readonly name: string | undefined
  readonly service?: string | undefined
  readonly capabilities?: ReadonlyArray<string> | undefined
  readonly query?: Query | undefined
}

/**
 * Where a call may go.
 *
 * @category models
 * @since 0.1.0
 */
export interface Plan {
  readonly name: string
  readonly target: Target
  readonly repeatable: boolean
  readonly readOnly: boolean
  /** What an instance has of it, now. */
  readonly offerOf: (key: InstanceKey) => Offer | undefined
}

/**
 * Resolves what programs ask for. Plain; the answer is kept while the catalog is the same.
 *
 * @category models
 * @since 0.1.0
 */
export type Resolve = (wanted: Wanted) => Result.Result<Plan, NoTool | AmbiguousTool>

/** Plans kept; one that was not asked for longest makes room. */
const plansKept = 1_000

const words = { tools: "tool", resources: "resource", prompts: "prompt" } as const

/** What is wanted, as the catalog has it at this moment. */
interface Found {
  readonly repeatable: boolean
  readonly readOnly: boolean
  readonly offers: ReadonlyMap<InstanceKey, Offer>
  readonly used: ReadonlyArray<Offer>
  readonly target: Target
}

interface Kept extends Plan {
  /** Of the catalog. */
  version: number
  revision: number
  repeatable: boolean
  readOnly: boolean
  offers: ReadonlyMap<InstanceKey, Offer>
  used: ReadonlyArray<Offer>
}

const nameOf = ({ capabilities = [], name }: Wanted): string => name ?? capabilities.join(", ")

const sameOffers = (one: ReadonlyMap<InstanceKey, Offer>, other: ReadonlyMap<InstanceKey, Offer>): boolean =>
  one.size === other.size && Array.from(one).every(([key, offer]) => other.get(key) === offer)

const sameTarget = (one: Target, other: Target): boolean =>
  one.service === other.service &&
  ServiceInstance.equals([one.capabilities, one.services, one.names], [
    other.capabilities,
    other.services,
    other.names
  ])

/**
 * Makes it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (catalog: ToolCatalog["Service"], discovery: Discovery["Service"]): Resolve => {
  const plans = new Map<string, Kept>()

  const entryOf = (key: InstanceKey): CatalogEntry | undefined =>
    Option.getOrUndefined(HashMap.get(discovery.catalog().entries, key))

  const announces = ({ instance }: CatalogEntry, capability: string): boolean =>
    instance.capabilities.some(pattern(capability))

  const has = (entry: CatalogEntry, capability: string): boolean =>
    announces(entry, capability) || catalog.offering(capability).some(({ target }) => target.accepts?.(entry) === true)

  const meets = ({ capabilities = [], service }: Wanted, offer: Offer, entry: CatalogEntry): boolean =>
    (service === undefined || service === offer.service || service === entry.instance.service) &&
    capabilities.every((capability) => has(entry, capability))

  const isNarrowed = ({ capabilities = [], query, service }: Wanted): boolean =>
    capabilities.length > 0 || query !== undefined || service !== undefined

  /** Everything of the name, whoever has it. */
  const offersOf = (wanted: Wanted, name: string): ReadonlyArray<Offer> => {
    const exact = catalog.find(wanted.kind, name)
    // A public name is exact; narrowing asks for others that have the name too.
    if (exact !== undefined && !isNarrowed(wanted)) return [exact]
    const named = catalog.named(wanted.kind, name)
    return exact === undefined || named.includes(exact) ? named : [exact, ...named]
  }

  /** The tools that stand for capabilities, first choice first; last those that are the only one of an announcing instance. */
  const offersFor = (capabilities: ReadonlyArray<string>): ReadonlyArray<Offer> => {
    const named = capabilities.flatMap(catalog.offering)
    const only = new Map<InstanceKey, Offer | undefined>()
    for (const offer of catalog.list("tools")) {
      if (TaskSupport.of(offer.definition) === "required") continue
      for (const key of offer.instances()) only.set(key, only.has(key) ? undefined : offer)
    }
    const sole = Array.from(only).flatMap(([key, offer]) => {
      const entry = entryOf(key)
      return offer !== undefined && entry !== undefined &&
          capabilities.every((capability) => announces(entry, capability))
        ? [offer]
        : []
    })
    return Array.from(new Set([...named, ...sole]))
  }

  const nothing = (wanted: Wanted, offers: ReadonlyArray<Offer>): NoTool => {
    const name = nameOf(wanted)
    const { capabilities = [], kind, service } = wanted
    const word = words[kind]
    if (wanted.name === undefined) {
      const reason = "no tool stands for this capability; name one with `tool`, or in `catalog.aliases`"
      return new NoTool({ requested: name, reason })
    }
    if (offers.length === 0) {
      const known = catalog.list(kind).flatMap((offer) => [offer.publicName, offer.name])
      return new NoTool({
        requested: name,
        reason: `nobody offers this ${word}${NearestName.hint(wanted.name, known)}`
      })
    }
    const services = Array.from(new Set(offers.map((offer) => offer.service))).join(", ")
    const conditions = [
      ...(service === undefined ? [] : [`service ${service}`]),
      ...(capabilities.length === 0 ? [] : [`capability ${capabilities.join(" and ")}`])
    ]
    const left = conditions.length === 0
      ? "none of them is announced now"
      : `no instance with ${conditions.join(" and ")}`
    return new NoTool({
      requested: name,
      reason: `${services} ${services.includes(",") ? "offer" : "offers"} this ${word}, but ${left}`
    })
  }

  const find = (wanted: Wanted): Result.Result<Found, NoTool | AmbiguousTool> => {
    const { capabilities = [], name, query } = wanted
    const candidates = name === undefined ? offersFor(capabilities) : offersOf(wanted, name)
    const offers = new Map<InstanceKey, Offer>()
    let announced = true
    for (const offer of candidates) {
      for (const key of offer.instances()) {
        const entry = entryOf(key)
        if (entry === undefined || offers.has(key) || !meets(wanted, offer, entry)) continue
        if (!capabilities.every((capability) => announces(entry, capability))) announced = false
        offers.set(key, offer)
      }
    }
    const used = Array.from(new Set(offers.values()))
    const [first] = used
    if (first === undefined) return Result.fail(nothing(wanted, candidates))
    if (name !== undefined && capabilities.length === 0 && query === undefined) {
      const services = new Map(used.map((offer) => [offer.service, offer]))
      if (services.size > 1) {
        return Result.fail(
          new AmbiguousTool({
            requested: name,
            candidates: Array.from(services.values(), ({ publicName, service }) => ({ service, publicName }))
          })
        )
      }
    }
    return Result.succeed({
      repeatable: used.every((offer) => offer.repeatable),
      readOnly: used.every((offer) => offer.readOnly),
      offers,
      used,
      target: {
        service: used.every((offer) => offer.target.service === first.target.service)
          ? first.target.service
          : undefined,
        // The router asks for announced ones; rules look at them.
        capabilities: announced && capabilities.length > 0 ? capabilities : undefined,
        services: Array.from(new Set(used.flatMap((offer) => offer.target.services ?? []))),
        names: Array.from(new Set(used.flatMap((offer) => offer.target.names ?? [])))
      }
    })
  }

  const keep = (id: string, plan: Kept): Kept => {
    plans.delete(id)
    plans.set(id, plan)
    if (plans.size > plansKept) {
      for (const oldest of plans.keys()) {
        plans.delete(oldest)
        break
      }
    }
    return plan
  }

  return (wanted) => {
    const version = catalog.version()
    const id = JSON.stringify([wanted.kind, wanted.name, wanted.service, wanted.capabilities, wanted.query])
    const known = plans.get(id)
    if (known?.version === version) return Result.succeed(keep(id, known))
    return Result.map(find(wanted), ({ offers, readOnly, repeatable, target, used }) => {
      // The router keeps what it found for a target, so that is replaced only where it has to be.
      if (known !== undefined && sameTarget(known.target, target)) {
        if (!sameOffers(known.offers, offers)) known.revision++
        return keep(id, Object.assign(known, { version, repeatable, readOnly, offers, used }))
      }
      // An instance that moved to another registry is known to its offer before it is asked again.
      const offerTo = (entry: CatalogEntry): Offer | undefined =>
        plan.offers.get(entry.key) ??
          plan.used.find((offer) => offer.target.accepts?.(entry) === true && meets(wanted, offer, entry))
      const plan: Kept = {
        name: nameOf(wanted),
        target: {
          ...target,
          query: wanted.query,
          accepts: (entry) => offerTo(entry) !== undefined,
          revision: () => plan.revision
        },
        offerOf: (key) => {
          const entry = entryOf(key)
          return entry === undefined ? undefined : offerTo(entry)
        },
        version,
        revision: 0,
        repeatable,
        readOnly,
        offers,
        used
      }
      return keep(id, plan)
    })
  }
}
