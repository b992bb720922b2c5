/**
 * The flags that make up an instance.
 */
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { randomBytes } from "node:crypto"
import { type Failure, wrong } from "../Failure.ts"

const text = (name: string, description: string) =>
  Flag.String(name).pipe(Flag.withDescription(description), Flag.optional)

/** Words with commas between them. */
export const listed = (text: string): ReadonlyArray<string> =>
  text.split(",").map((word) => word.trim()).filter((word) => word !== "")

export const words = (name: string, description: string) => text(name, description).pipe(Flag.map(Option.map(listed)))

export const recordFlags = {
  id: text("id", "Unique in its registry; the service and four random characters by default"),
  url: text("url", "Where it is reached: an http(s) URL of streamable HTTP, or a ws(s) URL"),
  endpoint: text("endpoint", "Where it is reached, as JSON, for other transports and headers"),
  version: text("version", "Version of the server, such as 1.4.0"),
  capabilities: words("capabilities", "What it can do, such as weather.forecast,weather.current"),
  tags: words("tags", "Tags, such as prod,eu"),
  region: text("region", "Region, such as us-west-2"),
  zone: text("zone", "Zone, such as us-west-2a"),
  weight: Flag.Finite("weight").pipe(
    Flag.withDescription("Share of traffic relative to its peers; 1 by default"),
    Flag.optional
  ),
  metadata: Flag.KeyValuePair("metadata").pipe(
    Flag.withDescription("Anything else, such as gpu=true; may be given several times"),
    Flag.optional
  )
}

/** What the flags say. */
export interface RecordValues {
  readonly id: Option.Option<string>
  readonly url: Option.Option<string>
  readonly endpoint: Option.Option<string>
  readonly version: Option.Option<string>
  readonly capabilities: Option.Option<ReadonlyArray<string>>
  readonly tags: Option.Option<ReadonlyArray<string>>
  readonly region: Option.Option<string>
  readonly zone: Option.Option<string>
  readonly weight: Option.Option<number>
  readonly metadata: Option.Option<Record<string, string>>
}

const json = (written: string): Result.Result<unknown, string> =>
  Result.try({
    try: () => JSON.parse(written) as unknown,
    catch: (cause) => cause instanceof Error ? cause.message : String(cause)
  })

// As in queries: numbers, true, false and JSON are what they look like.
const valueOf = (written: string): unknown =>
  /^([[{"]|-?\d|true$|false$|null$)/.test(written) ? Result.getOrElse(json(written), () => written) : written

const endpointOf = ({ endpoint, url }: RecordValues): Effect.Effect<unknown, Failure> => {
  if (Option.isSome(url) === Option.isSome(endpoint)) {
    return Effect.fail(wrong("say where it is reached: give either --url or --endpoint"))
  }
  if (Option.isSome(endpoint)) {
    return Effect.fromResult(Result.mapError(json(endpoint.value), (reason) => wrong(`--endpoint: ${reason}`)))
  }
  const address = Option.getOrElse(url, () => "")
  return Effect.succeed({ transport: /^wss?:/.test(address) ? "websocket" : "streamable-http", url: address })
}

/** Makes the instance, or says which flag is wrong. */
export const instanceOf = (service: string, values: RecordValues): Effect.Effect<ServiceInstance, Failure> =>
  Effect.gen(function*() {
    const ServiceInstance = yield* Effect.promise(() => import("@portolan/core/ServiceInstance"))
    const { metadata } = values
    const given = Object.entries({
      capabilities: Option.getOrUndefined(values.capabilities),
      tags: Option.getOrUndefined(values.tags),
      region: Option.getOrUndefined(values.region),
      version: Option.getOrUndefined(values.version),
      weight: Option.getOrUndefined(values.weight),
      zone: Option.getOrUndefined(values.zone),
      metadata: Option.isNone(metadata)
        ? undefined
        : Object.fromEntries(Object.entries(metadata.value).map(([key, written]) => [key, valueOf(written)]))
    })
    const record = {
      id: Option.getOrElse(values.id, () => `${service}-${randomBytes(2).toString("hex")}`),
      service,
      endpoint: yield* endpointOf(values),
      ...Object.fromEntries(given.filter(([, value]) => value !== undefined))
    }
    return yield* Effect.fromResult(Result.mapError(ServiceInstance.decode(record), (reason) => wrong(reason)))
  })
