/**
 * What labels and annotations say of the endpoints of a Service. Annotations of a slice come before those of its Service.
 *
 * @since 0.2.0
 */
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Result from "effect/Result"
import { type EndpointSlice, labels, type Port, prefix, type Service } from "./objects.ts"

/** Fields of a record, and where its endpoint is beside its address. */
export interface Said {
  readonly fields: Readonly<Record<string, unknown>>
  readonly scheme: string | undefined
  readonly path: string | undefined
  readonly transport: string | undefined
}

export const read = (service: Service, slice?: EndpointSlice): Result.Result<Said, string> => {
  const label = (name: string) => service.metadata.labels?.[name]
  const all = { ...service.metadata.annotations, ...slice?.metadata.annotations }
  const said = (name: string) => Object.hasOwn(all, prefix + name) ? all[prefix + name] : undefined
  const list = (name: string): Result.Result<unknown, string> => {
    const text = said(name)?.trim()
    if (text === undefined) return Result.succeed(undefined)
    if (text.startsWith("[")) return Result.mapError(parse(text), (reason) => `${prefix}${name}: ${reason}`)
    return Result.succeed(text.split(",").map((part) => part.trim()).filter((part) => part !== ""))
  }
  const lists = Result.all({
    capabilities: list("capabilities"),
    tools: list("tools"),
    tags: list("tags"),
    tenants: list("tenants")
  })
  const component = label(labels.component)
  const ofMetadata = `${prefix}metadata.`
  return Result.map(lists, (lists) => ({
    scheme: said("scheme"),
    path: said("path"),
    transport: said("transport"),
    fields: defined({
      ...lists,
      service: said("service") ?? label(labels.name) ?? service.metadata.name,
      // What others call a component is no kind of ours.
      kind: said("kind") ?? (component !== undefined && kinds.has(component) ? component : undefined),
      version: said("version") ?? label(labels.version),
      region: said("region"),
      zone: said("zone"),
      weight: numeric(said("weight")),
      priority: numeric(said("priority")),
      metadata: Object.fromEntries(
        Object.entries(all).flatMap(([key, value]) =>
          key.startsWith(ofMetadata) ? [[key.slice(ofMetadata.length), value]] : []
        )
      )
    })
  }))
}

const schemes: ReadonlySet<string> = new Set(["http", "https", "ws", "wss"])

const kinds: ReadonlySet<string> = new Set(["mcp-server", "agent", "tool-provider"])

/** The instance of an endpoint with what it says itself. */
export const decode = (
  { fields, path, scheme, transport = "streamable-http" }: Said,
  { id, own, place, port }: {
    readonly id: string
    readonly place: string
    readonly port: Port | undefined
    readonly own: Readonly<Record<string, unknown>>
  }
): Result.Result<ServiceInstance.ServiceInstance, string> => {
  const isA2a = transport === "a2a"
  const file = path ?? (isA2a ? "/.well-known/agent-card.json" : "/mcp")
  const how = scheme ?? (port?.appProtocol === "https" ? "https" : "http")
  // Anything else could name another host.
  if (!schemes.has(how)) return Result.fail(`${prefix}scheme: expected http, https, ws or wss`)
  const url = `${how}://${place}${file.startsWith("/") ? file : `/${file}`}`
  return ServiceInstance.decode({
    ...fields,
    ...own,
    id,
    endpoint: isA2a ? { transport, card: url } : { transport, url }
  })
}

const defined = (fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))

// Text that is no number is kept, for the schema to name it.
const numeric = (text: string | undefined) =>
  text === undefined || text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text)

/** Of somebody who may write anything. */
export const parse = (text: string): Result.Result<unknown, string> =>
  Result.try({ try: (): unknown => JSON.parse(text), catch: () => "not JSON" })
