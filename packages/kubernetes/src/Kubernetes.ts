/**
 * A client of an API server of Kubernetes: lists, watches and writes over HTTP.
 *
 * **Mental model**: a list answers what there is and how far the server is; a watch goes on from there, for as long as it
 * is asked to. Nothing is retried, except that a request which is refused for its credentials is made once more with
 * those that lie there now.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ApiServer } from "./internal/apiServer.ts"
import * as Connections from "./internal/connections.ts"
import { type Asked, garbled, type KubernetesError } from "./internal/kubernetesError.ts"
import * as WatchLines from "./internal/watchLines.ts"

export { type ApiServer, type ApiServerOptions, make as apiServer } from "./internal/apiServer.ts"
export { KubernetesError } from "./internal/kubernetesError.ts"
export type { WatchEvent } from "./internal/watchLines.ts"

/**
 * A kind of object, as its address has it.
 *
 * @category models
 * @since 0.2.0
 */
export interface Resource {
  /** Such as `apis/apps/v1`. */
  readonly group: string
  /** In the plural. */
  readonly name: string
}

/**
 * Services.
 *
 * @category constants
 * @since 0.2.0
 */
export const services: Resource = { group: "api/v1", name: "services" }

/**
 * The endpoints of Services, in slices.
 *
 * @category constants
 * @since 0.2.0
 */
export const endpointSlices: Resource = { group: "apis/discovery.k8s.io/v1", name: "endpointslices" }

/**
 * Deployments.
 *
 * @category constants
 * @since 0.2.0
 */
export const deployments: Resource = { group: "apis/apps/v1", name: "deployments" }

/**
 * Some of the objects of a kind.
 *
 * @category models
 * @since 0.2.0
 */
export interface Selection {
  readonly resource: Resource
  /** Default: all namespaces. */
  readonly namespace?: string | undefined
  /** As Kubernetes writes selectors. Default: all of them. */
  readonly labelSelector?: string | undefined
}

/**
 * The objects that there are, as of a version of everything.
 *
 * @category models
 * @since 0.2.0
 */
export interface List {
  readonly resourceVersion: string
  readonly items: ReadonlyArray<unknown>
}

/**
 * One request about one object, or about the making of one.
 *
 * @category models
 * @since 0.2.0
 */
export interface ObjectRequest {
  readonly verb: "get" | "create" | "update" | "patch" | "delete"
  readonly resource: Resource
  readonly namespace: string
  /** Not of one that is created. */
  readonly name?: string | undefined
  /** Such as `scale`. */
  readonly subresource?: string | undefined
  /** The object, what a deletion depends on, or a merge patch (RFC 7396); a list is a JSON Patch (RFC 6902). */
  readonly body?: unknown
}

/**
 * A client.
 *
 * @category models
 * @since 0.2.0
 */
export interface Kubernetes {
  /** That of the service account or of the context. */
  readonly namespace: Effect.Effect<string, KubernetesError>
  /** Everything, read in pages. */
  readonly list: (selection: Selection) => Effect.Effect<List, KubernetesError>
  /** The first of them, and how far the server is. */
  readonly first: (selection: Selection) => Effect.Effect<List, KubernetesError>
  /** What happens after a version, for so many seconds; what arrives together is one value, and the first is empty. */
  readonly watch: (
    selection: Selection,
    resourceVersion: string,
    seconds: number
  ) => Stream.Stream<ReadonlyArray<WatchLines.WatchEvent>, KubernetesError>
  /** The object as it is then. */
  readonly send: (request: ObjectRequest) => Effect.Effect<unknown, KubernetesError>
}

/** Objects of one page. */
const pageSize = 500

const ListAnswer = Schema.fromJsonString(Schema.Struct({
  metadata: Schema.Struct({ resourceVersion: Schema.String, continue: Schema.optionalKey(Schema.String) }),
  items: Schema.NullOr(Schema.Array(Schema.Unknown))
}))
const readList = Schema.decodeUnknownEffect(ListAnswer)

