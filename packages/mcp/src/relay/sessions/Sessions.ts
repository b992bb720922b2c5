/**
 * Sessions of the handshake era.
 *
 * **Mental model**: the id is the session; what is kept here is only what is going on in it. A session that was dropped
 * because it was idle, or because there were too many, or that another replica opened, comes back when its id is used.
 *
 * @since 0.1.0
 */
import { randomBytes } from "node:crypto"
import { InFlight } from "../../internal/InFlight.ts"
import type { CallerSession } from "../../upstream/Upstream.ts"
import type { Client } from "../calls/Forwarding.ts"
import type { Replay, Replays } from "../http/Replay.ts"
import { type Known, makeKnown } from "../lists/Notices.ts"
import type { LogLevel } from "../LogLevel.ts"
import { noSession, overloaded, type Refusal } from "../Refusals.ts"
import type { Requests } from "../Traffic.ts"
import * as Bindings from "./Bindings.ts"
import * as Callers from "./Callers.ts"
import * as CallerSessions from "./CallerSessions.ts"
import * as Questions from "./Questions.ts"
import type * as SessionSeal from "./SessionSeal.ts"

/**
 * A way to the client for messages that belong to no request.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outlet extends Questions.Way {
  readonly end: () => void
}

/**
 * A client that begins a session.
 *
 * @category models
 * @since 0.2.0
 */
export type NewClient = Omit<Client, "affinity" | "bindings" | "caller" | "tell">

/**
 * A session that is alive here.
 *
 * @category models
 * @since 0.1.0
 */
export interface Session {
  readonly id: string
  /** Whose limit it counts against. None: nobody's. */
  readonly owner: string | undefined
  readonly client: Client
  /** Epoch ms. */
  readonly began: number
  /** Epoch ms. */
  readonly expires: number
  readonly known: Known
  logLevel: LogLevel | undefined
  readonly requests: Requests
  readonly questions: Questions.Questions
  readonly replay: Replay
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
  /** Of one principal; without principals, of one address. */
  readonly maxSessionsPerClient: number
  /** ms */
  readonly idleTimeout: number
  /** ms */
  readonly lifetime: number
  readonly questions: Questions.QuestionsOptions
  readonly replays: Replays
  /** What servers may do with a session of a client that can be asked. */
  readonly callerSession: (session: () => Session) => CallerSession
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
  /** Refused where all that are allowed are busy. `address` stands for a client without principal. */
  readonly open: (client: NewClient, address: string | undefined) => Session | Refusal
  /** The session of an id; refused where there is none, or it is somebody else's. */
  readonly find: (id: string, principal: string | undefined, address: string | undefined) => Session | Refusal
  /**
   * Begins a session that lives and ends with its client's connection: nobody finds it by an id. Refused where all that are
   * allowed are busy.
   */
  readonly attach: (client: NewClient, requests: Requests, address: string | undefined) => Session | Refusal
  /** The client ended it: its id is worth nothing any more. */
  readonly end: (session: Session) => void
  /** Drops those that are idle or expired. */
  readonly sweep: () => void
  readonly all: () => Iterable<Session>
  readonly size: () => number
}

const unknown: Refusal = { error: noSession, status: 404 }

