/**
 * The relay's engine: one request of a client in, one reply out, notifications in between. Knows no transport.
 *
 * **Details**: messages are carried, not decoded: names, progress tokens and the `_meta` of the hop are rewritten, and
 * what the other era would not understand is translated.
 *
 * @since 0.1.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import { type Attempt, type AttemptFailure, Router, type Routing } from "@portolan/core/Router"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Offer, type OfferKind, ToolCatalog } from "../catalog/ToolCatalog.ts"
import { type Era, statelessVersions } from "../Era.ts"
import { Code, type Fields, type JsonRpcNotification, type JsonRpcRequest, type Reply } from "../JsonRpc.ts"
import { UpstreamError } from "../upstream/Upstream.ts"
import { Upstreams } from "../upstream/Upstreams.ts"
import * as Failures from "./Failures.ts"
import * as Lists from "./Lists.ts"
import * as Logging from "./Logging.ts"
import { type LogLevel, passes } from "./LogLevel.ts"
import * as Meta from "./Meta.ts"
import { nearestName } from "./NearestName.ts"
import * as Notices from "./Notices.ts"
import * as ParamHeaders from "./ParamHeaders.ts"
import * as Translation from "./Translation.ts"

/**
 * Who asks, and in which era.
 *
 * @category models
 * @since 0.1.0
 */
export interface Client {
  readonly era: Era
  readonly protocolVersion: string
  readonly info: Fields | undefined
  readonly capabilities: Fields
  readonly principal: string | undefined
}

/**
 * The client's side of one request.
 *
 * @category models
 * @since 0.1.0
 */
export interface Exchange {
  readonly client: Client
  /** Whether messages can reach the client on this request's stream before the reply. */
  readonly streams: boolean
  /** Sends a notification that belongs to this request. Plain; must not throw. */
  readonly notify: (notification: JsonRpcNotification) => void
  /** Lowest level of log messages wanted. None: in the handshake era what servers send by themselves, else nothing. */
  readonly logLevel: LogLevel | undefined
  /** What the client knows of the lists, where that is kept. */
  readonly known?: Notices.Known | undefined
}

/**
 * Settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface RelayOptions {
  readonly serverInfo: Fields
  readonly instructions: string | undefined
  /** Whether results say how they were routed. */
  readonly showRouting: boolean
  readonly pageSize: number
  /** `ttlMs` of lists and `server/discover`. */
  readonly listTtl: number
  /** Whole time of a call, and the most that progress may extend it to, ms. Those of the router where not given. */
  readonly timeout: number | undefined
  readonly maxTimeout: number | undefined
  /** A log message of a server that belongs to no call, for every session that wants it. Plain. */
  readonly broadcast: (notification: JsonRpcNotification) => void
}

/**
 * The engine.
 *
 * @category models
 * @since 0.1.0
 */
export interface Relay {
  /** Answers a request. Interrupting it cancels it upstream. `subscriptions/listen` is answered by `close`. */
  readonly request: (request: JsonRpcRequest, exchange: Exchange) => Effect.Effect<Reply>
  /** Whether clients of an era may call a method. */
  readonly knows: (era: Era, method: string) => boolean
  /** What `initialize` answers. */
  readonly initialized: (protocolVersion: string) => Effect.Effect<Fields>
  /** Declared headers of a tool against the arguments of its call: the first difference. Plain. */
  readonly headerMismatch: (
    name: string,
    args: unknown,
    header: (name: string) => string | undefined
  ) => string | undefined
  readonly notices: Notices.Notices
  readonly logging: Logging.Logging
  readonly figures: () => { readonly inFlight: number; readonly calls: number; readonly failedCalls: number }
  /** Ends the subscriptions gracefully. Plain. */
  readonly close: () => void
}

/** A request that is on its way to a server. */
interface Call {
  key: InstanceKey | undefined
  /** Number of the attempt whose notifications count. */
  attempt: number
  deliver: (notification: JsonRpcNotification) => void
}

const failure = (code: number, message: string, data?: unknown): Reply => ({
  error: data === undefined ? { code, message } : { code, message, data }
})

const methodNotFound = (method: string): Reply => failure(Code.methodNotFound, `Method not found: ${method}`)

/** Methods that go to one server, and what of the catalog they name. */
const forwarded: ReadonlyMap<
  string,
  { readonly kind: OfferKind; readonly field: "name" | "uri"; readonly what: string }
