/**
 * The text of a registry file, JSON or YAML, and what it says.
 */
import type { Rejected } from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Yaml from "effect/encoding/Yaml"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { jsonMistake } from "./jsonMistake.ts"

/** A registry file: its services as they are written, and every other key. */
export interface RegistryFile {
  readonly services: ReadonlyArray<unknown>
  readonly [key: string]: unknown
}

export interface Records {
  readonly instances: ReadonlyArray<ServiceInstance.ServiceInstance>
  readonly rejected: ReadonlyArray<Rejected>
}

export const isYaml = (path: string, text: string): boolean =>
  /\.ya?ml$/i.test(path) || !/\.json$/i.test(path) && !/^\s*[{[]/.test(text)

/** Reads the text of a file; the failure is one line with the position of the mistake. */
export const parse = (path: string, input: string): Result.Result<RegistryFile, string> => {
  const text = input.replace(/^\uFEFF/, "")
  if (text.trim() === "") return Result.fail("the file is empty; {\"services\": []} says that there are none")
  let value: unknown
  try {
    value = isYaml(path, text) ? Yaml.parse(text) : JSON.parse(text)
  } catch (error) {
    const own = error instanceof Error ? error.message : String(error)
    return Result.fail((isYaml(path, text) ? undefined : jsonMistake(text)) ?? own.replace(/\s+/g, " "))
  }
  if (!Predicate.isObject(value)) return Result.fail("expected a record with the key \"services\"")
  const services = Object.hasOwn(value, "services") ? Reflect.get(value, "services") : undefined
  return Array.isArray(services)
    ? Result.succeed({ ...value, services })
    : Result.fail(
      `services: expected a list, found ${
        services === undefined ? "nothing" : services === null ? "null" : typeof services
      }`
    )
}

/** Records decoded between two yields to others: a few milliseconds. */
const slice = 100

/** Decodes the records; wrong ones are told by their id, or by their place where they have none. */
export const decode = (services: ReadonlyArray<unknown>): Effect.Effect<Records> =>
  Effect.gen(function*() {
    const instances = new Map<string, ServiceInstance.ServiceInstance>()
    const rejected: Array<Rejected> = []
    for (const [index, record] of services.entries()) {
      if (index % slice === slice - 1) yield* Effect.yieldNow
      const decoded = ServiceInstance.decode(record)
      const place = `services[${index}]`
      if (Result.isFailure(decoded)) rejected.push({ id: idOf(record) ?? place, reason: decoded.failure })
      else if (instances.has(decoded.success.id)) {
        rejected.push({ id: place, reason: `id: "${decoded.success.id}" is taken by an earlier record` })
      } else instances.set(decoded.success.id, decoded.success)
    }
    return { instances: Array.from(instances.values()), rejected }
  })

const idOf = (record: unknown): string | undefined => {
  const id = Predicate.isObject(record) && Object.hasOwn(record, "id") ? Reflect.get(record, "id") : undefined
  return typeof id === "string" && id !== "" ? id : undefined
}
