/**
 * A request from its arrival to its answer: faults, authentication, rights, then the resource.
 *
 * @since 0.2.0
 */
import { randomUUID } from "node:crypto"
import type { IncomingMessage, ServerResponse } from "node:http"
import { TLSSocket } from "node:tls"
import * as Answer from "./Answer.ts"
import type { Asked, Faults } from "./Faults.ts"
import { at, type Json } from "./Json.ts"
import { bodyOf } from "./Listener.ts"
import type { ApiRequest } from "./Log.ts"
import * as Reading from "./Reading.ts"
import { type Target, targetOf } from "./Request.ts"
import type { Store } from "./Store.ts"
import type { Watching } from "./Watching.ts"
import type { Writer, Writing } from "./Writing.ts"

/**
 * What a request meets.
 *
 * @category models
 * @since 0.2.0
 */
export interface Context {
  readonly store: Store
  readonly writing: Writing
  readonly watching: Watching
  readonly faults: Faults
  readonly user: string
  /** Whether a token is taken. */
  readonly takes: (token: string) => boolean
  /** The longest that a watch may last now, in seconds. */
  readonly longest: () => number | undefined
  readonly answered: (request: ApiRequest) => void
}

/** As the API server has it. */
const largestBody = 3 << 20

const patches = [
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json"
]