> = new Map([
  ["tools/call", { kind: "tools", field: "name", what: "tool" }],
  ["prompts/get", { kind: "prompts", field: "name", what: "prompt" }],
  ["resources/read", { kind: "resources", field: "uri", what: "resource" }]
])

const common = [...Lists.methods.keys(), ...forwarded.keys(), "completion/complete"]
const known: Readonly<Record<Era, ReadonlySet<string>>> = {
  handshake: new Set([...common, "initialize", "ping", "logging/setLevel"]),
  stateless: new Set([...common, "server/discover", "subscriptions/listen"])
}

const gone = (instance: string): AttemptFailure<Failures.Failure> =>
  Failures.unanswered(new UpstreamError({ instance, phase: "notSent", reason: "no longer announced" }))

/**
 * Makes the engine.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: RelayOptions
): Effect.Effect<Relay, never, Scope.Scope | Router | ToolCatalog | Upstreams> =>
  Effect.gen(function*() {
    const router = yield* Router
    const catalog = yield* ToolCatalog
    const upstreams = yield* Upstreams
    const notices = yield* Notices.make(catalog)
    const logging = yield* Logging.make(upstreams)
    const page = Lists.make(catalog, options.pageSize)

    const calls = new Set<Call>()
    const listening = new Set<() => void>()
    let total = 0
    let failed = 0

    let settledOnce = false
    const settled = Effect.suspend(() =>
      settledOnce ? Effect.void : Effect.map(catalog.settled, () => {
        settledOnce = true
      })
    )

    yield* upstreams.events.pipe(
      Stream.runForEach((event) =>
        Effect.sync(() => {
          if (event._tag === "Connected") return logging.connected(event.upstream)
          if (event._tag === "Closed") return logging.closed(event.key)
          if (event._tag !== "Notified" || event.notification.method !== "notifications/message") return
          // Over stdio nothing says which call a message belongs to. With one call under way it is that one.
          const running = Array.from(calls).filter((call) => call.key === event.upstream.key)
          const only = running.length === 1 ? running[0] : undefined
          if (only !== undefined) only.deliver(event.notification)
          else options.broadcast(event.notification)
        })
      ),
      Effect.forkScoped
    )

    const capabilities = (): Record<string, unknown> => {
      const offered = catalog.capabilities()
      // A client of the handshake era learns this once, and servers may come later.
      return {
        tools: { listChanged: true },
        resources: { listChanged: true },
        prompts: { listChanged: true },
        ...(offered.completions ? { completions: {} } : undefined),
        ...(offered.logging ? { logging: {} } : undefined)
      }
    }

    const identity = { [Meta.Key.serverInfo]: options.serverInfo }
    const cacheable = { resultType: "complete", ttlMs: options.listTtl, cacheScope: "private", _meta: identity }

    const list = (
      kind: OfferKind,
      listKind: "tools" | "resources" | "prompts",
      cursor: unknown,
      exchange: Exchange
    ): Reply => {
      const result = page(exchange.client.era, kind, cursor)
      if (result === undefined) return failure(Code.invalidParams, "Invalid cursor: it is not one of this server's")
      exchange.known?.listed.set(listKind, catalog.revision(listKind))
      return { result: exchange.client.era === "stateless" ? { ...result, ...cacheable } : result }
    }

    /** Turns a server's result into the client's. */
    const answer = (method: string, result: Fields, routing: Routing, era: Era): Reply => {
      const type = result["resultType"]
      if (type !== undefined && type !== "complete") {
        failed++
        return failure(
          Code.internalError,
          `${routing.service} answered with a result of type ${String(type)}, which this gateway does not relay`
        )
      }
      let meta = Meta.withoutHop(Meta.of(result))
      if (options.showRouting) (meta ??= {})[Meta.Key.routing] = routing
      if (era === "stateless") (meta ??= {})[Meta.Key.serverInfo] = options.serverInfo
      return { result: Translation.result(era, method, result, meta) }
    }

    const forward = (
      method: string,
      offer: Offer,
      params: Fields,
      meta: Fields | undefined,
      exchange: Exchange,
      headers?: Readonly<Record<string, string>>
    ): Effect.Effect<Reply> => {
      const { client, logLevel } = exchange
      const token = meta?.[Meta.Key.progressToken]
      const progress = typeof token === "string" || typeof token === "number"
      const call: Call = { key: undefined, attempt: 0, deliver: () => {} }
      let highest = -Infinity

      const attempt = (
        instance: ServiceInstance,
        current: Attempt
      ): Effect.Effect<Fields, AttemptFailure<Failures.Failure>> => {
        const upstream = upstreams.get(current.key)
        if (upstream === undefined) return Effect.fail(gone(instance.id))
        const deliver = (notification: JsonRpcNotification): void => {
          if (call.attempt !== current.number) return
          const given = notification.params ?? {}
          const { _meta, ...rest } = given
          const kept = Meta.withoutHop(Meta.of(given))
          const carried: Record<string, unknown> = kept === undefined ? rest : { ...rest, _meta: kept }
          if (notification.method === "notifications/progress") {
            if (!progress) return
            current.extend()
            const value = given["progress"]
            // It must grow, also across attempts.
            if (typeof value !== "number" || value <= highest) return
            highest = value
            carried["progressToken"] = token
          } else if (notification.method === "notifications/message") {
            if (logLevel === undefined ? client.era === "stateless" : !passes(given["level"], logLevel)) return
          } else return
          if (exchange.streams) current.commit()
          exchange.notify({ jsonrpc: "2.0", method: notification.method, params: carried })
        }
        call.key = current.key
        call.attempt = current.number
        call.deliver = deliver
        const sent = upstream.request({
          method,
          params,
          headers,
          progress,
          logLevel,
          onNotification: deliver,
          onSent: current.sent
        }).pipe(
          Effect.matchEffect({
            onFailure: (error) => Effect.fail(Failures.unanswered(error)),
            onSuccess: (reply) =>
              "error" in reply ? Effect.fail(Failures.answered(reply.error)) : Effect.succeed(reply.result)
          })
        )
        const prepared = logLevel === undefined ? undefined : logging.prepare(upstream, logLevel)
        return prepared === undefined ? sent : Effect.andThen(prepared, sent)
      }

      return Effect.suspend(() => {
        total++
        calls.add(call)
        return router.route(
          {
            target: offer.target,
            name: offer.publicName,
            caller: { principal: client.principal },
            repeatable: offer.repeatable,
            timeout: options.timeout,
            maxTimeout: options.maxTimeout
          },
          attempt
        )
      }).pipe(
        Effect.match({
          onSuccess: ({ routing, value }) => answer(method, value, routing, client.era),
          onFailure: (error): Reply => {
            failed++
            const { publicName: name, repeatable } = offer
            return { error: Failures.toClient(error, { name, repeatable, era: client.era }) }
          }
        }),
        Effect.onExit(() => {
          // Nothing may follow the reply.
          call.attempt = 0
          calls.delete(call)
          return Effect.void
        })
      )
    }

    /** Finds an offer; a server that is still connecting may have it. */
    const found = (kind: OfferKind, name: string, use: (offer: Offer | undefined) => Effect.Effect<Reply>) => {
      const offer = catalog.find(kind, name)
      return offer !== undefined || settledOnce
        ? use(offer)
        : Effect.flatMap(settled, () => use(catalog.find(kind, name)))
    }

    const unknown = (kind: OfferKind, what: string, name: string, era: Era): Reply => {
      if (kind === "resources") return { error: Translation.unknownResource(era, name) }
      const nearest = nearestName(name, catalog.list(kind).map((offer) => offer.publicName))
      return failure(
        Code.invalidParams,
        `Unknown ${what}: ${name}${nearest === undefined ? "" : `. Did you mean ${nearest}?`}`
      )
    }

    /** Parameters for the next hop. `task` asks for what isn't declared here, and is then to be ignored. */
    const outgoing = (params: Fields, changed: Fields): Record<string, unknown> => {
      const { _meta, task: _task, ...rest } = params
      const meta = Meta.withoutHop(Meta.of(params))
      return meta === undefined ? { ...rest, ...changed } : { ...rest, ...changed, _meta: meta }
    }

    const complete = (params: Fields, exchange: Exchange): Effect.Effect<Reply> => {
      const ref = params["ref"]
      if (!Meta.isFields(ref)) return Effect.succeed(failure(Code.invalidParams, "ref must be an object"))
      const prompt = ref["type"] === "ref/prompt"
      if (!prompt && ref["type"] !== "ref/resource") {
        return Effect.succeed(failure(Code.invalidParams, "ref.type must be ref/prompt or ref/resource"))
      }
      const name = ref[prompt ? "name" : "uri"]
      if (typeof name !== "string") {
        return Effect.succeed(failure(Code.invalidParams, `ref.${prompt ? "name" : "uri"} must be a string`))
      }
      const kind = prompt ? "prompts" : "resourceTemplates"
      return found(kind, name, (offer) => {
        const target = offer ?? (prompt ? undefined : catalog.find("resources", name))
        if (target === undefined) {
          return Effect.succeed(unknown(kind, prompt ? "prompt" : "resource template", name, exchange.client.era))
        }
        const changed = prompt ? { ref: { ...ref, name: target.name } } : {}
        return forward("completion/complete", target, outgoing(params, changed), Meta.of(params), exchange)
      })
    }

    const listen = (request: JsonRpcRequest, exchange: Exchange): Effect.Effect<Reply> => {
      const filter = request.params?.["notifications"]
      if (!Meta.isFields(filter)) {
        return Effect.succeed(failure(Code.invalidParams, "notifications is required and must be an object"))
      }
      for (const kind of Notices.listKinds) {
        const wanted = filter[`${kind}ListChanged`]
        if (wanted !== undefined && typeof wanted !== "boolean") {
          return Effect.succeed(failure(Code.invalidParams, `notifications.${kind}ListChanged must be a boolean`))
        }
      }
      if (!exchange.streams) {
        return Effect.succeed(failure(Code.invalidRequest, "subscriptions/listen needs a reply by event stream"))
      }
      const kinds = new Set(Notices.listKinds.filter((kind) => filter[`${kind}ListChanged`] === true))
      const _meta = { [Meta.Key.subscriptionId]: request.id }
      const notify = (method: string, params: Fields) =>
        exchange.notify({ jsonrpc: "2.0", method, params: { ...params, _meta } })
      return Effect.callback<Reply>((resume) => {
        notify("notifications/subscriptions/acknowledged", {
          notifications: Object.fromEntries(Array.from(kinds, (kind) => [`${kind}ListChanged`, true]))
        })
        const remove = notices.add({
          kinds,
          known: Notices.makeKnown(),
          notify: (kind) => notify(`notifications/${kind}/list_changed`, {})
        })
        const end = () => {
          remove()
          listening.delete(end)
          resume(Effect.succeed({ result: { resultType: "complete", _meta: { ..._meta, ...identity } } }))
        }
        listening.add(end)
        return Effect.sync(() => {
          remove()
          listening.delete(end)
        })
      })
    }

    const request = (message: JsonRpcRequest, exchange: Exchange): Effect.Effect<Reply> => {
      const { method } = message
      const params = message.params ?? {}
      const { era } = exchange.client
      const route = forwarded.get(method)
      if (route !== undefined) {
        const name = params[route.field]
        if (typeof name !== "string") {
          return Effect.succeed(failure(Code.invalidParams, `params.${route.field} must be a string`))
        }
        return found(route.kind, name, (offer) => {
          if (offer === undefined) return Effect.succeed(unknown(route.kind, route.what, name, era))
          const changed = route.field === "name" ? { name: offer.name } : {}
          const headers = route.kind === "tools" ? ParamHeaders.make(offer.definition, params["arguments"]) : undefined
          return forward(method, offer, outgoing(params, changed), Meta.of(params), exchange, headers)
        })
      }
      const listed = Lists.methods.get(method)
      if (listed !== undefined) {
        return Effect.map(settled, () => list(listed.kind, listed.list, params["cursor"], exchange))
      }
      if (method === "completion/complete") return complete(params, exchange)
      if (era === "stateless") {
        if (method === "subscriptions/listen") return listen(message, exchange)
        if (method === "server/discover") {
          return Effect.map(settled, (): Reply => ({
            result: {
              ...cacheable,
              supportedVersions: statelessVersions,
              capabilities: capabilities(),
              ...(options.instructions === undefined ? undefined : { instructions: options.instructions })
            }
          }))
        }
      } else if (method === "ping") return Effect.succeed({ result: {} })
      return Effect.succeed(methodNotFound(method))
    }

    return {
      request,
      knows: (era, method) => known[era].has(method),
      initialized: (protocolVersion) =>
        Effect.map(settled, () => ({
          protocolVersion,
          capabilities: capabilities(),
          serverInfo: options.serverInfo,
          ...(options.instructions === undefined ? undefined : { instructions: options.instructions })
        })),
      headerMismatch: (name, args, header) => {
        const offer = catalog.find("tools", name)
        return offer === undefined ? undefined : ParamHeaders.mismatch(offer.definition, args, header)
      },
      notices,
      logging,
      figures: () => ({ inFlight: calls.size, calls: total, failedCalls: failed }),
      close: () => {
        for (const end of Array.from(listening)) end()
      }
    }
  })
