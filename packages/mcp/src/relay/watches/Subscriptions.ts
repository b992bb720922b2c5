/**
 * What clients ask to be told of: changes of lists, of resources and of tasks.
 *
 * **Details**: a client of the handshake era is told of all lists, and of the resources that it subscribes to, on the stream
 * of its session; what comes while it has none is kept. One of the stateless era opens a stream for what it names.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/server/resources#subscriptions
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/subscriptions
 * @since 0.2.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Scope from "effect/Scope"
import { Code, type Fields, isFields, type JsonRpcRequest, type Reply } from "../../JsonRpc.ts"
import type { Exchange } from "../calls/Exchange.ts"
import * as Notices from "../lists/Notices.ts"
import * as Meta from "../Meta.ts"
import { failure, type Part } from "../Method.ts"
import type { TaskFollowing } from "../tasks/TaskFollowing.ts"
import type { Watches } from "./Watches.ts"

/**
 * Settings.
 *
 * @category models
 * @since 0.2.0
 */
export interface SubscriptionsOptions {
  /** Resources that one session, or one `subscriptions/listen`, may watch. */
  readonly maxSubscriptions: number
}

/** A resource that a session subscribed to. */
interface Subscription {
  readonly scope: Scope.Closeable
  readonly reply: Deferred.Deferred<Reply>
}

/** ms that a listening client waits for servers to take what it wants to watch; the rest is tried on behind its back. */
const AcknowledgeTime = 2_000

/** The resources that a `subscriptions/listen` names, or why it is refused. */
const resourcesOf = (filter: Fields, most: number): { readonly uris: ReadonlyArray<string> } | Reply => {
  const given = filter["resourceSubscriptions"]
  if (given === undefined) return { uris: [] }
  if (!Array.isArray(given) || !given.every((uri) => typeof uri === "string")) {
    return failure(Code.invalidParams, "notifications.resourceSubscriptions must be an array of strings")
  }
  const uris = Array.from(new Set<string>(given))
  return uris.length <= most
    ? { uris }
    : failure(Code.invalidParams, `notifications.resourceSubscriptions names ${uris.length} resources; ${most} may be`)
}

