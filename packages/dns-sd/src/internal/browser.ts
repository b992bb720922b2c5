/**
 * Finds the services of one type: asks for them, and keeps what it hears (RFC 6762 section 5.2, RFC 6763 section 4).
 *
 * **Mental model**: a cache for each link, and the questions that are open. A service is there as long as its pointer, its
 * address and its text are, in whatever order and messages they came; what is missing is asked for. One that is announced
 * on several links is one service, on the first of them.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6763#section-4
 */
import { Buffer } from "node:buffer"
import { Cache, type Entry } from "./cache.ts"
import { fold, labelsOf, type Message, nameOf, parts, query, type Question, type Resource } from "./message.ts"
import type { Link, Outgoing, Party, Sender } from "./party.ts"
import { type Index, indexOf, isSame, lacking, type Service, serviceOf } from "./service.ts"
import { sizeOf } from "./wire.ts"

/** What is different about a service: what it is now, or how it went. */
export type Found =
  | { readonly _tag: "There"; readonly service: Service }
  | { readonly _tag: "Gone"; readonly instance: string; readonly how: "deregistered" | "expired" | "unknown" }

export interface BrowserOptions {
  /** Labels of the type: `["_mcp", "_tcp", "local"]`. */
  readonly type: ReadonlyArray<string>
  /** UDP port that responses come from; others are not believed (RFC 6762 section 6). */
  readonly port: number
  /** Between 0 and 1. */
  readonly random: () => number
}

const second = 1000

/** ms before the first question (RFC 6762 section 5.2), from and to. */
const firstQuestion = [20, 120] as const

/** ms between two questions for everything, at most. */
const longestPause = 3600 * second

/** How often in a row what is missing of a service is asked for, each time after twice as long. */
const mostQuestions = 4

/** ms until a service that was doubted is said again, at first and at most. */
const firstDoubt = second
const longestDoubt = 60 * second

/** What is heard on one link. */
interface Heard {
  readonly link: Link
  readonly cache: Cache
  /** The services whose pointers are known, and those of each host; none: it is to be looked up. */
  index: Index | undefined
  /** When all services are asked for again, and the pause after that. */
  nextQuestion: number
  pause: number
  /** Names that lack a record, or may: how often it was asked for, and when next. */
  readonly missing: Map<string, { times: number; at: number }>
}

export class Browser implements Party {
  private readonly options: BrowserOptions
  private readonly type: string
  private heard: ReadonlyArray<Heard> = []
  /** Folded names that may be different from what was said of them, and whether somebody said goodbye. */
  private readonly touched = new Map<string, boolean>()
  private readonly said = new Map<string, Service>()
  /** Folded names that are said again though nothing is different. */
  private readonly again = new Set<string>()
  private readonly doubts = new Map<string, { times: number; at: number }>()

  constructor(options: BrowserOptions) {
    this.options = options
    this.type = nameOf(options.type)
  }

  linked(links: ReadonlyArray<Link>, now: number): void {
    const [least, most] = firstQuestion
    const before = this.heard
    this.heard = links.map((link) =>
      before.find((heard) => heard.link === link) ??
        this.listen(link, now + least + (most - least) * this.options.random())
    )
    for (const { cache, link } of before) {
      if (links.includes(link)) continue
      for (const { resource: { data } } of cache.get("PTR", this.type)) {
        if (data.type === "PTR") this.touch(data.target)
      }
    }
  }

  hear(link: Link, message: Message, from: Sender, now: number): void {
    const heard = this.heard.find((heard) => heard.link === link)
    if (heard === undefined || !message.isResponse || from.port !== this.options.port) return
    const said = [...message.answers, ...message.additionals]
    this.touchOf(heard, said.filter((resource) => this.isOurs(resource) && heard.cache.put(resource, now)))
  }

  tick(now: number): ReadonlyArray<Outgoing> {
    const outgoing: Array<Outgoing> = []
    for (const heard of this.heard) {
      const over = heard.cache.sweep(now)
      const [left, ran] = [
        over.filter(({ ending }) => ending === "goodbye"),
        over.filter(({ ending }) => ending !== "goodbye")
      ]
      this.touchOf(heard, left.map(({ resource }) => resource), true)
      this.touchOf(heard, ran.map(({ resource }) => resource))
      const questions = new Map<string, Question>()
      const ask = (question: Question) => questions.set(`${question.type} ${fold(question.name)}`, question)
      for (const question of this.toComplete(heard, now)) ask(question)
      let forAll = heard.nextQuestion <= now
      if (forAll) {
        heard.nextQuestion = now + heard.pause
        heard.pause = Math.min(heard.pause * 2, longestPause)
      }
      for (const { data, name } of heard.cache.toRefresh(now)) {
        if (data.type === "PTR") forAll = true
        else ask({ name, type: data.type })
      }
      const some = parts(Array.from(questions.values()), ({ name }) => Buffer.byteLength(name) + 6).map((one) =>
        query(one)
      )
      for (const message of [...forAll ? this.askForAll(heard, now) : [], ...some]) {
        outgoing.push({ link: heard.link, message })
      }
    }
    for (const [name, doubt] of this.doubts) {
      if (doubt.at > now) continue
      doubt.at = Infinity
      this.again.add(name)
      this.touch(name)
    }
    return outgoing
  }

  due(): number {
    let due = Infinity
    for (const { at } of this.doubts.values()) due = Math.min(due, at)
    for (const { cache, missing, nextQuestion } of this.heard) {
      due = Math.min(due, cache.due, nextQuestion)
      for (const { at } of missing.values()) due = Math.min(due, at)
    }
    return due
  }

