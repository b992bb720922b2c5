/**
 * Lists and watches, by what their queries ask.
 *
 * @since 0.2.0
 */
import * as Answer from "./Answer.ts"
import { at, type Json, type JsonObject, objectOf, textOf } from "./Json.ts"
import type { Target } from "./Request.ts"
import { apiVersionOf } from "./Resource.ts"
import * as Selector from "./Selector.ts"
import type { Entry, Store } from "./Store.ts"
import type { Watch } from "./Watching.ts"

type Query = URLSearchParams

const isTrue = (text: string | null) => text === "1" || text === "true"

const selectorOf = (query: Query): Selector.Selector | Answer.Refusal => {
  const labels = Selector.labels(query.get("labelSelector") ?? "")
  const fields = Selector.fields(query.get("fieldSelector") ?? "")
  if (labels === undefined) return Answer.badRequest("unable to parse requirement of labelSelector")
  if (fields === undefined) return Answer.badRequest("field label not supported in fieldSelector")
  return (object) => labels(object) && fields(object)
}

const refused = (field: string, message: string) =>
  new Answer.Refusal(422, "Invalid", `ListOptions.meta.k8s.io "" is invalid: ${field}: Forbidden: ${message}`, {
    details: {
      group: "meta.k8s.io",
      kind: "ListOptions",
      causes: [{ reason: "FieldValueForbidden", message: `Forbidden: ${message}`, field }]
    }
  })

/** A revision as queries carry it: none, any (0), or one. */
const revisionOf = (query: Query): number | Answer.Refusal | undefined => {
  const text = query.get("resourceVersion") ?? ""
  if (text === "") return undefined
  return /^\d{1,15}$/.test(text)
    ? Number(text)
    : Answer.badRequest(`Invalid value: "${text}": resourceVersion must be a decimal number`)
}

/**
 * What a query selects of what there is now.
 *
 * @category accessors
 * @since 0.2.0
 */
export const selected = (
  store: Store,
  { namespace, resource }: Target,
  query: Query
): ReadonlyArray<Entry> | Answer.Refusal => {
  const selector = selectorOf(query)
  return selector instanceof Answer.Refusal
    ? selector
    : store.list(resource, namespace).filter(({ object }) => selector(object))
}

interface Continue {
  readonly revision: number
  readonly start: string
}

const tokenOf = ({ revision, start }: Continue): string =>
  Buffer.from(JSON.stringify({ v: "meta.k8s.io/v1", rv: revision, start })).toString("base64url")

const continueOf = (token: string): Continue | undefined => {
  const text = Buffer.from(token, "base64url").toString("utf8")
  const [, revision, start] = /^\{"v":"meta\.k8s\.io\/v1","rv":(-?\d+),"start":("(?:[^"\\]|\\.)*")\}$/.exec(text) ?? []
  if (revision === undefined || start === undefined) return undefined
  const parsed: Json = JSON.parse(start)
  return typeof parsed === "string" ? { revision: Number(revision), start: parsed } : undefined
}

/** Which revision is listed; `undefined` for what there is now. */
const listed = (store: Store, query: Query, limit: number): number | Answer.Refusal | undefined => {
  const revision = revisionOf(query)
  if (revision instanceof Answer.Refusal) return revision
  const match = query.get("resourceVersionMatch") ?? ""
  if (match !== "" && revision === undefined) {
    return refused("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")
  }
  if (revision === undefined || revision === 0) return undefined
  if (revision > store.revision()) return Answer.tooLarge(revision, store.revision())
  // A limit alone asks for exactly this revision, as it did before it could be said.
  if (match !== "Exact" && (match !== "" || limit === 0)) return undefined
  return store.forgot(revision) ? Answer.expired("list") : revision
}

/**
 * Answers a list, or a page of one.
 *
 * @category combinators
 * @since 0.2.0
 */