/**
 * Makes what handles requests.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (context: Context) => {
  const flows = { user: randomUUID(), level: randomUUID() }

  const userOf = (request: IncomingMessage): string | undefined => {
    const { socket } = request
    if (socket instanceof TLSSocket && socket.authorized) return context.user
    const header = request.headers.authorization
    if (header === undefined) return "system:anonymous"
    return header.startsWith("Bearer ") && context.takes(header.slice(7)) ? context.user : undefined
  }

  const headersOf = (status: number): Record<string, string> => ({
    "audit-id": randomUUID(),
    "cache-control": "no-cache, private",
    "content-type": "application/json",
    ...(status === 403 ? { "x-content-type-options": "nosniff" } : {}),
    ...(status === 401 ? {} : {
      "x-kubernetes-pf-flowschema-uid": flows.user,
      "x-kubernetes-pf-prioritylevel-uid": flows.level
    })
  })

  const send = (request: IncomingMessage, url: URL, response: ServerResponse, answer: Answer.Answer) => {
    const asked = url.searchParams.get("pretty")
    const pretty = asked === null
      ? /^(curl|Wget|Mozilla)\//.test(request.headers["user-agent"] ?? "")
      : asked !== "false" && asked !== "0"
    const text = pretty ? JSON.stringify(answer.body, undefined, 2) : `${JSON.stringify(answer.body)}\n`
    const wait = answer instanceof Answer.Refusal ? answer.retryAfter : undefined
    response.writeHead(answer.status, {
      ...headersOf(answer.status),
      ...(wait === undefined ? {} : { "retry-after": String(wait) }),
      "content-length": Buffer.byteLength(text)
    }).end(text)
  }

  const answerOf = (request: IncomingMessage, url: URL, target: Target, body: Json): Answer.Answer => {
    const { store, writing } = context
    const writer: Writer = { manager: /^[^/]*/.exec(request.headers["user-agent"] ?? "")?.[0] ?? "", controller: false }
    if (target.subresource === "scale") return scaled(request, target, body, writer)
    switch (target.verb) {
      case "get": {
        const entry = store.get(target.resource, target.namespace, target.name)
        return entry === undefined
          ? Answer.notFound(target.resource, target.name)
          : { status: 200, body: entry.object }
      }
      case "create":
        return writing.create(target, body, writer)
      case "update":
        return writing.update(target, body, writer)
      case "patch": {
        const type = mediaType(request)
        return patches.includes(type) ? writing.patch(target, type, body, writer) : unsupported(type)
      }
      case "delete":
        return writing.remove(target, body)
      case "deletecollection": {
        const selected = Reading.selected(store, target, url.searchParams)
        if (selected instanceof Answer.Refusal) return selected
        const listed = Reading.list(store, target, url.searchParams)
        for (const { name } of selected) writing.remove({ ...target, name }, body)
        return listed
      }
      default:
        return Reading.list(store, target, url.searchParams)
    }
  }

  const unsupported = (type: string) =>
    new Answer.Refusal(
      415,
      "UnsupportedMediaType",
      `the body of the request was in an unknown format - accepted media types include: ${patches.join(", ")}`,
      { details: { kind: type } }
    )

  const scaled = (request: IncomingMessage, target: Target, body: Json, writer: Writer): Answer.Answer => {
    const { name, namespace, resource, verb } = target
    const entry = context.store.get(resource, namespace, name)
    if (entry === undefined) return Answer.notFound(resource, name)
    const type = mediaType(request)
    if (verb === "patch" && !patches.includes(type)) return unsupported(type)
    if (verb !== "get") {
      const replicas = at(body, "spec", "replicas")
      const resourceVersion = at(body, "metadata", "resourceVersion")
      const change = {
        ...(replicas === undefined ? {} : { spec: { replicas } }),
        ...(resourceVersion === undefined ? {} : { metadata: { resourceVersion } })
      }
      const answer = context.writing.patch(target, "application/merge-patch+json", change, writer)
      if (answer instanceof Answer.Refusal) return answer
    }
    return { status: 200, body: Reading.scaleOf(context.store.get(resource, namespace, name) ?? entry) }
  }

  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = request.url ?? "/"
    const method = request.method ?? "GET"
    const url = new URL(path, "http://stand-in")
    const text = await bodyOf(request, largestBody)
    if (request.destroyed && text === undefined) return
    const body = text === undefined ? undefined : parsed(text)
    const target = targetOf(method, url)
    const asked: Asked = {
      verb: target?.verb ?? "",
      resource: target === undefined ? "" : nameOf(target),
      namespace: target?.namespace ?? "",
      name: target?.name ?? ""
    }

    const tell = (status: number) =>
      context.answered({
        method,
        path,
        query: Object.fromEntries(url.searchParams),
        ...asked,
        body: body ?? null,
        status
      })
    const refuse = (answer: Answer.Answer) => {
      send(request, url, response, answer)
      tell(answer.status)
    }

    if (/^\/(readyz|livez|healthz)$/.test(url.pathname)) {
      response.writeHead(200, { "content-type": "text/plain; charset=utf-8" }).end("ok")
      return tell(200)
    }
    const refusal = context.faults.next(asked)
    if (refusal !== undefined) return refuse(refusal)
    const user = userOf(request)
    if (user === undefined) return refuse(Answer.unauthorized)
    if (target === undefined) return refuse(Answer.unknown)
    if (user !== context.user || context.faults.denies(asked)) return refuse(Answer.forbidden({ ...target, user }))
    if (text === undefined) {
      return refuse(new Answer.Refusal(413, "RequestEntityTooLarge", `limit is ${largestBody}`))
    }
    if (body === undefined) return refuse(Answer.badRequest("the body of the request is no JSON"))
    if (target.verb !== "watch") return refuse(answerOf(request, url, target, body))
    const watch = Reading.watchOf(context.store, target, url.searchParams, context.longest())
    if (watch instanceof Answer.Refusal) return refuse(watch)
    response.writeHead(200, headersOf(200))
    tell(200)
    context.watching.open(watch, response)
  }
}

const mediaType = (request: IncomingMessage): string => (request.headers["content-type"] ?? "").split(";")[0] ?? ""

const nameOf = ({ resource, subresource }: Target) =>
  subresource === "" ? resource.plural : `${resource.plural}/${subresource}`

/** What a body says; an empty one says nothing. `undefined` where it isn't JSON. */
const parsed = (text: string): Json | undefined => {
  if (text === "") return null
  try {
    const json: Json = JSON.parse(text)
    return json
  } catch {
    return undefined
  }
}