const readObject = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Unknown))

/**
 * Makes a client. Its connections are closed with the scope.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = Effect.fnUntraced(function*(server: ApiServer): Effect.fn.Return<Kubernetes, never, Scope.Scope> {
  const { open, text } = yield* Connections.make(server)

  const page = (selection: Selection, parameters: Readonly<Record<string, string>>) => {
    const asked = askedOf("list", selection)
    return Effect.flatMap(
      text(asked, { method: "GET", path: pathOf(selection, parameters) }),
      (text) => Effect.mapError(readList(text), () => garbled(asked))
    )
  }

  const list = Effect.fnUntraced(function*(selection: Selection) {
    const first = yield* page(selection, { limit: String(pageSize) })
    const items = [...first.items ?? []]
    for (let next = first.metadata.continue ?? ""; next !== "";) {
      const more = yield* page(selection, { limit: String(pageSize), continue: next })
      items.push(...more.items ?? [])
      next = more.metadata.continue ?? ""
    }
    return { resourceVersion: first.metadata.resourceVersion, items }
  })

  /** In one answer. */
  const whole = (selection: Selection, parameters: Readonly<Record<string, string>> = {}) =>
    Effect.map(page(selection, parameters), ({ items, metadata: { resourceVersion } }) => ({
      resourceVersion,
      items: items ?? []
    }))

  return {
    namespace: Effect.map(server.access, ({ namespace }) => namespace),
    // A page that comes too late can't be asked for any more.
    list: (selection) => Effect.catchIf(list(selection), ({ status }) => status === 410, () => whole(selection)),
    first: (selection) => whole(selection, { limit: "1" }),
    watch: (selection, resourceVersion, seconds) => {
      const asked = askedOf("watch", selection)
      const path = pathOf(selection, {
        watch: "true",
        allowWatchBookmarks: "true",
        resourceVersion,
        timeoutSeconds: String(seconds)
      })
      return Stream.unwrap(Effect.map(
        // It ends within its seconds; a connection that died without a word doesn't say so.
        open(asked, { method: "GET", path, silence: 1250 * seconds }),
        (bytes) =>
          Stream.concat(
            Stream.succeed<ReadonlyArray<WatchLines.WatchEvent>>([]),
            Stream.mapEffect(bytes, WatchLines.reader(asked))
          )
      ))
    },
    send: ({ body, verb, ...object }) => {
      const asked = askedOf(verb, object)
      const patch = Array.isArray(body) ? "application/json-patch+json" : "application/merge-patch+json"
      const contentType = verb === "patch" ? patch : "application/json"
      return Effect.flatMap(
        text(asked, {
          method: methods[verb],
          path: pathOf(object),
          ...(body === undefined ? {} : { body: JSON.stringify(body), contentType })
        }),
        (text) => Effect.mapError(readObject(text), () => garbled(asked))
      )
    }
  }
})

const methods = { get: "GET", create: "POST", update: "PUT", patch: "PATCH", delete: "DELETE" } as const

type Which = Selection & Pick<ObjectRequest, "name" | "subresource">

const askedOf = (verb: string, { namespace = "", resource, subresource }: Which): Asked => ({
  verb,
  resource: subresource === undefined ? resource.name : `${resource.name}/${subresource}`,
  namespace
})

const pathOf = (
  { labelSelector, name, namespace, resource, subresource }: Which,
  parameters: Readonly<Record<string, string>> = {}
): string => {
  const parts = [
    namespace === undefined ? [] : ["namespaces", namespace],
    [resource.name],
    name ?? [],
    subresource ?? []
  ]
  const query = new URLSearchParams({ ...(labelSelector === undefined ? {} : { labelSelector }), ...parameters })
  const path = parts.flat().map(encodeURIComponent).join("/")
  return `/${resource.group}/${path}${query.size === 0 ? "" : `?${query}`}`
}
