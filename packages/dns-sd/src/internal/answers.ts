/**
 * Answers who asks for announced services: when, what, and to whom (RFC 6762 sections 6 and 7).
 *
 * **Mental model**: a question waits until whoever else may answer had the chance to, and until what is known already was
 * told. Then everybody hears the answer, unless they heard it a moment ago.
 */
import { fold, keyOf, type Message, nameOf, type Question, type Resource, response } from "./message.ts"
import { packed, type Records } from "./offer.ts"
import type { Link, Outgoing, Sender } from "./party.ts"

export interface AnswersOptions {
  /** Labels of the type: `["_mcp", "_tcp", "local"]`. */
  readonly type: ReadonlyArray<string>
  /** UDP port of the group; who asks from another one doesn't listen to it (RFC 6762 section 6.7). */
  readonly port: number
  /** Between 0 and 1. */
  readonly random: () => number
}

/** A query, and where it came from. */
export interface Asked {
  readonly link: Link
  readonly message: Message
  readonly from: Sender
}

/** ms before an answer that others may give too, from and to, and before one whose question goes on (sections 6, 7.2). */
const sharedDelay = [20, 120] as const
const truncatedDelay = [400, 500] as const

/** ms between two multicasts of a record, unless it defends a name (section 6). */
const repeatPause = 1000
const defencePause = 250

/** Questions that wait for their answer; beyond them others are not answered. */
const mostPending = 64

/** Known answers of one question that are looked at, and a message more. */
const mostKnown = 4096

/** Seconds that one may keep an answer who doesn't listen to the group (section 6.7). */
const legacyTtl = 10

/** What asks for the types of services that there are (RFC 6763 section 9). */
const everyType = "_services._dns-sd._udp.local"

interface Pending extends Asked {
  readonly known: Array<Resource>
  readonly at: number
}

export class Answers {
  private readonly options: AnswersOptions
  private pending: ReadonlyArray<Pending> = []
  /** When which record was last said on which link, to all or to one. */
  private readonly saidAt = new Map<string, number>()

  constructor(options: AnswersOptions) {
    this.options = options
  }

  /** Takes a query; the records are those that are announced on its link. */
  ask(asked: Asked, records: ReadonlyArray<Records>, now: number): void {
    const { from, link, message } = asked
    if (message.questions.length === 0) {
      const before = this.pending.find((one) =>
        one.message.isTruncated && one.link === link && one.from.address === from.address && one.from.port === from.port
      )
      if (before !== undefined && before.known.length < mostKnown) before.known.push(...message.answers)
      return
    }
    // Who doesn't listen asks one thing, and is told it again; to port 0 there is no answer.
    if (from.port !== this.options.port && (from.port === 0 || message.questions.length > 1)) return
    const wanted = this.matching(records, message.questions)
    if (wanted.length === 0 || this.pending.length >= mostPending) return
    const isShared = wanted.some(({ isUnique }) => !isUnique)
    const [least, most] = message.isTruncated ? truncatedDelay : isShared ? sharedDelay : [0, 0]
    const at = now + least + (most - least) * this.options.random()
    this.pending = [...this.pending, { ...asked, known: Array.from(message.answers), at }]
  }

  /** The answers that are due. */
  tick(recordsOn: (link: Link) => ReadonlyArray<Records>, now: number): ReadonlyArray<Outgoing> {
    for (const [key, at] of this.saidAt) if (now - at > repeatPause) this.saidAt.delete(key)
    const due = this.pending.filter(({ at }) => at <= now)
    this.pending = this.pending.filter(({ at }) => at > now)
    return due.flatMap((pending) => this.answer(pending, recordsOn(pending.link), now))
  }

  /** When an answer is due. */
  get due(): number {
    return this.pending.reduce((due, { at }) => Math.min(due, at), Infinity)
  }

  private answer(
    { from, known, link, message }: Pending,
    records: ReadonlyArray<Records>,
    now: number
  ): ReadonlyArray<Outgoing> {
    const isLegacy = from.port !== this.options.port
    const knownTtls = new Map(known.map((resource) => [keyOf(resource), resource.ttl]))
    const pause = message.authorities.length > 0 ? defencePause : repeatPause
    const answers = this.matching(records, message.questions).filter((resource) => {
      // Who asks has it already (section 7.1).
      if ((knownTtls.get(keyOf(resource)) ?? 0) >= resource.ttl / 2) return false
      const said = `${isLegacy ? "one" : "all"} ${link.name} ${keyOf(resource)}`
      if (now - (this.saidAt.get(said) ?? -Infinity) < pause) return false
      this.saidAt.set(said, now)
      return true
    })
    const messages = packed(answers, records)
    if (!isLegacy) return messages.map((message) => ({ link, message }))
    const plain = (resource: Resource) => ({ ...resource, isUnique: false, ttl: Math.min(resource.ttl, legacyTtl) })
    return messages.map(({ additionals, answers }) => ({
      link,
      to: from,
      message: {
        ...response(answers.map(plain), additionals.map(plain)),
        id: message.id,
        questions: message.questions
      }
    }))
  }

  /** The records that answer these questions. */
  private matching(all: ReadonlyArray<Records>, questions: ReadonlyArray<Question>): ReadonlyArray<Resource> {
    const target = nameOf(this.options.type)
    const type = fold(target)
    const asked = new Set(questions.map(({ name, type }) => `${type} ${fold(name)}`))
    const isAsked = (name: string, { data }: Resource) => asked.has(`${data.type} ${name}`) || asked.has(`ANY ${name}`)
    const found = new Map<string, Resource>()
    for (const { address, host, key, pointer, server, text } of all) {
      const types: Resource = { ...pointer, name: everyType, data: { type: "PTR", target } }
      const named = [[type, pointer], [key, server], [key, text], [host, address], [everyType, types]] as const
      for (const [name, resource] of named) if (isAsked(name, resource)) found.set(keyOf(resource), resource)
    }
    return Array.from(found.values())
  }
}
