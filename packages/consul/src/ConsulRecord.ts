/**
 * How an instance is written down in Consul's fields, and read from them.
 *
 * **Mental model**: whoever registers a service can say everything with its fields and meta values; the table is in the
 * README. What we announce is written the same way. A record that these fields don't give back as it was (a status, a
 * header, metadata that aren't text) is carried whole too, as JSON in pieces of meta values. In a format of its own, such
 * as a sealed one, there are only those pieces.
 *
 * @since 0.1.0
 */
import type { RecordFormat } from "@portolan/core/RecordFormat"
import type { Rejected } from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { Buffer } from "node:buffer"
import type { Registration, ServiceEntry } from "./ConsulCatalog.ts"

/** Meta key that tells one process's record from another's. */
export const incarnationKey = "portolan-incarnation"

/** The check that keeps a record of ours alive. It is of one incarnation alone, so that no other is kept by mistake. */
export const checkOf = (id: string, incarnation: string): string => `portolan:${id}:${incarnation}`

/**
 * Whether a name or an id can be part of a path: others Consul redirects or refuses, however they are encoded.
 *
 * @category predicates
 * @since 0.2.0
 */
export const isAskable = (name: string): boolean =>
  /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]+$/u.test(name) && !/(^|\/)(\/|\.{1,2}(\/|$))/.test(name)

const pieceKey = "portolan-record-"

/** Consul's limits: bytes of a meta value; pairs of a service, less those that we write besides the pieces. */
const pieceSize = 512
const mostPieces = 48

const known = [
  "mcp-scheme",
  "mcp-path",
  "mcp-transport",
  "kind",
  "version",
  "capabilities",
  "tools",
  "region",
  "zone",
  "weight"
]

/**
 * Reads an instance; the failure is one line.
 *
 * @category decoding
 * @since 0.1.0
 */
export const read = (entry: ServiceEntry): Result.Result<ServiceInstance.ServiceInstance, string> => {
  const { Node, Service } = entry
  const meta = new Map(Object.entries(Service.Meta ?? {}))
  const identity = defined({ id: Service.ID, service: Service.Service, tags: Service.Tags ?? [], status: told(entry) })
  const carried = pieces(entry)
  if (carried !== undefined) {
    const record = Result.filterOrFail(parse(carried), Predicate.isObject, () => "not a record")
    return Result.flatMap(
      Result.mapError(record, (reason) => `${pieceKey}0: ${reason}`),
      (record) => ServiceInstance.decode({ ...record, ...identity })
    )
  }

  if (Service.Port === 0) return Result.fail("Port: the service has none")
  const host = Service.Address === "" ? Node.Address : Service.Address
  const path = meta.get("mcp-path") ?? "/mcp"
  const lists = Result.all({ capabilities: list(meta, "capabilities"), tools: list(meta, "tools") })
  return Result.flatMap(lists, ({ capabilities, tools }) =>
    ServiceInstance.decode(defined({
      ...identity,
      endpoint: {
        transport: meta.get("mcp-transport") ?? "streamable-http",
        url: `${meta.get("mcp-scheme") ?? "http"}://${host.includes(":") ? `[${host}]` : host}:${Service.Port}${
          path.startsWith("/") ? path : `/${path}`
        }`
      },
      kind: meta.get("kind"),
      version: meta.get("version"),
      capabilities,
      tools,
      region: meta.get("region"),
      zone: meta.get("zone"),
      weight: numeric(meta.get("weight")),
      metadata: Object.fromEntries(Array.from(meta).filter(([key]) => !known.includes(key) && !ours(key)))
    })))
}

/** Reads an instance in a format: the text of the pieces, or what the fields say as such a text. */
const readAs = (format: RecordFormat, entry: ServiceEntry): Effect.Effect<ServiceInstance.ServiceInstance, string> => {
  const { ID: id, Service: service } = entry.Service
  const carried = pieces(entry)
  const text = carried === undefined
    ? Result.map(read(entry), (record) => JSON.stringify(record))
    : Result.succeed(carried)
  return Effect.fromResult(text).pipe(
    Effect.flatMap((text) => format.read(text, { id, service })),
    Effect.map((record) => ({ ...record, status: told(entry) ?? record.status }))
  )
}

