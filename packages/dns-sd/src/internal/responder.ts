/**
 * Announces services and answers who asks for them (RFC 6762 sections 6 to 9, RFC 6763 sections 4 and 9).
 *
 * **Mental model**: a service is published on each link in steps: three probes whether its name is free, three
 * announcements, then silence until somebody asks. Who has the name already keeps it, and ours becomes `name (2)`. A
 * service that is published anew is announced at once, since its name is ours.
 *
 * **Gotchas**: what we send we hear too, and so does every other program on this machine. Nobody can tell its own packets
 * from those by their address, so what counts is what a record says: one that names our host and port is ours.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6762#section-8
 */
import * as Latch from "effect/Latch"
import { Answers, type AnswersOptions } from "./answers.ts"
import { fold, keyOf, type Message, type Resource, response } from "./message.ts"
import { messageOf, nextName, type Offer, type Records, recordsOf } from "./offer.ts"
import type { Link, Outgoing, Party, Sender } from "./party.ts"
import { compare } from "./wire.ts"

/** A service that is announced. Changed by the responder alone. */
export interface Published {
  readonly offer: Offer
  /** What it is called now. */
  readonly instance: string
  /** The links where it is reached. */
  readonly steps: ReadonlyMap<Link, unknown>
  /** Opens when it was announced on all of them. */
  readonly announced: Latch.Latch
  /** Opens when goodbye was said. */
  readonly gone: Latch.Latch
}

/** How far a service is on a link, when the next step is, when the last was, and what is said of it there. */
interface Step {
  readonly step: number
  readonly at: number
  readonly last: number
  readonly records: Records
}

interface State extends Published {
  offer: Offer
  instance: string
  readonly steps: Map<Link, Step>
  isAnnounced: boolean
  /** When it is withdrawn, unless it is published again. */
  expires: number
  /** How often its name was taken, and when it last was. */
  conflicts: { times: number; last: number }
  /** Contents of its addresses before it was changed: our own packets may still be on their way. */
  past: ReadonlyArray<string>
}

/** Steps from which on a service is announced, and from which on there is nothing more to say. */
const announcing = 3
const done = 6

/** ms between probes, and before the first at most; between announcements; after a probe was lost to another (8.1–8.3). */
const probePause = 250
const announcePause = 1000
const lostPause = 1000

/** ms between two announcements of a service that somebody thinks about to go. */
const defencePause = 250

/** So many names taken in so many ms: then a pause before each further one (section 8.1). */
const manyConflicts = 15
const conflictWindow = 10_000
const conflictPause = 5000

/** Contents that are remembered after a change. */
const mostPast = 16

export class Responder implements Party {
  private readonly options: AnswersOptions
  private links: ReadonlyArray<Link> = []
  private readonly published = new Map<Published, State>()
  private readonly answers: Answers
  private farewells: Array<Outgoing> = []
  private toOpen: Array<Latch.Latch> = []

  constructor(options: AnswersOptions) {
    this.options = options
    this.answers = new Answers(options)
  }

  /** Announces a service, or one that is announced already anew, until it is withdrawn or the time has come. */
  publish(offer: Offer, expires: number, now: number, before?: Published): Published {
    const known = before === undefined ? undefined : this.published.get(before)
    if (known === undefined) {
      const state: State = {
        offer,
        instance: offer.instance,
        announced: Latch.makeUnsafe(false),
        gone: Latch.makeUnsafe(false),
        steps: new Map(),
        isAnnounced: false,
        expires,
        conflicts: { times: 0, last: now },
        past: []
      }
      this.published.set(state, state)
      this.begin(state, now)
      return state
    }
    known.past = [...known.past, ...Array.from(known.steps.values(), ({ records }) => keyOf(records.server))]
      .slice(-mostPast)
    known.offer = offer
    known.expires = expires
    known.isAnnounced = false
    known.announced.closeUnsafe()
    for (const [link, { at, last, step }] of known.steps) {
      const next = step >= announcing ? { step: announcing, at: now, last } : { step, at, last }
      this.move(known, link, next)
    }
    this.begin(known, now)
    return known
  }

  /** Keeps it announced until then; answers whether it was. */
  prolong(published: Published, expires: number): boolean {
    const state = this.published.get(published)
    if (state !== undefined) state.expires = expires
    return state !== undefined
  }

  /** Says goodbye. */
  withdraw(published: Published): void {
    const state = this.published.get(published)
    if (state === undefined) return
    this.published.delete(published)
    for (const [link, { records, step }] of state.steps) {
      if (step <= announcing) continue
      // Others may be at the same address.
      const last = [records.pointer, records.server, records.text].map((resource) => ({ ...resource, ttl: 0 }))
      this.farewells.push({ link, message: response(last) })
    }
    this.toOpen.push(state.gone)
  }

  /** What `tick` answered was sent. */
  sent(): void {
    for (const latch of this.toOpen) latch.openUnsafe()
    this.toOpen = []
  }

