/**
 * How an instance is written down in Consul's fields, and read from them.
 *
 * **Mental model**: whoever registers a service can say everything with its fields and meta values; the table is in the
 * README. What we announce is written the same way. A record that these fields don't give back as it was (a status, a
 * header, metadata that aren't text) is carried whole too, as JSON in pieces of meta values.
 *
 * @since 0.1.0
 */
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { Buffer } from "node:buffer"
import type { Registration, ServiceEntry } from "./Consul.ts"

/** Meta key that tells one process's record from another's. */
export const incarnationKey = "portolan-incarnation"

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
export const read = (
  { Checks, Node, Service }: ServiceEntry
): Result.Result<ServiceInstance.ServiceInstance, string> => {
  const meta = new Map(Object.entries(Service.Meta ?? {}))
  const told = checked(Checks)
  const identity = defined({ id: Service.ID, service: Service.Service, tags: Service.Tags ?? [], status: told })
  const carried = pieces(meta)
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

/**
 * Reads the instances of a service.
 *
 * **Details**: Consul's ids are unique on a node only, and an id that isn't given is the service's name. The oldest of
 * several with the same id keeps it; the others are known as `<id>@<node>`.
 *
 * @category decoding
 * @since 0.1.0
 */
export const readAll = (entries: ReadonlyArray<ServiceEntry>) => {
  const instances: Array<ServiceInstance.ServiceInstance> = []
  const rejected: Array<{ readonly id: string; readonly reason: string }> = []
  const ids = new Set<string>()
  for (
    const entry of entries.toSorted((self, that) => (self.Service.CreateIndex ?? 0) - (that.Service.CreateIndex ?? 0))
  ) {
    const id = ids.has(entry.Service.ID) ? `${entry.Service.ID}@${entry.Node.Node}` : entry.Service.ID
    ids.add(id)
    const instance = read(entry)
    if (Result.isFailure(instance)) rejected.push({ id, reason: instance.failure })
    else instances.push(id === instance.success.id ? instance.success : { ...instance.success, id })
  }
  return { instances, rejected }
}

/**
 * Writes an instance; the failure is one line.
 *
 * @category encoding
 * @since 0.1.0
 */
export const write = (instance: ServiceInstance.ServiceInstance): Result.Result<Registration, string> => {
  const { endpoint } = instance
  if (endpoint.transport === "in-process") return Result.fail("endpoint: an in-process endpoint is not written down")
  const address = endpoint.transport === "stdio"
    ? undefined
    : new URL(endpoint.transport === "a2a" ? endpoint.card : endpoint.url)
  const fields = defined({
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
  const registration = (meta: Readonly<Record<string, unknown>>): Registration => ({
    ID: instance.id,
    Name: instance.service,
    Tags: instance.tags,
    Address: address?.hostname.replace(/^\[|\]$/g, "") ?? "",
    Port: address === undefined ? 0 : Number(address.port) || (address.protocol.endsWith("s:") ? 443 : 80),
    Meta: Object.fromEntries(Object.entries(meta).flatMap(([key, value]) => isMeta(key, value) ? [[key, value]] : []))
  })

  const plain = registration({ ...instance.metadata, ...fields })
  const back = read({ Node: { Node: "", Address: "" }, Service: { ...plain, Service: plain.Name }, Checks: [] })
  if (
    Object.keys(plain.Meta).length < mostPieces && Result.isSuccess(back) &&
    ServiceInstance.equals(back.success, instance)
  ) {
    return Result.succeed(plain)
  }
  // A meta value is counted in bytes and cut between characters: all of them are made ASCII.
  const text = JSON.stringify(instance).replace(
    /[\u007f-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`
  )
  const parts = Array.from(
    { length: Math.ceil(text.length / pieceSize) },
    (_, n) => text.slice(n * pieceSize, (n + 1) * pieceSize)
  )
  return parts.length > mostPieces
    ? Result.fail(`the record has ${text.length} bytes; Consul holds no more than ${mostPieces * pieceSize}`)
    : Result.succeed(
      registration({ ...fields, ...Object.fromEntries(parts.map((part, n) => [`${pieceKey}${n}`, part])) })
    )
}

/** What the checks say: in maintenance is draining, critical is down; nothing where all is well. */
const checked = (checks: ServiceEntry["Checks"]): "draining" | "down" | undefined => {
  if (checks.some(({ CheckID }) => CheckID === "_node_maintenance" || CheckID.startsWith("_service_maintenance"))) {
    return "draining"
  }
  return checks.some(({ Status }) => Status === "critical") ? "down" : undefined
}

const ours = (key: string) => key === incarnationKey || key.startsWith(pieceKey)

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

const pieces = (meta: ReadonlyMap<string, string>): string | undefined => {
  const parts: Array<string> = []
  for (let part = meta.get(`${pieceKey}0`); part !== undefined; part = meta.get(`${pieceKey}${parts.length}`)) {
    parts.push(part)
  }
  return parts.length === 0 ? undefined : parts.join("")
}

const parse = (text: string): Result.Result<unknown, string> =>
  Result.try({ try: (): unknown => JSON.parse(text), catch: () => "not JSON" })
