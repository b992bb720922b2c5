/**
 * The relay's engine: one request of a client in, one reply out, notifications in between. Knows no transport.
 *
 * **Details**: messages are carried, not decoded: names, progress tokens and the `_meta` of the hop are rewritten, and
 * what the other era would not understand is translated.
 *
 * @since 0.1.0
 */
import * as NearestName from "@portolan/core/NearestName"
import type { Router } from "@portolan/core/Router"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Offer, type OfferKind, ToolCatalog } from "../catalog/ToolCatalog.ts"
import { type Era, statelessVersions } from "../Era.ts"
import { Code, type Fields, isFields, type JsonRpcRequest, type Reply } from "../JsonRpc.ts"
import * as Serving from "../telemetry/Serving.ts"
import type { Upstreams } from "../upstream/Upstreams.ts"
import * as Forwarding from "./Forwarding.ts"
import * as Lists from "./Lists.ts"
import type * as Logging from "./Logging.ts"
import * as Meta from "./Meta.ts"
import * as Notices from "./Notices.ts"
import * as ParamHeaders from "./ParamHeaders.ts"
import * as Translation from "./Translation.ts"

/**
 * Settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface RelayOptions extends Forwarding.ForwardingOptions {
  readonly instructions: string | undefined
  /** Read for each page, so that whoever holds the options may change it. */
  readonly pageSize: number
  /** `ttlMs` of lists and `server/discover`. */
  readonly listTtl: number
}

/**
 * The engine.
 *
 * @category models
 * @since 0.1.0
 */
export interface Relay {
  /** Answers a request. Interrupting it cancels it upstream. `subscriptions/listen` is answered by `close`. */
  readonly request: (request: JsonRpcRequest, exchange: Forwarding.Exchange) => Effect.Effect<Reply>
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
  /** What is measured and traced. */
  readonly serving: Serving.Serving
  readonly figures: () => { readonly inFlight: number; readonly calls: number; readonly failedCalls: number }
  /** Ends the subscriptions gracefully. Plain. */
  readonly close: () => void
}

const failure = (code: number, message: string): Reply => ({ error: { code, message } })

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
    const catalog = yield* ToolCatalog
    const notices = yield* Notices.make(catalog)
    const serving = yield* Serving.make((method, name) =>
      catalog.find(method === "prompts/get" ? "prompts" : "tools", name) !== undefined
    )
    const forwarding = yield* Forwarding.make(options)
    const { forward } = forwarding
    const page = Lists.make(catalog, options)

    const listening = new Set<() => void>()

    let settledOnce = false
    const settled = Effect.suspend(() =>
      settledOnce ? Effect.void : Effect.map(catalog.settled, () => {
        settledOnce = true
      })
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
      exchange: Forwarding.Exchange
    ): Reply => {
      const result = page(exchange.client.era, kind, cursor)
      if (result === undefined) return failure(Code.invalidParams, "Invalid cursor: it is not one of this server's")
      exchange.known?.listed.set(listKind, catalog.revision(listKind))
      return { result: exchange.client.era === "stateless" ? { ...result, ...cacheable } : result }
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
      const nearest = NearestName.nearest(name, catalog.list(kind).map((offer) => offer.publicName))
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

    const complete = (params: Fields, exchange: Forwarding.Exchange): Effect.Effect<Reply> => {
      const ref = params["ref"]
      if (!isFields(ref)) return Effect.succeed(failure(Code.invalidParams, "ref must be an object"))
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

    const listen = (request: JsonRpcRequest, exchange: Forwarding.Exchange): Effect.Effect<Reply> => {
      const filter = request.params?.["notifications"]
      if (!isFields(filter)) {
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

    const answer = (message: JsonRpcRequest, exchange: Forwarding.Exchange): Effect.Effect<Reply> => {
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
      request: (message, exchange) =>
        serving.request(message, exchange.client.protocolVersion, exchange.hop, () => answer(message, exchange)),
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
      logging: forwarding.logging,
      serving,
      figures: forwarding.figures,
      close: () => {
        for (const end of Array.from(listening)) end()
      }
    }
  })
