/**
 * How an instance is written down in the records of DNS-SD, and read from them.
 *
 * **Mental model**: an instance is named, has a host, a port and texts such as `path=/mcp`; the table is in the README. What
 * we announce is written the same way. A record that these don't give back as it was (tenants, limits, metadata that
 * aren't text) is carried whole too, as JSON in pieces, except for its address: that is the host's.
 *
 * **Gotchas**: everybody on the network reads it, so what is secret is not announced.
 *
 * @since 0.2.0
 */
import { type Identity, serviceName } from "@portolan/core/Identification"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { Buffer } from "node:buffer"
import { isIP, isIPv6 } from "node:net"

/**
 * What the records of an instance say, but for where they hold.
 *
 * @category models
 * @since 0.2.0
 */
export interface Announced {
  /** Name of the instance among those of its type. */
  readonly instance: string
  /** IP address or name. */
  readonly host: string
  readonly port: number
  /** Lower is preferred. */
  readonly priority: number
  /** Share relative to its peers; 0 where the announcer doesn't say. */
  readonly weight: number
  /** `key=value`, in UTF-8, 255 bytes each at most. */
  readonly txt: ReadonlyArray<Uint8Array>
}

type Remote = Exclude<ServiceInstance.Endpoint, { readonly transport: "stdio" | "in-process" }>

const transports: ReadonlyArray<string> = ["streamable-http", "sse", "websocket", "a2a"]

/** Keys that say something of the record; every other one is metadata. */
const fields: ReadonlyArray<string> = [
  ["path", "proto", "transport", "host", "service", "kind", "version", "status", "region", "zone"],
  ["capabilities", "tags", "tools"]
].flat()

const pieceKey = "portolan"

/** Bytes of a text, and of all of them, so that a message holds them with the rest. */
const textSize = 255
const mostBytes = 6000

/** RFC 6763 section 4.1.1. */
const control = /\p{Cc}/u

/**
 * Reads an instance; the failure is one line. What it doesn't say of itself is what it said when it was identified.
 *
 * @category decoding
 * @since 0.2.0
 */
