/**
 * A service as the records in a cache say it, and what they lack to say it.
 */
import { Buffer } from "node:buffer"
import type { Cache } from "./cache.ts"
import { fold, labelsOf, type Question } from "./message.ts"
import type { Link } from "./party.ts"

/** A service that announces itself, as its records say. */
export interface Service {
  /** What people call it: the first label of its name. */
  readonly instance: string
  readonly link: Link
  readonly port: number
  /** Lower is preferred (RFC 2782). */
  readonly priority: number
  readonly weight: number
  /** The last heard first, at least one. */
  readonly addresses: ReadonlyArray<string>
  readonly txt: ReadonlyArray<Uint8Array>
}

/** The service of a folded name; none where a record of it is missing. */
export const serviceOf = (cache: Cache, link: Link, { names }: Index, name: string): Service | undefined => {
  const server = cache.get("SRV", name)[0]?.resource.data
  const text = cache.get("TXT", name)[0]?.resource.data
  if (server?.type !== "SRV" || text?.type !== "TXT") return undefined
  const addresses = addressesOf(cache, server.target)
  const [instance] = labelsOf(names.get(name) ?? "")
  if (addresses.length === 0 || instance === undefined) return undefined
  const { port, priority, weight } = server
  return { instance, link, port, priority, weight, addresses, txt: text.strings }
}

/** The services of a type whose pointers are known, by folded names. */
export interface Index {
  /** As the pointer that was last heard writes each. */
  readonly names: ReadonlyMap<string, string>
  /** Folded, those of each host. */
  readonly hosts: ReadonlyMap<string, ReadonlyArray<string>>
}

/** Looks up which services there are. */
export const indexOf = (cache: Cache, type: string): Index => {
  const names = new Map<string, string>()
  for (const { resource: { data } } of cache.get("PTR", type)) {
    if (data.type === "PTR" && !names.has(fold(data.target))) names.set(fold(data.target), data.target)
  }
  const hosts = new Map<string, Array<string>>()
  for (const name of names.keys()) {
    const host = targetOf(cache, name)
    if (host === undefined) continue
    const services = hosts.get(host)
    if (services === undefined) hosts.set(host, [name])
    else services.push(name)
  }
  return { names, hosts }
}

const targetOf = (cache: Cache, instance: string): string | undefined => {
  const data = cache.get("SRV", instance)[0]?.resource.data
  return data?.type === "SRV" ? fold(data.target) : undefined
}

const addressesOf = (cache: Cache, host: string): ReadonlyArray<string> => {
  const all = [...cache.get("A", host), ...cache.get("AAAA", host)]
  const lasting = all.filter(({ ending }) => ending === undefined)
  return (lasting.length === 0 ? all : lasting).flatMap(({ resource: { data } }) =>
    data.type === "A" || data.type === "AAAA" ? [data.address] : []
  )
}

/** The questions for what is missing of a service. */
export const lacking = (cache: Cache, name: string): ReadonlyArray<Question> => {
  const lacks: Array<Question> = []
  for (const type of ["SRV", "TXT"] as const) if (cache.get(type, name).length === 0) lacks.push({ name, type })
  const host = targetOf(cache, name)
  if (host !== undefined && addressesOf(cache, host).length === 0) {
    for (const type of ["A", "AAAA"] as const) lacks.push({ name: host, type })
  }
  return lacks
}

/** Whether two say the same. */
export const isSame = (self: Service, that: Service): boolean =>
  self.link === that.link && self.instance === that.instance && self.port === that.port &&
  self.priority === that.priority && self.weight === that.weight &&
  self.addresses.toSorted().join() === that.addresses.toSorted().join() &&
  self.txt.length === that.txt.length &&
  self.txt.every((string, index) => Buffer.compare(string, that.txt[index] ?? new Uint8Array()) === 0)