  /** What is different since this was last asked. */
  changes(): ReadonlyArray<Found> {
    const changes: Array<Found> = []
    for (const [name, saidGoodbye] of this.touched) {
      const before = this.said.get(name)
      const found = this.find(name)
      // It stays as it was written first: a name in other letters is no other service.
      const service = found && { ...found, instance: before?.instance ?? found.instance }
      if (service !== undefined) {
        const isNew = before === undefined || !isSame(before, service)
        if (isNew) this.doubts.delete(name)
        else if (!this.again.has(name)) continue
        this.said.set(name, service)
        changes.push({ _tag: "There", service })
      } else if (before !== undefined) {
        this.said.delete(name)
        this.doubts.delete(name)
        const isLinked = this.heard.some(({ link }) => link === before.link)
        const how = saidGoodbye ? "deregistered" : isLinked ? "expired" : "unknown"
        changes.push({ _tag: "Gone", instance: before.instance, how })
      }
    }
    this.touched.clear()
    this.again.clear()
    return changes
  }

  /** Whether this is what was last said of it. */
  isCurrent(service: Service): boolean {
    return this.said.get(this.nameOf(service.instance)) === service
  }

  /** The service could not be taken: it is said again in a while, each time after twice as long. */
  doubt(service: Service, now: number): void {
    if (!this.isCurrent(service)) return
    const name = this.nameOf(service.instance)
    const { times } = this.doubts.get(name) ?? { times: 0 }
    this.doubts.set(name, { times: times + 1, at: now + Math.min(firstDoubt * 2 ** times, longestDoubt) })
  }

  private nameOf(instance: string): string {
    return fold(nameOf([instance, ...this.options.type]))
  }

  private find(name: string): Service | undefined {
    for (const heard of this.heard) {
      const service = serviceOf(heard.cache, heard.link, this.indexOf(heard), name)
      if (service !== undefined) return service
    }
    return undefined
  }

  /** Whether it says something of a service of this type, or may. */
  private isOurs({ data, name }: Resource): boolean {
    switch (data.type) {
      case "PTR":
        return fold(name) === fold(this.type) && this.isInstance(data.target)
      case "SRV":
      case "TXT":
        return this.isInstance(name)
      default:
        return true
    }
  }

  private isInstance(name: string): boolean {
    const [, ...type] = labelsOf(fold(name))
    return nameOf(type) === fold(this.type)
  }

  private listen(link: Link, nextQuestion: number): Heard {
    const heard: Heard = {
      link,
      cache: new Cache({
        random: this.options.random,
        isNeeded: ({ data, name }) => {
          if (data.type === "PTR") return true
          const { hosts, names } = this.indexOf(heard)
          return data.type === "SRV" || data.type === "TXT" ? names.has(fold(name)) : hosts.has(fold(name))
        }
      }),
      index: undefined,
      nextQuestion,
      pause: second,
      missing: new Map()
    }
    return heard
  }

  private indexOf(heard: Heard): Index {
    return heard.index ??= indexOf(heard.cache, this.type)
  }

  private touch(name: string, goodbye = false): void {
    const folded = fold(name)
    this.touched.set(folded, goodbye || this.touched.get(folded) === true)
  }

  /**
   * Touches the services that records are about, and sees that what they lack is asked for. All of a message at once: what
   * one costs must not grow with how its sender orders them.
   */
  private touchOf(heard: Heard, records: ReadonlyArray<Resource>, goodbye = false): void {
    const hosts = new Set<string>()
    const names = new Set<string>()
    for (const { data, name } of records) {
      if (data.type === "PTR" || data.type === "SRV") heard.index = undefined
      if (data.type === "PTR") names.add(fold(data.target))
      else if (data.type === "SRV" || data.type === "TXT") names.add(fold(name))
      else hosts.add(fold(name))
    }
    for (const host of hosts) {
      for (const name of this.indexOf(heard).hosts.get(host) ?? []) names.add(name)
    }
    for (const name of names) {
      this.touch(name, goodbye)
      heard.missing.set(name, { times: 0, at: 0 })
    }
  }

  /** The questions for what is missing of services whose pointers are known. */
  private toComplete(heard: Heard, now: number): ReadonlyArray<Question> {
    const { cache, missing } = heard
    if (missing.size === 0) return []
    const { names } = this.indexOf(heard)
    return Array.from(missing).flatMap(([name, asked]) => {
      const lacks = names.has(name) ? lacking(cache, name) : []
      if (lacks.length === 0) missing.delete(name)
      if (asked.at > now) return []
      asked.at = ++asked.times >= mostQuestions ? Infinity : now + second * 2 ** (asked.times - 1)
      return lacks
    })
  }

  /** The question for all services, with those that are known: whoever would say just that is silent (section 7.1). */
  private askForAll({ cache }: Heard, now: number): ReadonlyArray<Message> {
    const known = parts(cache.get("PTR", this.type).flatMap((entry) => knownAnswer(entry, now)), sizeOf)
    return [known[0] ?? [], ...known.slice(1)].map((answers, index) => ({
      ...query(index === 0 ? [{ name: this.type, type: "PTR" }] : [], { answers }),
      isTruncated: index < known.length - 1
    }))
  }
}

/** The record with what is left of its TTL, where that is more than half (section 7.1). */
const knownAnswer = ({ ending, expires, resource }: Entry, now: number): ReadonlyArray<Resource> => {
  const left = Math.floor((expires - now) / second)
  return ending === undefined && left > resource.ttl / 2 ? [{ ...resource, ttl: left, isUnique: false }] : []
}