export const read = (
  announced: Announced,
  identity?: Identity
): Result.Result<ServiceInstance.ServiceInstance, string> => {
  const { host, instance: id, port, priority, txt, weight } = announced
  if (control.test(id)) return Result.fail("its name holds control characters")
  if (port === 0) return Result.fail("port: there is none")
  const said = textsOf(txt)
  const proto = said.get("proto")
  const transport = said.get("transport") ?? (transports.includes(proto ?? "") ? proto : undefined) ?? "streamable-http"
  const scheme = proto === "https" || proto === "wss" ? "https" : "http"
  if (!transports.includes(transport)) return Result.fail(`transport: expected one of ${transports.join(", ")}`)
  const named = said.get("host")
  const path = said.get("path") ?? "/mcp"
  const url = URL.parse(
    `${transport === "websocket" ? scheme.replace("http", "ws") : scheme}://${
      isIPv6(host) ? `[${host}]` : host
    }:${port}${path.startsWith("/") ? path : `/${path}`}`
  )?.href
  return Result.gen(function*() {
    const whole = yield* wholeOf(said)
    return yield* ServiceInstance.decode(defined({
      kind: said.get("kind"),
      version: said.get("version") ?? identity?.version,
      status: said.get("status"),
      region: said.get("region"),
      zone: said.get("zone"),
      capabilities: yield* listOf(said, "capabilities"),
      tags: yield* listOf(said, "tags"),
      tools: yield* listOf(said, "tools"),
      priority,
      weight: weight === 0 ? 1 : weight,
      metadata: Object.fromEntries(Array.from(said).filter(([key]) => !fields.includes(key) && !isPiece(key))),
      ...whole,
      id,
      // The name of one that was renamed to be beside another has a number.
      service: said.get("service") ?? serviceName(identity?.name ?? id.replace(/ (?:\(\d+\)|#\d+)$/, "")),
      endpoint: transport === "a2a"
        ? { transport, card: url }
        : defined({
          transport,
          url,
          tls: scheme === "https" && named !== undefined && named !== host ? { serverName: named } : undefined
        })
    }))
  })
}

/**
 * Writes an instance; the failure is one line.
 *
 * @category encoding
 * @since 0.2.0
 */
export const write = (instance: ServiceInstance.ServiceInstance): Result.Result<Announced, string> => {
  const { endpoint, id } = instance
  if (control.test(id) || Buffer.byteLength(id) > 63) {
    return Result.fail("id: as a name in DNS it has 63 bytes at most, without control characters")
  }
  if (endpoint.transport === "stdio" || endpoint.transport === "in-process") {
    return Result.fail(`endpoint.transport: ${endpoint.transport} is reached by nobody on the network`)
  }
  const secret = Object.keys(endpoint).find((key) => !["transport", "url", "card"].includes(key))
  if (secret !== undefined) {
    return Result.fail(`endpoint.${secret}: it would be told to everybody on the network; leave it out`)
  }
  const url = new URL(addressOf(endpoint))
  if (url.username !== "" || url.password !== "") {
    return Result.fail("endpoint.url: its user and password would be told to everybody on the network")
  }
  const { capabilities, kind, priority, service, status, tags, tools, version, weight } = instance
  const isTls = url.protocol.endsWith("s:")
  const host = url.hostname.replace(/^\[|\]$/g, "")
  const texts = defined({
    path: url.href.slice(url.origin.length),
    proto: isTls ? "https" : "http",
    transport: endpoint.transport === "streamable-http" ? undefined : endpoint.transport,
    // What its certificate is for.
    host: isTls && isIP(host) === 0 ? host : undefined,
    service,
    kind: kind === "mcp-server" ? undefined : kind,
    version: version === "0.0.0" ? undefined : version,
    status: status === "up" ? undefined : status,
    region: instance.region,
    zone: instance.zone,
    capabilities: capabilities.length === 0 ? undefined : JSON.stringify(capabilities),
    tags: tags.length === 0 ? undefined : JSON.stringify(tags),
    tools: tools.length === 0 ? undefined : JSON.stringify(tools)
  })
  const plain: Announced = {
    instance: id,
    host,
    port: Number(url.port) || (isTls ? 443 : 80),
    priority: Math.min(Math.max(priority, 0), 0xffff),
    weight: weight === 1 || weight > 0xffff ? 0 : Math.round(weight),
    txt: [...stringsOf(texts), ...stringsOf(instance.metadata).filter((text) => !fields.includes(keyOf(text)))]
  }
  const isWhole = Result.match(read(plain), {
    onFailure: () => false,
    onSuccess: (back) => ServiceInstance.equals(back, { ...instance, endpoint: back.endpoint })
  })
  const written = isWhole ? plain : { ...plain, txt: [...stringsOf(texts), ...pieces(instance)] }
  return written.txt.reduce((sum, text) => sum + text.length + 1, 0) <= mostBytes
    ? Result.succeed(written)
    : Result.fail(`the record is too long for the network: more than ${mostBytes} bytes`)
}

const addressOf = (endpoint: Remote): string => endpoint.transport === "a2a" ? endpoint.card : endpoint.url

/** Cuts the JSON of a record into texts. They are counted in bytes and cut between characters: all become ASCII. */
const pieces = (record: ServiceInstance.ServiceInstance): ReadonlyArray<Uint8Array> => {
  const text = JSON.stringify({ ...record, endpoint: undefined }).replace(
    /[\u007f-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`
  )
  const size = textSize - pieceKey.length - 4
  return Array.from(
    { length: Math.ceil(text.length / size) },
    (_, n) => Buffer.from(`${pieceKey}${n}=${text.slice(n * size, (n + 1) * size)}`)
  )
}

const isPiece = (key: string) => new RegExp(`^${pieceKey}\\d+$`).test(key)

/** The record that is carried in pieces; nothing where it is not. */
const wholeOf = (said: ReadonlyMap<string, string>): Result.Result<object, string> => {
  const parts: Array<string> = []
  for (let part = said.get(`${pieceKey}0`); part !== undefined; part = said.get(`${pieceKey}${parts.length}`)) {
    parts.push(part)
  }
  return parts.length === 0 ? Result.succeed({}) : Result.mapError(
    Result.filterOrFail(parse(parts.join("")), Predicate.isObject, () => "not a record"),
    (reason) => `${pieceKey}0: ${reason}`
  )
}

/** Reads the texts: keys in whatever case, the first of each counts, those without a value have none (RFC 6763 6.4). */
const textsOf = (txt: ReadonlyArray<Uint8Array>): ReadonlyMap<string, string> => {
  const said = new Map<string, string>()
  for (const string of txt) {
    const text = Buffer.from(string).toString("utf8")
    const key = keyOf(string)
    if (key !== "" && !said.has(key)) said.set(key, text.slice(key.length + 1))
  }
  return said
}

const keyOf = (string: Uint8Array): string => {
  const text = Buffer.from(string).toString("utf8")
  const end = text.indexOf("=")
  return (end === -1 ? text : text.slice(0, end)).toLowerCase()
}

/** Those that can be texts of a record. */
const stringsOf = (values: Readonly<Record<string, unknown>>): ReadonlyArray<Uint8Array> =>
  Object.entries(values).flatMap(([key, value]) => {
    const text = Buffer.from(`${key}=${String(value)}`)
    return Predicate.isString(value) && /^[ -<>-~]+$/.test(key) && text.length <= textSize ? [text] : []
  })

const defined = (values: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))

/** A JSON array or a comma list. */
const listOf = (said: ReadonlyMap<string, string>, key: string): Result.Result<unknown, string> => {
  const text = said.get(key)?.trim()
  if (text === undefined) return Result.succeed(undefined)
  if (text.startsWith("[")) return Result.mapError(parse(text), (reason) => `${key}: ${reason}`)
  return Result.succeed(text.split(",").map((part) => part.trim()).filter((part) => part !== ""))
}

const parse = (text: string): Result.Result<unknown, string> =>
  Result.try({ try: (): unknown => JSON.parse(text), catch: () => "not JSON" })