/**
 * What a service holds.
 *
 * @category models
 * @since 0.2.0
 */
export interface Found {
  readonly instances: ReadonlyArray<ServiceInstance.ServiceInstance>
  readonly rejected: ReadonlyArray<Rejected>
  /** Ids of records of ours that were not kept alive: Consul still has them for a minute or two. */
  readonly expired: ReadonlyArray<string>
}

/**
 * Reads the instances of a service.
 *
 * **Details**: Consul's ids are unique on a node only, and an id that isn't given is the service's name. The oldest of
 * several with the same id keeps it, those that expired last; the others are known as `<id>@<node>`.
 *
 * @category decoding
 * @since 0.1.0
 */
export const readAll = Effect.fnUntraced(function*(
  entries: ReadonlyArray<ServiceEntry>,
  format?: RecordFormat
): Effect.fn.Return<Found> {
  const instances: Array<ServiceInstance.ServiceInstance> = []
  const rejected: Array<Rejected> = []
  const expired: Array<string> = []
  const ids = new Set<string>()
  const age = (entry: ServiceEntry) => (isExpired(entry) ? Infinity : entry.Service.CreateIndex ?? 0)
  for (const entry of entries.toSorted((self, that) => age(self) === age(that) ? 0 : age(self) - age(that))) {
    const id = ids.has(entry.Service.ID) ? `${entry.Service.ID}@${entry.Node.Node}` : entry.Service.ID
    ids.add(id)
    if (isExpired(entry)) {
      expired.push(id)
      continue
    }
    const instance = format === undefined ? read(entry) : yield* Effect.result(readAs(format, entry))
    if (Result.isFailure(instance)) rejected.push({ id, reason: instance.failure })
    else instances.push(id === instance.success.id ? instance.success : { ...instance.success, id })
  }
  return { instances, rejected, expired }
})

/**
 * How an instance is written.
 *
 * @category models
 * @since 0.2.0
 */
export interface WriteOptions {
  /** Tags that the service gets besides those of the instance. */
  readonly tags?: ReadonlyArray<string> | undefined
  /** Default: in Consul's own fields. */
  readonly format?: RecordFormat | undefined
}

/**
 * Writes an instance; the failure is one line.
 *
 * @category encoding
 * @since 0.1.0
 */
export const write = (
  instance: ServiceInstance.ServiceInstance,
  { format, tags = [] }: WriteOptions = {}
): Effect.Effect<Registration, string> => {
  const place = { id: instance.id, service: instance.service }
  const tagged = { ...instance, tags: [...instance.tags, ...tags.filter((tag) => !instance.tags.includes(tag))] }
  return format === undefined
    ? Effect.fromResult(writeFields(tagged))
    : Effect.flatMap(format.write(instance, place), (text) =>
      Effect.fromResult(Result.map(
        cut(text),
        (Meta): Registration => ({ ID: place.id, Name: place.service, Tags: tags, Address: "", Port: 0, Meta })
      )))
}

