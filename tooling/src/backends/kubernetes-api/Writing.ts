/**
 * Writes: what an object goes through until it is stored.
 *
 * @since 0.2.0
 */
import { randomInt, randomUUID } from "node:crypto"
import * as Answer from "./Answer.ts"
import { allocated, defaulted } from "./Defaults.ts"
import { at, isObject, type Json, type JsonObject, objectOf, same, textOf } from "./Json.ts"
import * as ManagedFields from "./ManagedFields.ts"
import * as Patch from "./Patch.ts"
import { apiVersionOf, ofKind, type Resource } from "./Resource.ts"
import { ordered } from "./Shape.ts"
import type { Entry, Store } from "./Store.ts"
import { problemsOf } from "./Validation.ts"

/**
 * Where an object is, or shall be.
 *
 * @category models
 * @since 0.2.0
 */
export interface Place {
  readonly resource: Resource
  readonly namespace: string
  readonly name: string
}

/**
 * Who writes. What controllers write isn't checked, and they alone tell a status.
 *
 * @category models
 * @since 0.2.0
 */
export interface Writer {
  readonly manager: string
  readonly controller: boolean
}

/**
 * The writes, each with its answer.
 *
 * @category models
 * @since 0.2.0
 */
export interface Writing {
  readonly create: (place: Place, body: Json, writer: Writer) => Answer.Answer
  readonly update: (place: Place, body: Json, writer: Writer) => Answer.Answer
  readonly patch: (place: Place, type: string, body: Json, writer: Writer) => Answer.Answer
  readonly remove: (place: Place, options: Json) => Answer.Answer
  /** Creates or replaces as a controller does. */
  readonly apply: (place: Place, body: JsonObject, manager: string) => Entry
}

const now = () => `${new Date().toISOString().slice(0, 19)}Z`

// Without vowels and what looks like them, as Kubernetes does it.
const letters = "bcdfghjklmnpqrstvwxz2456789"
const suffix = () => Array.from({ length: 5 }, () => letters[randomInt(letters.length)]).join("")

const without = (object: JsonObject, ...names: ReadonlyArray<string>): JsonObject =>
  Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)))

/** What the server alone counts. */
const versions = ["resourceVersion", "generation", "managedFields"]

/** What an update is compared by. */
const essence = (object: JsonObject): JsonObject => ({
  ...object,
  metadata: without(objectOf(object["metadata"]), ...versions)
})

/** What a generation counts: the contents, and of slices the labels. */
const counted = (object: JsonObject): JsonObject => ({
  ...without(object, "metadata", "status"),
  labels: object["kind"] === "EndpointSlice" ? at(object, "metadata", "labels") : undefined
})

const generationOf = (before: Entry | undefined, after: JsonObject): number => {
  if (before === undefined) return 1
  const generation = Number(at(before.object, "metadata", "generation") ?? 1)
  return same(counted(before.object), counted(after)) ? generation : generation + 1
}

