/**
 * What the stand-in answers, in the words of Kubernetes where those were recorded.
 *
 * @since 0.2.0
 */
import type { JsonObject } from "./Json.ts"
import { qualified, type Resource } from "./Resource.ts"

/**
 * An answer to a request.
 *
 * @category models
 * @since 0.2.0
 */
export interface Answer {
  readonly status: number
  readonly body: JsonObject
}

/**
 * What is wrong with an object.
 *
 * @category models
 * @since 0.2.0
 */
export interface Problem {
  readonly reason:
    | "FieldValueDuplicate"
    | "FieldValueForbidden"
    | "FieldValueInvalid"
    | "FieldValueNotSupported"
    | "FieldValueRequired"
    | "FieldValueTooMany"
  readonly field: string
  readonly message: string
}

/**
 * Why something wasn't done: an answer of kind Status.
 *
 * @category models
 * @since 0.2.0
 */
export class Refusal implements Answer {
  readonly status: number
  readonly body: JsonObject
  readonly retryAfter: number | undefined

  constructor(code: number, reason: string, message: string, more: {
    readonly details?: JsonObject | undefined
    readonly metadata?: JsonObject | undefined
    readonly retryAfter?: number | undefined
  } = {}) {
    this.status = code
    this.retryAfter = more.retryAfter
    const details = more.retryAfter === undefined
      ? more.details
      : { ...more.details, retryAfterSeconds: more.retryAfter }
    this.body = {
      kind: "Status",
      apiVersion: "v1",
      metadata: more.metadata ?? {},
      status: "Failure",
      message,
      reason,
      ...(details === undefined ? {} : { details }),
      code
    }
  }
}

const detailsOf = (resource: Resource, name: string, kind = resource.plural): JsonObject => ({
  ...(name === "" ? {} : { name }),
  ...(resource.group === "" ? {} : { group: resource.group }),
  kind
})

const quoted = (resource: Resource, name: string) => `${qualified(resource.plural, resource)} "${name}"`

/**
 * @category constructors
 * @since 0.2.0
 */
export const unauthorized = new Refusal(401, "Unauthorized", "Unauthorized")

/**
 * @category constructors
 * @since 0.2.0
 */
export const badRequest = (message: string): Refusal => new Refusal(400, "BadRequest", message)

/**
 * A path that leads to no resource.
 *
 * @category constructors
 * @since 0.2.0
 */
export const unknown = new Refusal(404, "NotFound", "the server could not find the requested resource", { details: {} })

/**
 * @category constructors
 * @since 0.2.0
 */
export const notFound = (resource: Resource, name: string): Refusal =>
  new Refusal(404, "NotFound", `${quoted(resource, name)} not found`, { details: detailsOf(resource, name) })

/**
 * @category constructors
 * @since 0.2.0
 */
export const alreadyExists = (resource: Resource, name: string): Refusal =>
  new Refusal(409, "AlreadyExists", `${quoted(resource, name)} already exists`, { details: detailsOf(resource, name) })

/**
 * @category constructors
 * @since 0.2.0
 */
export const conflict = (
  resource: Resource,
  name: string,
  why = "the object has been modified; please apply your changes to the latest version and try again"
): Refusal =>
  new Refusal(409, "Conflict", `Operation cannot be fulfilled on ${quoted(resource, name)}: ${why}`, {
    details: detailsOf(resource, name)
  })

/**
 * @category constructors
 * @since 0.2.0
 */
export const forbidden = (asked: {
  readonly user: string
  readonly verb: string
  readonly resource: Resource
  readonly subresource: string
  readonly namespace: string
  readonly name: string
}): Refusal => {
  const { name, namespace, resource, subresource, user, verb } = asked
  const where = namespace === "" ? "at the cluster scope" : `in the namespace "${namespace}"`
  const what = subresource === "" ? resource.plural : `${resource.plural}/${subresource}`
  return new Refusal(
    403,
    "Forbidden",
    `${name === "" ? qualified(resource.plural, resource) : quoted(resource, name)} is forbidden: User "${user}" ` +
      `cannot ${verb} resource "${what}" in API group "${resource.group}" ${where}`,
    { details: detailsOf(resource, name) }
  )
}

/**
 * @category constructors
 * @since 0.2.0
 */
export const invalid = (resource: Resource, name: string, problems: ReadonlyArray<Problem>): Refusal => {
  const told = problems.map(({ field, message }) => `${field}: ${message}`)
  const all = told.length === 1 ? told[0] : `[${told.join(", ")}]`
  return new Refusal(422, "Invalid", `${qualified(resource.kind, resource)} "${name}" is invalid: ${all}`, {
    details: {
      ...detailsOf(resource, name, resource.kind),
      causes: problems.map(({ field, message, reason }) => ({ reason, message, field }))
    }
  })
}

/**
 * A revision of which the history is forgotten; `continuing` is the token that goes on nonetheless.
 *
 * @category constructors
 * @since 0.2.0
 */
export const expired = (what: "list" | "watch", continuing?: string): Refusal =>
  continuing === undefined
    ? new Refusal(410, "Expired", `The resourceVersion for the provided ${what} is too old.`)
    : new Refusal(410, "Expired", "The provided continue parameter is too old to display a consistent list result.", {
      metadata: { continue: continuing }
    })

/**
 * A revision that isn't reached yet.
 *
 * @category constructors
 * @since 0.2.0
 */
export const tooLarge = (asked: number, current: number): Refusal =>
  new Refusal(504, "Timeout", `Timeout: Too large resource version: ${asked}, current: ${current}`, {
    details: { causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }] },
    retryAfter: 1
  })

/**
 * What was deleted, of a resource that doesn't answer with the object.
 *
 * @category constructors
 * @since 0.2.0
 */
export const deleted = (resource: Resource, name: string, uid: string): Answer => ({
  status: 200,
  body: {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Success",
    details: { ...detailsOf(resource, name), uid }
  }
})
