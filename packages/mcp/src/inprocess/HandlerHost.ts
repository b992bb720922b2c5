/**
 * A server of the stateless era without a wire: tables of handlers, and the requests that reach them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { OfferKind } from "../catalog/Offer.ts"
import * as UriTemplate from "../catalog/UriTemplate.ts"
import { statelessVersions } from "../Era.ts"
import { InFlight } from "../internal/InFlight.ts"
import { Code, type Fields, isFields, type JsonRpcNotification, type JsonRpcRequest, type Reply } from "../JsonRpc.ts"
import { isLogLevel, passes } from "../relay/LogLevel.ts"
import * as Meta from "../relay/Meta.ts"
import type { Listener } from "../upstream/transports/Connection.ts"
import type { Host } from "../upstream/transports/InProcessConnection.ts"
import type { CallContext } from "./Handlers.ts"
import { refusal } from "./Results.ts"

/** Calls of the handlers that were registered together. */
export class Calls {
  readonly #running = new InFlight<Fiber.Fiber<unknown, unknown>>()
  #idle: (() => void) | undefined

  track<A>(call: Effect.Effect<A>): Effect.Effect<A> {
    return Effect.withFiber((fiber) => {
      const land = this.#running.add(fiber)
      return Effect.onExit(call, () => {
        land()
        if (this.#running.size === 0) this.#idle?.()
        return Effect.void
      })
    })
  }

  /** Waits until none is under way; interrupts those that take longer than `ms`. */
  drain(ms: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#running.size === 0) return Effect.void
      return Effect.callback<void>((resume) => {
        this.#idle = () => resume(Effect.void)
      }).pipe(
        Effect.timeoutOption(ms),
        Effect.andThen(Effect.suspend(() => Fiber.interruptAll(this.#running.all())))
      )
    })
  }
}

/** One handler, and how it is listed. */
export interface Entry {
  readonly definition: Fields
  readonly answer: (params: Fields, context: CallContext) => Effect.Effect<Reply>
  readonly calls: Calls
}

/** Notices of changed lists, by what they speak of. */
const notices: Readonly<Record<OfferKind, string>> = {
  tools: "notifications/tools/list_changed",
  resources: "notifications/resources/list_changed",
  resourceTemplates: "notifications/resources/list_changed",
  prompts: "notifications/prompts/list_changed"
}

const lists: ReadonlyMap<string, OfferKind> = new Map([
  ["tools/list", "tools"],
  ["resources/list", "resources"],
  ["resources/templates/list", "resourceTemplates"],
  ["prompts/list", "prompts"]
])

const calls: ReadonlyMap<string, { readonly kind: OfferKind; readonly name: string; readonly what: string }> = new Map([
  ["tools/call", { kind: "tools", name: "name", what: "tool" }],
  ["resources/read", { kind: "resources", name: "uri", what: "resource" }],
  ["prompts/get", { kind: "prompts", name: "name", what: "prompt" }]
])

/** A host whose handlers come and go. All of it plain. */
export interface HandlerHost extends Host {
  readonly has: (kind: OfferKind, name: string) => boolean
  readonly put: (kind: OfferKind, name: string, entry: Entry) => void
  /** Takes it away; with `entry` only if that is still there. Tells whether it was. */
  readonly remove: (kind: OfferKind, name: string, entry?: Entry) => boolean
  /** Tells who is connected that lists of these kinds changed: once per list. */
  readonly changed: (kinds: Iterable<OfferKind>) => void
  /** From here requests are refused for this reason. */
  readonly refuse: (reason: string) => void
  /** Disconnects everybody. */
  readonly close: () => void
}

/** Makes a host without handlers. */
export const make = (options: {
  readonly id: string
  readonly serverInfo: Fields
  readonly instructions: string | undefined
  readonly fork: Host["fork"]
}): HandlerHost => {
  const tables: Readonly<Record<OfferKind, Map<string, Entry>>> = {
    tools: new Map(),
    resources: new Map(),
    resourceTemplates: new Map(),
    prompts: new Map()
  }
  const templates = new Map<string, (uri: string) => boolean>()
  const listeners = new Set<Listener>()
  let refused: string | undefined

  const find = (kind: OfferKind, name: string): Entry | undefined => {
    const known = tables[kind].get(name)
    if (known !== undefined || kind !== "resources") return known
    for (const [template, matches] of templates) {
      if (matches(name)) return tables.resourceTemplates.get(template)
    }
    return undefined
  }

  const answer = (request: JsonRpcRequest, notify: (notification: JsonRpcNotification) => void) => {
    const { method, params = {} } = request
    const call = calls.get(method)
    if (call !== undefined) {
      const name = params[call.name]
      if (typeof name !== "string") {
        return Effect.succeed(refusal(Code.invalidParams, `params.${call.name} must be a string`))
      }
      const entry = find(call.kind, name)
      return entry === undefined
        ? Effect.succeed(refusal(Code.invalidParams, `Unknown ${call.what}: ${name}`))
        : entry.calls.track(entry.answer(params, contextOf(params, notify)))
    }
    const kind = lists.get(method)
    if (kind !== undefined) {
      const items = Array.from(tables[kind].values(), (entry) => entry.definition)
      return Effect.succeed<Reply>({
        result: { [kind]: items, resultType: "complete", ttlMs: 0, cacheScope: "private" }
      })
    }
    if (method === "ping") return Effect.succeed<Reply>({ result: {} })
    if (method !== "server/discover") {
      return Effect.succeed(refusal(Code.methodNotFound, `Method not found: ${method}`))
    }
    return Effect.succeed<Reply>({
      result: {
        supportedVersions: statelessVersions,
        // Notices of changed lists come by themselves here: nobody needs to subscribe.
        capabilities: { tools: {}, resources: {}, prompts: {}, logging: {} },
        ...(options.instructions === undefined ? undefined : { instructions: options.instructions }),
        _meta: { [Meta.Key.serverInfo]: options.serverInfo },
        resultType: "complete",
        ttlMs: 0,
        cacheScope: "private"
      }
    })
  }

  return {
    id: options.id,
    answer,
    fork: options.fork,
    refuses: () => refused,
    connect: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    has: (kind, name) => tables[kind].has(name),
    put: (kind, name, entry) => {
      tables[kind].set(name, entry)
      const matches = kind === "resourceTemplates" ? UriTemplate.compile(name) : undefined
      if (matches !== undefined) templates.set(name, matches)
    },
    remove: (kind, name, entry) => {
      const known = tables[kind].get(name)
      if (known === undefined || (entry !== undefined && entry !== known)) return false
      if (kind === "resourceTemplates") templates.delete(name)
      return tables[kind].delete(name)
    },
    changed: (kinds) => {
      for (const method of new Set(Array.from(kinds, (kind) => notices[kind]))) {
        for (const listener of listeners) listener.onMessage({ jsonrpc: "2.0", method })
      }
    },
    refuse: (reason) => {
      refused ??= reason
    },
    close: () => {
      const connected = Array.from(listeners)
      listeners.clear()
      for (const listener of connected) {
        listener.onLost({ phase: "notSent", reason: refused ?? "closed", connectionLost: true })
      }
    }
  }
}

const contextOf = (params: Fields, notify: (notification: JsonRpcNotification) => void): CallContext => {
  const given = params["_meta"]
  const meta = isFields(given) ? given : {}
  const token = meta[Meta.Key.progressToken]
  const level = meta[Meta.Key.logLevel]
  const send = (method: string, params: Fields) => {
    // As JSON would make it: nothing is shared with the handler.
    const copied: Fields = JSON.parse(JSON.stringify(params))
    notify({ jsonrpc: "2.0", method, params: copied })
  }
  return {
    progress: (progress, { message, total } = {}) =>
      token === undefined
        ? Effect.void
        : Effect.sync(() => send("notifications/progress", { progressToken: token, progress, total, message })),
    log: (wanted, data, logger) =>
      isLogLevel(level) && passes(wanted, level)
        ? Effect.sync(() => send("notifications/message", { level: wanted, logger, data }))
        : Effect.void,
    meta: Meta.withoutHop(meta) ?? {}
  }
}
