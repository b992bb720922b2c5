/**
 * Sessions of the handshake era.
 *
 * **Mental model**: the id is the session; what is kept here is only what is going on in it. A session that was dropped
 * because it was idle, or because there were too many, or that another replica opened, comes back when its id is used.
 *
 * @since 0.1.0
 */
import { randomBytes } from "node:crypto"
import { InFlight } from "../internal/InFlight.ts"
import type { JsonRpcNotification } from "../JsonRpc.ts"
import * as Bindings from "./Bindings.ts"
import * as Callers from "./Callers.ts"
import type { Client } from "./Forwarding.ts"
import type { LogLevel } from "./LogLevel.ts"
import { type Known, makeKnown } from "./Notices.ts"
import type * as SessionSeal from "./SessionSeal.ts"
import type { Requests } from "./Traffic.ts"

/**
 * A way to the client for messages that belong to no request.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outlet {
  readonly notify: (notification: JsonRpcNotification) => void
  readonly end: () => void
}

/**
 * A client that begins a session.
 *
 * @category models
 * @since 0.2.0
 */
export type NewClient = Omit<Client, "affinity" | "bindings" | "caller">

/**
 * A session that is alive here.
 *
 * @category models
 * @since 0.1.0
 */
export interface Session {
  readonly id: string
  readonly client: Client
  /** Epoch ms. */
  readonly began: number
  /** Epoch ms. */
  readonly expires: number
  readonly known: Known
  logLevel: LogLevel | undefined
  readonly requests: Requests
  /** What is open; messages go to the newest alone. */
  readonly outlets: Array<Outlet>
  /** Epoch ms. */
  lastSeen: number
}

/**
 * Settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionsOptions {
  readonly seal: SessionSeal.SessionSeal
  /** Epoch ms. */
  readonly now: () => number
  readonly maxSessions: number
  /** ms */
  readonly idleTimeout: number
  /** ms */
  readonly lifetime: number
  /** A session is no longer kept here. Plain. */
  readonly onDrop: (session: Session) => void
}

/**
 * The sessions.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sessions {
  /** `undefined` where all that are allowed are busy. */
  readonly open: (client: NewClient) => Session | undefined
  readonly find: (id: string, principal: string | undefined) => Session | undefined
  /**
   * Begins a session that lives and ends with its client's connection: nobody finds it by an id. `undefined` where all that
   * are allowed are busy.
   */
  readonly attach: (client: NewClient, requests: Requests) => Session | undefined
  /** The client ended it: its id is worth nothing any more. */
  readonly end: (session: Session) => void
  /** Drops those that are idle or expired. */
  readonly sweep: () => void
  readonly all: () => Iterable<Session>
  readonly size: () => number
}

/**
 * Makes the store.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: SessionsOptions): Sessions => {
  const { now, seal } = options
  // In the order of use: the first is the one that was idle longest.
  const live = new Map<string, Session>()
  const ended = new Set<string>()
  const attached = new Set<Session>()

  const drop = (session: Session) => {
    live.delete(session.id)
    attached.delete(session)
    for (const outlet of session.outlets.splice(0)) outlet.end()
    options.onDrop(session)
  }

  const busy = (session: Session) => session.requests.size > 0 || session.outlets.length > 0

  const room = (): boolean => {
    if (live.size + attached.size < options.maxSessions) return true
    for (const session of live.values()) {
      if (busy(session)) continue
      drop(session)
      return true
    }
    return false
  }

  const make = (id: string, client: NewClient, expires: number, affinity: string, requests: Requests): Session => ({
    id,
    client: {
      ...client,
      affinity,
      bindings: Bindings.make(),
      caller: Callers.make(client.principal, client.capabilities)
    },
    // One that is gone on with here began on another replica.
    began: Math.min(now(), expires - options.lifetime),
    expires,
    known: makeKnown(),
    logLevel: undefined,
    requests,
    outlets: [],
    lastSeen: now()
  })

  const keep = (id: string, client: NewClient, expires: number, affinity: string): Session => {
    const session = make(id, client, expires, affinity, new InFlight())
    live.set(id, session)
    return session
  }

  const makeAffinity = () => randomBytes(9).toString("base64url")

  return {
    open: (client) => {
      if (!room()) return undefined
      const expires = now() + options.lifetime
      const affinity = makeAffinity()
      const { info, protocolVersion } = client
      const id = seal.seal({
        protocolVersion,
        info: info ?? {},
        capabilities: client.capabilities,
        principal: client.principal,
        expires,
        affinity
      })
      return keep(id, client, expires, affinity)
    },
    find: (id, principal) => {
      const known = live.get(id)
      if (known !== undefined) {
        if (known.client.principal !== principal || known.expires <= now()) return undefined
        known.lastSeen = now()
        live.delete(id)
        live.set(id, known)
        return known
      }
      if (ended.has(id)) return undefined
      const sealed = seal.open(id)
      if (sealed === undefined || sealed.expires <= now() || sealed.principal !== principal || !room()) return undefined
      const { affinity, capabilities, expires, info, protocolVersion } = sealed
      return keep(id, { era: "handshake", protocolVersion, info, capabilities, principal }, expires, affinity)
    },
    attach: (client, requests) => {
      if (!room()) return undefined
      const session = make("", client, Infinity, makeAffinity(), requests)
      attached.add(session)
      return session
    },
    end: (session) => {
      for (const { cancel } of session.requests.all()) cancel()
      if (attached.has(session)) return drop(session)
      // The oldest is forgotten first; it expires by itself.
      if (ended.size >= options.maxSessions) {
        const oldest = ended.values().next()
        if (oldest.done !== true) ended.delete(oldest.value)
      }
      ended.add(session.id)
      drop(session)
    },
    sweep: () => {
      const time = now()
      for (const session of Array.from(live.values())) {
        if (session.expires <= time || (!busy(session) && time - session.lastSeen >= options.idleTimeout)) {
          drop(session)
        }
      }
    },
    all: () => attached.size === 0 ? live.values() : [...live.values(), ...attached],
    size: () => live.size + attached.size
  }
}