/**
 * Makes the store.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: SessionsOptions): Sessions => {
  const { now, seal } = options
  const live = new Map<string, Session>()
  /** Affinities of sessions that their clients ended. */
  const ended = new Set<string>()
  const attached = new Set<Session>()
  /** Sessions of each client. */
  const counts = new Map<string, number>()

  const drop = (session: Session) => {
    if (!live.delete(session.id) && !attached.delete(session)) return
    const { owner } = session
    const left = owner === undefined ? 0 : (counts.get(owner) ?? 0) - 1
    if (owner !== undefined) {
      if (left > 0) counts.set(owner, left)
      else counts.delete(owner)
    }
    for (const outlet of session.outlets.splice(0)) outlet.end()
    session.questions.close()
    session.replay.clear()
    options.onDrop(session)
  }

  const busy = (session: Session) =>
    session.requests.size > 0 || session.outlets.length > 0 || session.questions.pending() > 0

  /** Drops the session that was idle longest. */
  const dropIdle = (owner: string | undefined): boolean => {
    let idlest: Session | undefined
    for (const session of live.values()) {
      if (busy(session) || (owner !== undefined && session.owner !== owner)) continue
      if (idlest === undefined || session.lastSeen < idlest.lastSeen) idlest = session
    }
    if (idlest === undefined) return false
    drop(idlest)
    return true
  }

  /** Makes room for one more; gives why there is none. A client that has all it may have makes it among its own. */
  const crowded = (owner: string | undefined): Refusal | undefined => {
    if (owner !== undefined && (counts.get(owner) ?? 0) >= options.maxSessionsPerClient && !dropIdle(owner)) {
      return { error: overloaded("Too many sessions of this client"), status: 429 }
    }
    return live.size + attached.size < options.maxSessions || dropIdle(undefined)
      ? undefined
      : { error: overloaded("Too many sessions"), status: 503 }
  }

  const ownerOf = (principal: string | undefined, address: string | undefined): string | undefined => {
    if (principal !== undefined) return `principal ${principal}`
    return address === undefined ? undefined : `address ${address}`
  }

  const make = (
    id: string,
    client: NewClient,
    expires: number,
    affinity: string,
    owner: string | undefined,
    requests: Requests
  ): Session => {
    if (owner !== undefined) counts.set(owner, (counts.get(owner) ?? 0) + 1)
    const { capabilities, principal, protocolVersion } = client
    const outlets: Array<Outlet> = []
    const servers = Callers.isAskable(capabilities) ? options.callerSession(() => session) : undefined
    const caller = Callers.make(principal, capabilities, servers)
    const session: Session = {
      id,
      owner,
      client: {
        ...client,
        affinity,
        bindings: Bindings.make(),
        caller,
        tell: (notification) => CallerSessions.notify(session, notification)
      },
      // One that is gone on with here began on another replica.
      began: Math.min(now(), expires - options.lifetime),
      expires,
      known: makeKnown(caller),
      logLevel: undefined,
      requests,
      questions: Questions.make({ protocolVersion, capabilities, outlets }, options.questions),
      replay: options.replays.make(),
      outlets,
      lastSeen: now()
    }
    return session
  }

  const keep = (
    id: string,
    client: NewClient,
    expires: number,
    affinity: string,
    owner: string | undefined
  ): Session => {
    const session = make(id, client, expires, affinity, owner, new InFlight())
    live.set(id, session)
    return session
  }

  const makeAffinity = () => randomBytes(9).toString("base64url")

  return {
    open: (client, address) => {
      const owner = ownerOf(client.principal, address)
      const refusal = crowded(owner)
      if (refusal !== undefined) return refusal
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
      return keep(id, client, expires, affinity, owner)
    },
    find: (id, principal, address) => {
      const known = live.get(id)
      if (known !== undefined) {
        if (known.client.principal !== principal || known.expires <= now()) return unknown
        known.lastSeen = now()
        return known
      }
      const sealed = seal.open(id)
      if (sealed === undefined || sealed.expires <= now() || sealed.principal !== principal) return unknown
      if (ended.has(sealed.affinity)) return unknown
      const owner = ownerOf(principal, address)
      const refusal = crowded(owner)
      if (refusal !== undefined) return refusal
      const { affinity, capabilities, expires, info, protocolVersion } = sealed
      return keep(id, { era: "handshake", protocolVersion, info, capabilities, principal }, expires, affinity, owner)
    },
    attach: (client, requests, address) => {
      const owner = ownerOf(client.principal, address)
      const refusal = crowded(owner)
      if (refusal !== undefined) return refusal
      const session = make("", client, Infinity, makeAffinity(), owner, requests)
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
      if (session.client.affinity !== undefined) ended.add(session.client.affinity)
      drop(session)
    },
    sweep: () => {
      const time = now()
      for (const session of Array.from(live.values())) {
        if (session.expires <= time) drop(session)
        // It is idle from the end of what it is busy with.
        else if (busy(session)) session.lastSeen = time
        else if (time - session.lastSeen >= options.idleTimeout) drop(session)
      }
    },
    all: () => attached.size === 0 ? live.values() : [...live.values(), ...attached],
    size: () => live.size + attached.size
  }
}
