/**
 * The relay's engine: one request of a client in, one reply out, notifications in between. Knows no transport.
 *
 * **Details**: messages are carried, not decoded: names, progress tokens and the `_meta` of the hop are rewritten, and
 * what the other era would not understand is translated.
 *
 * @since 0.1.0
 */
import { Discovery } from "@portolan/core/Discovery"
import { Health } from "@portolan/core/Health"
import type { Router } from "@portolan/core/Router"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type OfferKind, ToolCatalog } from "../catalog/ToolCatalog.ts"
import { type Era, handshakeVersions, statelessVersions } from "../Era.ts"
import { type Fields, isFields, type JsonRpcRequest, type Reply } from "../JsonRpc.ts"
import * as Serving from "../telemetry/Serving.ts"
import type { Upstreams } from "../upstream/Upstreams.ts"
import * as Forwarded from "./calls/Forwarded.ts"
import * as Forwarding from "./calls/Forwarding.ts"
import * as ParamHeaders from "./calls/ParamHeaders.ts"
import * as Reads from "./calls/Reads.ts"
import * as Destination from "./Destination.ts"
import * as Discoveries from "./lists/Discoveries.ts"
import * as Lists from "./lists/Lists.ts"
import * as Notices from "./lists/Notices.ts"
import type * as Logging from "./Logging.ts"
import * as Meta from "./Meta.ts"
import { type Method, notFound, type Part } from "./Method.ts"
import * as Tasks from "./tasks/Tasks.ts"
import * as Subscriptions from "./watches/Subscriptions.ts"
import * as Watches from "./watches/Watches.ts"

/**
 * Settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface RelayOptions
  extends Forwarding.ForwardingOptions, Lists.ListsSettings, Subscriptions.SubscriptionsOptions
{
  readonly instructions: string | undefined
  /** Bytes of resources that are kept. */
  readonly maxCached: number
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
    client: Forwarding.Client,
    name: string,
    args: unknown,
    header: (name: string) => string | undefined
  ) => string | undefined
  readonly notices: Notices.Notices
  readonly logging: Logging.Logging
  /** What servers say and ask of tasks by themselves. */
  readonly tasks: Pick<Tasks.Tasks, "tell" | "asClient">
  /** What is measured and traced. */
  readonly serving: Serving.Serving
  readonly figures: Forwarding.Forwarding["figures"]
  /** A session of the handshake era is over. Plain. */
  readonly forget: (session: Notices.Known) => void
  /** Ends the subscriptions gracefully. Plain. */
  readonly close: () => void
}

/**
 * Makes the engine.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: RelayOptions
): Effect.Effect<Relay, never, Scope.Scope | Discovery | Health | Router | ToolCatalog | Upstreams> =>
  Effect.gen(function*() {
    const catalog = yield* ToolCatalog
    const isOffered = (kind: OfferKind, name: string): boolean =>
      catalog.find(kind, name) !== undefined || catalog.audiences.isOffered(kind, name)
    const notices = yield* Notices.make(catalog)
    const serving = yield* Serving.make((method, name) =>
      isOffered(method === "prompts/get" ? "prompts" : "tools", name)
    )
    const forwarding = yield* Forwarding.make(options)
    const destination = Destination.make(catalog)
    const { settled } = destination
    const identity = { [Meta.Key.serverInfo]: options.serverInfo }

    const offered = (): Fields => {
      const { completions, logging } = catalog.capabilities()
      // A client of the handshake era learns this once, and servers may come later.
      return {
        tools: { listChanged: true },
        resources: { listChanged: true },
        prompts: { listChanged: true },
        ...(completions ? { completions: {} } : undefined),
        ...(logging ? { logging: {} } : undefined)
      }
    }

    const own: Record<string, Method> = {
      // The transports answer these two themselves.
      "initialize": { eras: ["handshake"], answer: ({ method }) => Effect.succeed(notFound(method)) },
      "logging/setLevel": { eras: ["handshake"], answer: ({ method }) => Effect.succeed(notFound(method)) },
      "ping": { eras: ["handshake"], answer: () => Effect.succeed({ result: {} }) },
      "server/discover": {
        eras: ["stateless"],
        answer: () =>
          Effect.map(settled, (): Reply => ({
            result: {
              resultType: "complete",
              ttlMs: options.listTtl,
              cacheScope: "private",
              _meta: identity,
              supportedVersions: [...statelessVersions, ...handshakeVersions],
              capabilities: capabilities("stateless", statelessVersions[0]),
              ...(options.instructions === undefined ? undefined : { instructions: options.instructions })
            }
          }))
      }
    }
    const tasks = yield* Tasks.make(options, forwarding.logging)
    const watches = yield* Watches.make(catalog, destination, options)
    const parts: ReadonlyArray<Part> = [
      { methods: own, capabilities: offered },
      Lists.make(catalog, destination, options, identity),
      Forwarded.make(destination, { ...forwarding, forward: yield* Reads.make(forwarding, options) }, tasks),
      yield* Subscriptions.make(notices, watches, tasks.following, identity, options),
      tasks,
      yield* Discoveries.make({
        discovery: yield* Discovery,
        health: yield* Health,
        catalog,
        destination,
        settings: options,
        identity
      })
    ]
    const methods: ReadonlyMap<string, Method> = new Map(parts.flatMap((part) => Object.entries(part.methods)))

    /** What all parts tell; where several speak of one capability, all they say of it. */
    const capabilities = (era: Era, protocolVersion: string): Fields => {
      const all: Record<string, unknown> = {}
      for (const part of parts) {
        for (const [name, value] of Object.entries(part.capabilities?.(era, protocolVersion) ?? {})) {
          const known = all[name]
          all[name] = isFields(known) && isFields(value) ? { ...known, ...value } : value
        }
      }
      return all
    }

    const answer = (message: JsonRpcRequest, exchange: Forwarding.Exchange): Effect.Effect<Reply> => {
      const method = methods.get(message.method)
      return method === undefined || !method.eras.includes(exchange.client.era)
        ? Effect.succeed(notFound(message.method))
        : method.answer(message, exchange)
    }

    return {
      request: (message, exchange) =>
        serving.request(message, exchange.client.protocolVersion, exchange.hop, () => answer(message, exchange)),
      knows: (era, method) => methods.get(method)?.eras.includes(era) === true,
      initialized: (protocolVersion) =>
        Effect.map(settled, () => ({
          protocolVersion,
          capabilities: capabilities("handshake", protocolVersion),
          serverInfo: options.serverInfo,
          ...(options.instructions === undefined ? undefined : { instructions: options.instructions })
        })),
      headerMismatch: (client, name, args, header) => {
        const offer = destination.offersFor(client).find("tools", name)
        return offer === undefined ? undefined : ParamHeaders.mismatch(offer.definition, args, header)
      },
      notices,
      logging: forwarding.logging,
      tasks,
      serving,
      figures: forwarding.figures,
      forget: (session) => {
        for (const part of parts) part.forget?.(session)
      },
      close: () => {
        for (const part of parts) part.close?.()
      }
    }
  })