const writeFields = (instance: ServiceInstance.ServiceInstance): Result.Result<Registration, string> => {
  const { endpoint } = instance
  if (endpoint.transport === "in-process") return Result.fail("endpoint: an in-process endpoint is not written down")
  const address = endpoint.transport === "stdio"
    ? undefined
    : new URL(endpoint.transport === "a2a" ? endpoint.card : endpoint.url)
  const fields = texts({
    "mcp-scheme": address?.protocol.slice(0, -1),
    "mcp-path": address === undefined ? undefined : address.pathname + address.search,
    "mcp-transport": endpoint.transport,
    kind: instance.kind,
    version: instance.version,
    capabilities: instance.capabilities.length === 0 ? undefined : JSON.stringify(instance.capabilities),
    tools: instance.tools.length === 0 ? undefined : JSON.stringify(instance.tools),
    region: instance.region,
    zone: instance.zone,
    weight: instance.weight === 1 ? undefined : String(instance.weight)
  })
  const plain: Registration = {
    ID: instance.id,
    Name: instance.service,
    Tags: instance.tags,
    Address: address?.hostname.replace(/^\[|\]$/g, "") ?? "",
    Port: address === undefined ? 0 : Number(address.port) || (address.protocol.endsWith("s:") ? 443 : 80),
    Meta: { ...texts(instance.metadata), ...fields }
  }
  const back = read({ Node: { Node: "", Address: "" }, Service: { ...plain, Service: plain.Name }, Checks: [] })
  const isWhole = Object.keys(plain.Meta).length < mostPieces && Result.isSuccess(back) &&
    ServiceInstance.equals(back.success, instance)
  return isWhole
    ? Result.succeed(plain)
    : Result.map(cut(JSON.stringify(instance)), (carried) => ({ ...plain, Meta: { ...fields, ...carried } }))
}

/** Cuts the JSON of a record into meta values. They are counted in bytes and cut between characters: all become ASCII. */
const cut = (json: string): Result.Result<Readonly<Record<string, string>>, string> => {
  const text = json.replace(
    /[\u007f-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`
  )
  const parts = Array.from(
    { length: Math.ceil(text.length / pieceSize) },
    (_, n) => text.slice(n * pieceSize, (n + 1) * pieceSize)
  )
  return parts.length > mostPieces
    ? Result.fail(`the record has ${text.length} bytes; Consul holds no more than ${mostPieces * pieceSize}`)
    : Result.succeed(Object.fromEntries(parts.map((part, n) => [`${pieceKey}${n}`, part])))
}

/** Whether it is a record of ours whose lease ran out: it was not renewed, and nobody took it away. */
const isExpired = ({ Checks, Service }: ServiceEntry): boolean => {
  const incarnation = Service.Meta?.[incarnationKey]
  return incarnation !== undefined &&
    Checks.some(({ CheckID, Status }) => Status === "critical" && CheckID === checkOf(Service.ID, incarnation))
}

/** What the checks say: in maintenance is draining, critical is down; nothing where all is well. */
const told = ({ Checks }: ServiceEntry): "draining" | "down" | undefined => {
  if (Checks.some(({ CheckID }) => CheckID === "_node_maintenance" || CheckID.startsWith("_service_maintenance"))) {
    return "draining"
  }
  return Checks.some(({ Status }) => Status === "critical") ? "down" : undefined
}

const ours = (key: string) => key === incarnationKey || key.startsWith(pieceKey)

/** Those that Consul takes as meta values. */
const texts = (fields: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(fields).flatMap(([key, value]) => isMeta(key, value) ? [[key, value]] : []))

const isMeta = (key: string, value: unknown): value is string =>
  typeof value === "string" && Buffer.byteLength(value) <= pieceSize && /^(?!consul-)[A-Za-z0-9_-]{1,128}$/.test(key)

const defined = (fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))

// Text that is no number is kept, for the schema to name it.
const numeric = (text: string | undefined) =>
  text === undefined || text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text)

const list = (meta: ReadonlyMap<string, string>, key: string): Result.Result<unknown, string> => {
  const text = meta.get(key)?.trim()
  if (text === undefined) return Result.succeed(undefined)
  if (text.startsWith("[")) return Result.mapError(parse(text), (reason) => `${key}: ${reason}`)
  return Result.succeed(text.split(",").map((part) => part.trim()).filter((part) => part !== ""))
}

/** The text that a service carries in pieces; none where it carries none. */
const pieces = ({ Service: { Meta } }: ServiceEntry): string | undefined => {
  const parts: Array<string> = []
  for (let part = Meta?.[`${pieceKey}0`]; part !== undefined; part = Meta?.[`${pieceKey}${parts.length}`]) {
    parts.push(part)
  }
  return parts.length === 0 ? undefined : parts.join("")
}

const parse = (text: string): Result.Result<unknown, string> =>
  Result.try({ try: (): unknown => JSON.parse(text), catch: () => "not JSON" })
