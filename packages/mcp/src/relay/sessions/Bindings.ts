/**
 * The instances that keep state for a session of a client: its calls go there while they live.
 *
 * **Mental model**: a session is bound per service, to the instance that its first call went to; where replicas offer
 * different things it may be bound to several. Servers that keep no state bind nobody.
 *
 * @since 0.1.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import type { RouteRequest } from "@portolan/core/Router"
import type { Offer } from "../../catalog/Offer.ts"
import type { Caller, Upstream } from "../../upstream/Upstream.ts"
import type { Upstreams } from "../../upstream/Upstreams.ts"

/**
 * How calls of one session stay together: `sticky`: with the instance that keeps its state, and elsewhere once that is
 * gone; `strict`: elsewhere never, such a session is lost; `free`: not at all.
 *
 * @category models
 * @since 0.1.0
 */
export type SessionMode = "sticky" | "strict" | "free"

/**
 * An instance that keeps state for a session.
 *
 * @category models
 * @since 0.1.0
 */
export interface Binding {
  instance: InstanceKey
  /** Id of the instance, for people. */
  id: string
  /** The upstream session that holds the state; none until something was answered over it. */
  session: symbol | undefined
  /** Why the session is lost for good. */
  lost: string | undefined
}

/**
 * The bindings of one session. Plain.
 *
 * @category models
 * @since 0.1.0
 */
export interface Bindings {
  /** The instance that keeps state for calls to an offer, there or gone. */
  readonly find: (offer: Offer, isThere: (key: InstanceKey) => boolean) => Binding | undefined
  /** Binds further calls for a service. */
  readonly add: (service: string, binding: Binding) => void
}

/** Services that one session is bound for, and instances of each; the oldest are forgotten first. */
const MaxServices = 256
const MaxInstances = 8

/**
 * Makes those of a new session.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): Bindings => {
  const bound = new Map<string, Array<Binding>>()
  return {
    find: (offer, isThere) => {
      const all = bound.get(offer.service)
      return all?.find(({ instance }) => offer.has(instance)) ?? all?.find(({ instance }) => !isThere(instance))
    },
    add: (service, binding) => {
      const all = bound.get(service)
      if (all !== undefined) {
        if (all.length >= MaxInstances) all.shift()
        all.push(binding)
        return
      }
      if (bound.size >= MaxServices) {
        const oldest = bound.keys().next()
        if (oldest.done !== true) bound.delete(oldest.value)
      }
      bound.set(service, [binding])
    }
  }
}

/**
 * One call of a session that is bound. Plain.
 *
 * @category models
 * @since 0.1.0
 */
export interface BoundCall {
  /** Where it is to go; asked before each attempt, as a call beside it may have moved the session meanwhile. */
  readonly affinity: () => RouteRequest["affinity"]
  /** Why the session is lost, if it is, and with which instance. */
  readonly lost: () => { readonly instance: string; readonly reason: string } | undefined
  /** An attempt begins. Gives the upstream session that it must not leave. */
  readonly begin: (upstream: Upstream, attempt: number) => symbol | undefined
  /** The server answered, whatever it was. */
  readonly answered: (upstream: Upstream) => void
  /** The session is lost for good. */
  readonly lose: (reason: string) => void
}

/**
 * Makes the binding of one call. `caller` is the client, where it has connections of its own to servers.
 *
 * @category constructors
 * @since 0.1.0
 */
export const call = (
  bindings: Bindings,
  offer: Offer,
  strict: boolean,
  upstreams: Pick<Upstreams["Service"], "get">,
  caller?: Caller
): BoundCall => {
  const isThere = (key: InstanceKey): boolean => upstreams.get(key) !== undefined
  const find = (): Binding | undefined => bindings.find(offer, isThere)

  /** Whether the state is where it was. */
  const holds = ({ instance, session }: Binding): boolean => {
    const upstream = upstreams.get(instance)
    return upstream?.state()._tag === "connected" && session !== undefined && upstream.session(caller) === session
  }

  return {
    affinity: () => {
      const binding = find()
      if (binding === undefined) return undefined
      return { instance: binding.instance, strict: strict && binding.session !== undefined }
    },
    lost: () => {
      const binding = strict ? find() : undefined
      return binding?.lost === undefined ? undefined : { instance: binding.id, reason: binding.lost }
    },
    begin: (upstream, attempt) => {
      // A server without sessions keeps nothing that could be lost.
      if (upstream.state().profile?.session === undefined) return undefined
      const id = upstream.instance().id
      const binding = find()
      if (binding === undefined) {
        bindings.add(offer.service, { instance: upstream.key, id, session: undefined, lost: undefined })
        return undefined
      }
      if (binding.instance === upstream.key) return strict ? binding.session : undefined
      // One failed attempt doesn't move a session whose state is still there.
      if (attempt > 1 && holds(binding)) return undefined
      binding.instance = upstream.key
      binding.id = id
      binding.session = undefined
      return undefined
    },
    answered: (upstream) => {
      const binding = find()
      const session = upstream.session(caller)
      if (binding === undefined || session === undefined) return
      if (binding.instance !== upstream.key) {
        // Of several that were tried at once, as a hedge is, the one that answered.
        if (binding.session !== undefined) return
        binding.instance = upstream.key
        binding.id = upstream.instance().id
      }
      binding.session = session
    },
    lose: (reason) => {
      const binding = find()
      if (binding !== undefined) binding.lost = reason
    }
  }
}