  linked(links: ReadonlyArray<Link>, now: number): void {
    this.links = links
    for (const state of this.published.values()) {
      for (const link of state.steps.keys()) if (!links.includes(link)) state.steps.delete(link)
      this.begin(state, now)
    }
  }

  hear(link: Link, message: Message, from: Sender, now: number): void {
    if (!message.isResponse) return this.hearQuery(link, message, from, now)
    if (from.port !== this.options.port) return
    const said = [...message.answers, ...message.additionals]
    const names = new Set(said.map(({ data, name }) => fold(data.type === "PTR" ? data.target : name)))
    for (const state of this.published.values()) {
      const its = state.steps.get(link)
      if (its === undefined || !names.has(its.records.key)) continue
      const { last, records, step } = its
      const ours = new Map([records.pointer, records.server, records.text].map((one) => [keyOf(one), one]))
      for (const resource of said) {
        const mine = ours.get(keyOf(resource))
        // Somebody thinks that it is about to go (section 6.6).
        if (mine !== undefined && resource.ttl < mine.ttl / 2) {
          // Not for each of many who think so, or say it (section 6).
          if (step >= done) {
            state.steps.set(link, { step: done - 1, at: Math.max(now, last + defencePause), last, records })
          }
        } else if (resource.ttl > 0 && this.contradicts(state, records, resource)) {
          this.lose(state, step >= announcing, now)
          break
        }
      }
    }
  }

  tick(now: number): ReadonlyArray<Outgoing> {
    for (const state of this.published.values()) if (state.expires <= now) this.withdraw(state)
    const outgoing = this.farewells
    this.farewells = []
    for (const state of this.published.values()) {
      for (const [link, { at, records, step }] of state.steps) {
        if (at > now) continue
        outgoing.push({ link, message: messageOf(records, step < announcing) })
        const pause = step < announcing ? probePause : announcePause
        state.steps.set(link, { step: step + 1, at: step + 1 >= done ? Infinity : now + pause, last: now, records })
      }
      if (!state.isAnnounced && Array.from(state.steps.values()).every(({ step }) => step > announcing)) {
        state.isAnnounced = true
        this.toOpen.push(state.announced)
      }
    }
    outgoing.push(...this.answers.tick((link) => this.announcedOn(link), now))
    return outgoing
  }

  due(): number {
    let due = this.farewells.length + this.toOpen.length > 0 ? 0 : this.answers.due
    for (const { expires, steps } of this.published.values()) {
      due = Math.min(due, expires)
      for (const { at } of steps.values()) due = Math.min(due, at)
    }
    return due
  }

  private begin(state: State, now: number): void {
    for (const link of this.links) {
      if (!state.steps.has(link)) {
        this.move(state, link, { step: 0, at: now + probePause * this.options.random(), last: -Infinity })
      }
    }
  }

  /** Takes a step with what is to be said of it now; there is none on a link that doesn't lead to it. */
  private move(state: State, link: Link, step: Omit<Step, "records">): void {
    const records = recordsOf(state.offer, state.instance, this.options.type, link)
    if (records === undefined) state.steps.delete(link)
    else state.steps.set(link, { ...step, records })
  }

  /** The name may be another's: it is probed for again if it was ours, else the next name is. */
  private lose(state: State, wasOurs: boolean, now: number): void {
    const { last, times } = state.conflicts
    state.conflicts = { times: now - last > conflictWindow ? 1 : times + 1, last: now }
    if (!wasOurs) state.instance = nextName(state.instance)
    const pause = state.conflicts.times > manyConflicts ? conflictPause : probePause * this.options.random()
    for (const link of state.steps.keys()) this.move(state, link, { step: 0, at: now + pause, last: now })
  }

  private hearQuery(link: Link, message: Message, from: Sender, now: number): void {
    const probed = new Set(message.authorities.map(({ name }) => fold(name)))
    for (const state of this.published.values()) {
      const its = state.steps.get(link)
      if (its === undefined || its.step >= announcing || !probed.has(its.records.key)) continue
      // Two probe for one name: the later in order has it, and the other one asks again when that is settled.
      const { records } = its
      const theirs = message.authorities.filter(({ name }) => fold(name) === records.key)
      const isContested = theirs.some((resource) => this.contradicts(state, records, resource))
      if (isContested && compare([records.server, records.text], theirs) < 0) {
        state.steps.set(link, { ...its, step: 0, at: now + lostPause })
      }
    }
    this.answers.ask({ link, message, from }, this.announcedOn(link), now)
  }

  /** Whether the record gives the name of ours to another host or port. */
  private contradicts({ past }: State, { key, server }: Records, theirs: Resource): boolean {
    return theirs.data.type === "SRV" && fold(theirs.name) === key && keyOf(theirs) !== keyOf(server) &&
      !past.includes(keyOf(theirs))
  }

  private announcedOn(link: Link): ReadonlyArray<Records> {
    return Array.from(this.published.values()).flatMap(({ steps }) => {
      const its = steps.get(link)
      return its !== undefined && its.step > announcing ? [its.records] : []
    })
  }
}