/**
 * Makes the writes of a store.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (store: Store, options: { readonly allowLoopback: boolean }): Writing => {
  let addresses = 50
  const address = () => {
    const number = addresses++
    return `10.96.${number >> 8}.${number & 255}`
  }

  /** Stores an object in the place of another or of none; the other where nothing changed. */
  const stored = (
    place: Place,
    body: JsonObject,
    before: Entry | undefined,
    writer: Writer
  ): Entry | Answer.Refusal => {
    const { name, namespace, resource } = place
    const old = objectOf(before?.object["metadata"])
    const typed = {
      ...without(body, ...(writer.controller ? [] : ["status"])),
      kind: resource.kind,
      apiVersion: apiVersionOf(resource),
      metadata: {
        ...without(objectOf(body["metadata"]), ...versions),
        name,
        namespace: resource.namespaced ? namespace : null,
        uid: old["uid"] ?? randomUUID(),
        creationTimestamp: old["creationTimestamp"] ?? now()
      }
    }
    const whole = objectOf(ordered(resource.shape, defaulted(resource, typed)))
    const problems = writer.controller ? [] : problemsOf(resource, whole, before?.object, options.allowLoopback)
    if (problems.length > 0) return Answer.invalid(resource, name, problems)
    if (before === undefined && store.get(resource, namespace, name) !== undefined) {
      return Answer.alreadyExists(resource, name)
    }
    const complete = objectOf(ordered(resource.shape, allocated(resource, whole, before?.object, address)))
    if (before !== undefined && same(essence(complete), essence(before.object))) return before
    const metadata = {
      ...objectOf(complete["metadata"]),
      generation: resource.counted ? generationOf(before, complete) : null,
      managedFields: ManagedFields.written(resource, writer.manager, now(), before?.object, whole),
      // The store fills it in; here it gets its place among the others.
      resourceVersion: ""
    }
    return store.put(resource, objectOf(ordered(resource.shape, { ...complete, metadata })))
  }

  const answered = (status: number, written: Entry | Answer.Refusal): Answer.Answer =>
    written instanceof Answer.Refusal ? written : { status, body: written.object }

  /** What is wrong with the frame of a body. */
  const misfit = ({ name, namespace, resource }: Place, body: JsonObject): Answer.Refusal | undefined => {
    const { apiVersion, kind } = body
    if (
      kind !== undefined && kind !== resource.kind || apiVersion !== undefined && apiVersion !== apiVersionOf(resource)
    ) {
      return Answer.badRequest(
        `${resource.kind} in version "${resource.version}" cannot be handled as a ${resource.kind}: ` +
          `the object is a ${textOf(kind)} of ${textOf(apiVersion)}`
      )
    }
    const said = at(body, "metadata", "namespace")
    if (resource.namespaced && said !== undefined && said !== namespace) {
      return Answer.badRequest("the namespace of the provided object does not match the namespace sent on the request")
    }
    const named = at(body, "metadata", "name")
    return name !== "" && named !== undefined && named !== name
      ? Answer.badRequest("the name of the object does not match the name on the URL")
      : undefined
  }

  const create: Writing["create"] = (place, body, writer) => {
    const { namespace, resource } = place
    if (!isObject(body)) return Answer.badRequest("the body of the request was empty or is no object")
    const wrong = misfit(place, body)
    if (wrong !== undefined) return wrong
    if (resource.namespaced && store.get(ofKind("Namespace"), "", namespace) === undefined) {
      return Answer.notFound(ofKind("Namespace"), namespace)
    }
    if (textOf(at(body, "metadata", "resourceVersion")) !== "") {
      return new Answer.Refusal(500, "InternalError", "resourceVersion should not be set on objects to be created")
    }
    const prefix = textOf(at(body, "metadata", "generateName"))
    const name = textOf(at(body, "metadata", "name")) || (prefix === "" ? "" : prefix + suffix())
    return answered(201, stored({ resource, namespace, name }, body, undefined, writer))
  }

  const update: Writing["update"] = (place, body, writer) => {
    const { name, namespace, resource } = place
    if (!isObject(body)) return Answer.badRequest("the body of the request was empty or is no object")
    const wrong = misfit(place, body)
    if (wrong !== undefined) return wrong
    const before = store.get(resource, namespace, name)
    if (before === undefined) {
      return resource.leased ? create(place, body, writer) : Answer.notFound(resource, name)
    }
    const revision = textOf(at(body, "metadata", "resourceVersion"))
    if (revision === "" && resource.leased) {
      const message = "Invalid value: 0: must be specified for an update"
      return Answer.invalid(resource, name, [{
        reason: "FieldValueInvalid",
        field: "metadata.resourceVersion",
        message
      }])
    }
    if (revision !== "" && revision !== String(before.revision)) return Answer.conflict(resource, name)
    const uid = textOf(at(body, "metadata", "uid"))
    if (uid !== "" && uid !== before.uid) return Answer.conflict(resource, name, differs(uid, before.uid))
    return answered(200, stored(place, body, before, writer))
  }

  const differs = (asked: string, uid: string) =>
    `Precondition failed: UID in precondition: ${asked}, UID in object meta: ${uid}`

  return {
    create,
    update,
    patch: (place, type, body, writer) => {
      const { name, namespace, resource } = place
      const before = store.get(resource, namespace, name)
      if (before === undefined) return Answer.notFound(resource, name)
      const object = before.object
      const patched = type === "application/json-patch+json"
        ? Patch.jsonPatched(object, body)
        : Patch.merged(object, body, type === "application/merge-patch+json" ? undefined : resource.shape)
      return isObject(patched)
        ? update(place, patched, writer)
        : new Answer.Refusal(422, "Invalid", "the server rejected our request due to an error in our request")
    },
    remove: ({ name, namespace, resource }, options) => {
      const entry = store.get(resource, namespace, name)
      if (entry === undefined) return Answer.notFound(resource, name)
      const uid = textOf(at(options, "preconditions", "uid"))
      if (uid !== "" && uid !== entry.uid) return Answer.conflict(resource, name, differs(uid, entry.uid))
      const revision = textOf(at(options, "preconditions", "resourceVersion"))
      if (revision !== "" && revision !== String(entry.revision)) {
        const why = `Precondition failed: ResourceVersion in precondition: ${revision}, ` +
          `ResourceVersion in object meta: ${entry.revision}`
        return Answer.conflict(resource, name, why)
      }
      const gone = store.remove(entry)
      return resource.answersDeleted ? { status: 200, body: gone.object } : Answer.deleted(resource, name, entry.uid)
    },
    apply: (place, body, manager) => {
      const before = store.get(place.resource, place.namespace, place.name)
      const written = stored(place, body, before, { manager, controller: true })
      if (written instanceof Answer.Refusal) throw new Error(textOf(written.body["message"]))
      return written
    }
  }
}