export const list = (store: Store, target: Target, query: Query): Answer.Answer => {
  const { namespace, resource } = target
  const selector = selectorOf(query)
  if (selector instanceof Answer.Refusal) return selector
  const limited = Number(query.get("limit") ?? 0)
  // What a cache answers comes in one piece.
  const limit = query.get("resourceVersion") === "0" ? 0 : limited
  const token = query.get("continue") ?? ""
  const nameOf = (entry: Entry) => namespace === "" ? `${entry.namespace}/${entry.name}` : entry.name

  let start = ""
  let asked: number | Answer.Refusal | undefined
  if (token === "") asked = listed(store, query, limit)
  else {
    const continued = continueOf(token)
    if (continued === undefined) return Answer.badRequest("continue key is not valid")
    if ((query.get("resourceVersion") ?? "") !== "") {
      return Answer.badRequest("specifying resource version is not allowed when using continue")
    }
    start = continued.start
    // Without a revision it goes on with what there is now.
    if (continued.revision > 0) asked = continued.revision
    if (continued.revision > 0 && store.forgot(continued.revision)) {
      return Answer.expired("list", tokenOf({ revision: -1, start }))
    }
  }
  if (asked instanceof Answer.Refusal) return asked
  const revision = asked ?? store.revision()

  const all = store.list(resource, namespace, revision).filter((entry) =>
    selector(entry.object) && nameOf(entry) >= start
  )
  const page = limit > 0 ? all.slice(0, limit) : all
  const last = page.at(-1)
  const left = all.length - page.length
  const chosen = query.has("labelSelector") || query.has("fieldSelector")
  const more = left === 0 || last === undefined ? {} : {
    continue: tokenOf({ revision, start: `${nameOf(last)}\u0000` }),
    ...(chosen ? {} : { remainingItemCount: left })
  }
  return {
    status: 200,
    body: {
      kind: `${resource.kind}List`,
      apiVersion: apiVersionOf(resource),
      metadata: { resourceVersion: String(revision), ...more },
      items: page.map(({ object }) => itemOf(object))
    }
  }
}

// The list says once what its items are.
const itemOf = (object: JsonObject): JsonObject => {
  const { apiVersion: _, kind: __, ...item } = object
  return item
}

/**
 * Reads what a watch asks for; `longest` bounds its time, in seconds.
 *
 * @category constructors
 * @since 0.2.0
 */
export const watchOf = (
  store: Store,
  { namespace, resource }: Target,
  query: Query,
  longest: number | undefined
): Watch | Answer.Refusal => {
  const selector = selectorOf(query)
  if (selector instanceof Answer.Refusal) return selector
  const revision = revisionOf(query)
  if (revision instanceof Answer.Refusal) return revision
  const sendInitial = query.get("sendInitialEvents")
  const match = query.get("resourceVersionMatch") ?? ""
  if (sendInitial === null && match !== "") {
    return refused(
      "resourceVersionMatch",
      "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
    )
  }
  if (sendInitial !== null && match !== "NotOlderThan") {
    return refused("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
  }
  const asked = Number(query.get("timeoutSeconds") ?? 0)
  const seconds = Math.min(asked > 0 ? asked : Infinity, longest ?? Infinity)
  const fresh = revision === undefined || revision === 0
  const initial = sendInitial === null ? (fresh ? "list" : "none") : isTrue(sendInitial) ? "marked" : "none"
  return {
    resource,
    namespace,
    selector,
    initial,
    after: fresh ? store.revision() : revision,
    bookmarks: isTrue(query.get("allowWatchBookmarks")),
    seconds: Number.isFinite(seconds) ? seconds : undefined
  }
}

/**
 * The scale of a Deployment.
 *
 * @category accessors
 * @since 0.2.0
 */
export const scaleOf = ({ name, namespace, object, revision, uid }: Entry): JsonObject => {
  const selector = Object.entries(objectOf(at(object, "spec", "selector", "matchLabels")))
  const creationTimestamp = at(object, "metadata", "creationTimestamp") ?? null
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: { name, namespace, uid, resourceVersion: String(revision), creationTimestamp },
    spec: { replicas: at(object, "spec", "replicas") ?? 0 },
    status: {
      replicas: at(object, "status", "replicas") ?? 0,
      selector: selector.map(([key, text]) => `${key}=${textOf(text)}`).sort().join(",")
    }
  }
}
