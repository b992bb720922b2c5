/** A network without sockets and without waiting: parties on links, and datagrams that take time, get lost, come twice. */
import * as Result from "effect/Result"
import { Buffer } from "node:buffer"
import { Browser, type Found } from "../src/internal/browser.ts"
import { labelsOf, type Message } from "../src/internal/message.ts"
import type { Offer } from "../src/internal/offer.ts"
import type { Link, Outgoing, Party, Sender } from "../src/internal/party.ts"
import { Responder } from "../src/internal/responder.ts"
import type { Service } from "../src/internal/service.ts"
import { decode, encode } from "../src/internal/wire.ts"

export const port = 5353
export const type = ["_mcp", "_tcp", "local"]

export const link = (host: number, segment = 0): Link => ({
  name: `eth${segment}`,
  address: `10.0.${segment}.${host}`,
  network: `10.0.${segment}.${host}/24`,
  isLoopback: false
})

export const offer = (instance: string, rest: Partial<Offer> = {}): Offer => ({
  instance,
  addressOn: ({ address }) => address,
  port: 8080,
  priority: 0,
  weight: 0,
  txt: [],
  ttl: 120,
  ...rest
})

export const textOf = ({ txt }: Service): string => txt.map((text) => Buffer.from(text).toString()).join()

interface Host {
  readonly party: Party
  links: ReadonlyArray<Link>
  readonly stepped: () => void
}

/** A message that was sent, and when. */
export interface Sent extends Outgoing {
  readonly at: number
}

export class VirtualNetwork {
  now = 0
  readonly sent: Array<Sent> = []
  /** ms that a datagram takes; none: it is lost. */
  travel: () => ReadonlyArray<number> = () => [1]
  private readonly hosts = new Set<Host>()
  private deliveries: Array<{ readonly at: number; readonly deliver: () => void }> = []
  readonly random: () => number

  constructor(random: () => number = () => 0.5) {
    this.random = random
  }

  join<P extends Party>(party: P, links: ReadonlyArray<Link>, stepped: () => void = () => {}) {
    const host: Host = { party, links, stepped }
    this.hosts.add(host)
    party.linked(links, this.now)
    return {
      party,
      /** As a process that is killed. */
      crash: () => void this.hosts.delete(host),
      relink: (links: ReadonlyArray<Link>) => {
        host.links = links
        party.linked(links, this.now)
        host.stepped()
      }
    }
  }

  /** A host that looks for services, with what it found and when. */
  browser(links: ReadonlyArray<Link>) {
    const services = new Map<string, Service>()
    const log: Array<{ readonly at: number; readonly found: Found }> = []
    const browser = new Browser({ type, port, random: this.random })
    const joined = this.join(browser, links, () => {
      for (const found of browser.changes()) {
        log.push({ at: this.now, found })
        if (found._tag === "There") services.set(found.service.instance, found.service)
        else services.delete(found.instance)
      }
    })
    return { ...joined, services, log }
  }

  /** A host that announces services. */
  responder(links: ReadonlyArray<Link>) {
    const responder = new Responder({ type, port, random: this.random })
    return this.join(responder, links, () => responder.sent())
  }

  /** Puts a message on a link, from somebody who isn't there. */
  say(message: Message, on: Link = link(99), from: Sender = { address: on.address, port }): void {
    this.send({ link: on, message }, from)
  }

  run(millis: number): void {
    const end = this.now + millis
    for (;;) {
      const first = this.deliveries.reduce((least, { at }) => Math.min(least, at), Infinity)
      const next = Array.from(this.hosts).reduce((least, { party }) => Math.min(least, party.due()), first)
      if (next > end) break
      this.now = Math.max(this.now, next)
      const arrived = this.deliveries.filter(({ at }) => at <= this.now)
      this.deliveries = this.deliveries.filter(({ at }) => at > this.now)
      for (const { deliver } of arrived) deliver()
      for (const host of this.hosts) {
        if (host.party.due() > this.now) continue
        for (const outgoing of host.party.tick(this.now)) this.send(outgoing, { address: outgoing.link.address, port })
        host.stepped()
      }
    }
    this.now = end
  }

  private send(outgoing: Outgoing, from: Sender): void {
    this.sent.push({ ...outgoing, at: this.now })
    if (outgoing.to !== undefined && outgoing.to.port !== port) return
    const message = Result.getOrThrowWith(decode(encode(outgoing.message)), (reason) => new Error(reason))
    for (const host of this.hosts) {
      const on = host.links.find(({ name }) => name === outgoing.link.name)
      if (on === undefined) continue
      for (const time of this.travel()) {
        const deliver = () => {
          if (this.hosts.has(host) && host.links.includes(on)) host.party.hear(on, message, from, this.now)
        }
        this.deliveries.push({ at: this.now + time, deliver })
      }
    }
  }
}

/** The questions that were sent, each as `at type name`. */
export const questions = (sent: ReadonlyArray<Sent>): ReadonlyArray<{ readonly at: number; readonly asked: string }> =>
  sent.flatMap(({ at, message }) =>
    message.isResponse || message.authorities.length > 0
      ? []
      : message.questions.map(({ name, type }) => ({ at, asked: `${type} ${labelsOf(name)[0]}` }))
  )