/**
 * Makes the part. `identity` is the `_meta` with which the gateway says who it is.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = Effect.fnUntraced(function*(
  notices: Notices.Notices,
  watches: Watches,
  tasks: TaskFollowing,
  identity: Fields,
  options: SubscriptionsOptions
): Effect.fn.Return<Part, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const run = yield* FiberSet.makeRuntime<never, void, never>()
  const listening = new Set<() => void>()
  const sessions = new WeakMap<Notices.Known, Map<string, Subscription>>()

  const end = (known: Notices.Known, uri: string, subscription: Subscription, reply: Reply) => {
    const all = sessions.get(known)
    if (all?.get(uri) === subscription) {
      all.delete(uri)
      known.missed?.delete(uri)
    }
    Deferred.doneUnsafe(subscription.reply, Effect.succeed(reply))
    run(Scope.close(subscription.scope, Exit.void))
  }

  const subscribe = ({ params }: JsonRpcRequest, { client, known }: Exchange): Effect.Effect<Reply> => {
    const uri = params?.["uri"]
    if (typeof uri !== "string") return Effect.succeed(failure(Code.invalidParams, "params.uri must be a string"))
    if (known === undefined) return Effect.succeed(failure(Code.invalidRequest, "No session to be told in"))
    let all = sessions.get(known)
    if (all === undefined) sessions.set(known, all = new Map())
    const there = all.get(uri)
    if (there !== undefined) return Deferred.await(there.reply)
    const { maxSubscriptions } = options
    if (all.size >= maxSubscriptions) {
      const message =
        `${uri}: this session watches ${all.size} resources; ${maxSubscriptions} may be. Unsubscribe first`
      return Effect.succeed(failure(Code.invalidRequest, message))
    }
    const subscription: Subscription = { scope: Scope.forkUnsafe(scope), reply: Deferred.makeUnsafe<Reply>() }
    all.set(uri, subscription)
    const onUpdated = (params: Fields) => Notices.updated(known, uri, Meta.onward(params))
    const over = (message: string) =>
      Effect.sync(() => end(known, uri, subscription, failure(Code.internalError, message)))
    run(
      watches.watch({ uri, client, patient: false, onUpdated }).pipe(
        Scope.provide(subscription.scope),
        Effect.map((reply) => {
          if ("error" in reply) end(known, uri, subscription, reply)
          else Deferred.doneUnsafe(subscription.reply, Effect.succeed(reply))
        }),
        Effect.onError(() => over("The resource can't be watched"))
      )
    )
    return Effect.onInterrupt(Deferred.await(subscription.reply), () => over("The request was cancelled"))
  }

  const unsubscribe = ({ params }: JsonRpcRequest, { known }: Exchange): Effect.Effect<Reply> =>
    Effect.sync(() => {
      const uri = params?.["uri"]
      if (typeof uri !== "string") return failure(Code.invalidParams, "params.uri must be a string")
      const subscription = known === undefined ? undefined : sessions.get(known)?.get(uri)
      if (known !== undefined && subscription !== undefined) {
        end(known, uri, subscription, failure(Code.invalidRequest, "Unsubscribed meanwhile"))
      }
      return { result: {} }
    })

  const listen = (request: JsonRpcRequest, exchange: Exchange): Effect.Effect<Reply> => {
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
    const named = resourcesOf(filter, options.maxSubscriptions)
    if (!("uris" in named)) return Effect.succeed(named)
    const { uris } = named
    const ofTasks = tasks.named(filter, exchange)
    if (!("taskIds" in ofTasks)) return Effect.succeed(ofTasks)
    const { taskIds } = ofTasks
    if (!exchange.streams) {
      return Effect.succeed(failure(Code.invalidRequest, "subscriptions/listen needs a reply by event stream"))
    }
    const kinds = new Set(Notices.listKinds.filter((kind) => filter[`${kind}ListChanged`] === true))
    const _meta = { [Meta.Key.subscriptionId]: request.id }
    const notify = (method: string, params: Fields) =>
      exchange.notify({ jsonrpc: "2.0", method, params: { ...params, _meta: { ...Meta.of(params), ..._meta } } })

    const known = Notices.makeKnown(exchange.client.caller)
    const refused = new Set<string>()
    let acknowledged = false
    const watch = (uri: string) =>
      Effect.map(
        watches.watch({
          uri,
          client: exchange.client,
          patient: true,
          onUpdated: (params) => Notices.updated(known, uri, Meta.onward(params))
        }),
        (reply) => {
          if ("error" in reply) refused.add(uri)
          // What happened since it was acknowledged is not known.
          else if (acknowledged) Notices.updated(known, uri, { uri })
        }
      )

    const begin = (): () => void => {
      acknowledged = true
      const watched = uris.filter((uri) => !refused.has(uri))
      notify("notifications/subscriptions/acknowledged", {
        notifications: {
          ...Object.fromEntries(Array.from(kinds, (kind) => [`${kind}ListChanged`, true])),
          ...(watched.length === 0 ? undefined : { resourceSubscriptions: watched }),
          ...(taskIds.length === 0 ? undefined : { taskIds })
        }
      })
      return notices.add({
        kinds,
        known,
        notify: (kind) => notify(`notifications/${kind}/list_changed`, {}),
        updated: (params) => notify("notifications/resources/updated", params)
      })
    }

    const told = Effect.callback<void>((resume) => {
      const ended = () => resume(Effect.void)
      listening.add(ended)
      return Effect.sync(() => listening.delete(ended))
    })
    return Effect.gen(function*() {
      notices.attend(known, kinds)
      if (uris.length > 0) {
        const asked = yield* Effect.forkScoped(Effect.forEach(uris, watch, { concurrency: "unbounded", discard: true }))
        yield* Fiber.await(asked).pipe(Effect.timeoutOption(AcknowledgeTime))
      }
      yield* Effect.acquireRelease(Effect.sync(begin), (remove) => Effect.sync(remove))
      yield* tasks.follow(taskIds, exchange, (task) => notify("notifications/tasks", task))
      return yield* Effect.never
    }).pipe(
      Effect.scoped,
      Effect.raceFirst(told),
      Effect.as({ result: { resultType: "complete", _meta: { ..._meta, ...identity } } })
    )
  }

  return {
    methods: {
      "resources/subscribe": { eras: ["handshake"], answer: subscribe },
      "resources/unsubscribe": { eras: ["handshake"], answer: unsubscribe },
      "subscriptions/listen": { eras: ["stateless"], answer: listen }
    },
    capabilities: () => watches.areOffered() ? { resources: { subscribe: true } } : {},
    forget: (known) => {
      const all = sessions.get(known)
      if (all === undefined) return
      sessions.delete(known)
      for (const [uri, subscription] of all) {
        end(known, uri, subscription, failure(Code.invalidRequest, "The session is over"))
      }
    },
    close: () => {
      for (const end of Array.from(listening)) end()
    }
  }
})
