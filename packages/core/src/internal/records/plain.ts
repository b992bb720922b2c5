/** Records as JSON: ours, and what others wrote. */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import type { Place } from "../../RecordFormat.ts"
import * as ServiceInstance from "../../ServiceInstance.ts"
import * as Others from "./others.ts"

/** The JSON object that the text is; none: it is something else. */
export const objectOf = (text: string): Others.Fields | undefined => {
  if (!text.trimStart().startsWith("{")) return undefined
  const value = Result.try((): unknown => JSON.parse(text))
  return Result.isSuccess(value) && Predicate.isObject(value.success) ? value.success : undefined
}

/** Whether it is JSON Web Encryption. */
export const isSealed = (fields: Others.Fields): boolean => Object.hasOwn(fields, "ciphertext")

export const read = (text: string, place: Place): Result.Result<ServiceInstance.ServiceInstance, string> =>
  Result.flatMap(decode(text, place), writable)

const decode = (text: string, place: Place): Result.Result<ServiceInstance.ServiceInstance, string> => {
  const fields = objectOf(text)
  if (fields !== undefined) {
    if (isSealed(fields)) return Result.fail("it is sealed, and this registry was given no keys")
    return Predicate.isObject(fields["endpoint"]) ? own(fields, place) : Others.fromFields(fields, place)
  }
  const address = text.trim()
  if (address.startsWith("{")) return Result.fail(`not JSON; ${Others.expected}`)
  return place.service === undefined
    ? Result.fail("service: neither its key nor its value names one")
    : Others.fromText(address, place)
}

/** A record of ours. It may leave to its key what that says, and must not contradict it. */
const own = (fields: Others.Fields, place: Place): Result.Result<ServiceInstance.ServiceInstance, string> =>
  Result.flatMap(ServiceInstance.decode({ ...place, ...fields }), (instance) => {
    if (instance.id !== place.id) {
      return Result.fail(`id: ${JSON.stringify(instance.id)} is not "${place.id}", which its key says`)
    }
    return place.service === undefined || instance.service === place.service
      ? Result.succeed(instance)
      : Result.fail(`service: ${JSON.stringify(instance.service)} is not "${place.service}", which its key says`)
  })

export const write = (instance: ServiceInstance.ServiceInstance): Result.Result<string, string> =>
  Result.map(writable(instance), (instance) => JSON.stringify(instance))

/** Handlers of a process are none of another's business. */
const writable = (instance: ServiceInstance.ServiceInstance): Result.Result<ServiceInstance.ServiceInstance, string> =>
  instance.endpoint.transport === "in-process"
    ? Result.fail("endpoint: an in-process endpoint is not written down")
    : Result.succeed(instance)
