/**
 * What is said of a service that is announced: its records on a link, and the messages that hold them.
 */
import { Buffer } from "node:buffer"
import { type Data, fold, keyOf, type Message, nameOf, parts, query, type Resource, response } from "./message.ts"
import type { Link } from "./party.ts"
import { sizeOf } from "./wire.ts"

/** A service to be announced. */
export interface Offer {
  /** What it is to be called, where that is free: a label of 63 bytes at most. */
  readonly instance: string
  /** Where it is reached, or `undefined` where it isn't, from a link. */
  readonly addressOn: (link: Link) => string | undefined
  readonly port: number
  readonly priority: number
  readonly weight: number
  readonly txt: ReadonlyArray<Uint8Array>
  /** Seconds that others may know it without hearing of it. */
  readonly ttl: number
}

/** The records of a service on a link. */
export interface Records {
  /** Folded names: its own, and that of its host. */
  readonly key: string
  readonly host: string
  readonly pointer: Resource
  readonly server: Resource
  readonly text: Resource
  readonly address: Resource
}

/** The records of a service under a name; none where it isn't reached from the link. */
export const recordsOf = (
  offer: Offer,
  instance: string,
  type: ReadonlyArray<string>,
  link: Link
): Records | undefined => {
  const address = offer.addressOn(link)
  if (address === undefined) return undefined
  const name = nameOf([instance, ...type])
  // Whoever announces this address says the same of this host, so nobody contradicts another.
  const host = nameOf([`portolan-${address.replace(/[.:]/g, "-")}`, "local"])
  const resource = (name: string, isUnique: boolean, data: Data): Resource => ({ name, ttl: offer.ttl, isUnique, data })
  const { port, priority, txt, weight } = offer
  return {
    key: fold(name),
    host: fold(host),
    pointer: resource(nameOf(type), false, { type: "PTR", target: name }),
    server: resource(name, true, { type: "SRV", priority, weight, port, target: host }),
    text: resource(name, true, { type: "TXT", strings: txt }),
    address: resource(host, true, { type: address.includes(":") ? "AAAA" : "A", address })
  }
}

/** Asks whether the name is free, or announces it. */
export const messageOf = ({ address, pointer, server, text }: Records, isProbe: boolean): Message =>
  isProbe
    ? query([{ name: server.name, type: "ANY" }], { authorities: [server, text] })
    : response([pointer, server, text, address])

/** The answers, each with what is asked for next, in messages of usual size. */
export const packed = (answers: ReadonlyArray<Resource>, all: ReadonlyArray<Records>): ReadonlyArray<Message> => {
  const given = new Set(answers.map(keyOf))
  const groups = answers.map((answer) => {
    const more = all.flatMap(({ address, pointer, server, text }) => {
      if (keyOf(pointer) === keyOf(answer)) return [server, text, address]
      return keyOf(server) === keyOf(answer) ? [address] : []
    }).filter((resource) => !given.has(keyOf(resource)))
    for (const resource of more) given.add(keyOf(resource))
    return { answer, more, size: [answer, ...more].reduce((sum, resource) => sum + sizeOf(resource), 0) }
  })
  return parts(groups, ({ size }) => size).map((part) =>
    response(part.map(({ answer }) => answer), part.flatMap(({ more }) => more))
  )
}

/** `name`, `name (2)`, `name (3)`, in 63 bytes (RFC 6763 appendix D). */
export const nextName = (name: string): string => {
  const [, base = name, number = "1"] = /^(.*) \((\d{1,6})\)$/s.exec(name) ?? []
  const suffix = ` (${Number(number) + 1})`
  let cut = base
  while (Buffer.byteLength(cut + suffix) > 63) cut = Array.from(cut).slice(0, -1).join("")
  return cut + suffix
}
