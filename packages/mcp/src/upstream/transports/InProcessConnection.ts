/**
 * Connections to servers in this process: handlers given in code.
 *
 * **Details**: no bytes, but the same messages. What one side sends is copied the way JSON would write it, so that nothing
 * is shared and a handler sees what it would see over a wire.
 *
 * @since 0.1.0
 */
import type { Registries } from "@portolan/core/Registries"
import type { Registry } from "@portolan/core/Registry"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { InFlight } from "../../internal/InFlight.ts"
import { Code, type Fields, type JsonRpcNotification, type JsonRpcRequest, type Reply } from "../../JsonRpc.ts"
import { type Connection, type Listener, oneLine } from "./Connection.ts"

/**
 * What answers behind an endpoint of this process. It speaks the stateless era.
 *
 * @category models
 * @since 0.1.0
 */
export interface Host {
  /** Of its instance. */
  readonly id: string
  /** Answers a request; interruption cancels it. `notify` sends what belongs to it. */
  readonly answer: (
    request: JsonRpcRequest,
    notify: (notification: JsonRpcNotification) => void
  ) => Effect.Effect<Reply>
  readonly fork: (effect: Effect.Effect<Reply>) => Fiber.Fiber<Reply>
  /** Why it takes nothing new, if so. Plain. */
  readonly refuses: () => string | undefined
  /** Connects: from now on `listener` hears of changed lists, and of the end. The result disconnects. */
  readonly connect: (listener: Listener) => () => void
}

const hosts = new WeakMap<Registry, Host>()

/**
 * Says what answers behind the `in-process` endpoint of a registry, for as long as the registry is referenced. Handlers
 * are never written down, so this is the one way to them.
 *
 * @category hosting
 * @since 0.1.0
 */
export const serve = (registry: Registry, host: Host): void => void hosts.set(registry, host)

/**
 * Finds what answers for the records of a registry.
 *
 * @category hosting
 * @since 0.1.0
 */
export const find = (registries: Registries["Service"], source: string): Host | undefined => {
  const member = registries.members().find(({ registry }) => registry.name === source)
  return member === undefined ? undefined : hosts.get(member.registry)
}

/**
 * Ids of the instances that handlers of this process answer for.
 *
 * @category hosting
 * @since 0.1.0
 */
export const ids = (registries: Registries["Service"]): ReadonlySet<string> =>
  new Set(registries.members().flatMap(({ registry }) => hosts.get(registry)?.id ?? []))

/** A copy as JSON would make it. Throws what JSON can't write. */
const copy = (fields: Fields): Fields => JSON.parse(JSON.stringify(fields))

const unwritable = (what: string, error: unknown): Reply => ({
  error: { code: Code.invalidParams, message: oneLine(`${what} can't be written as JSON: ${String(error)}`) }
})

/**
 * Opens a connection.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open = (host: Host, listener: Listener): Connection => {
  const running = new InFlight<() => void>()
  let closed = false
  const disconnect = host.connect({
    onMessage: (message) => {
      if (!closed) listener.onMessage(message)
    },
    onLost: (failure) => {
      if (!closed) listener.onLost(failure)
    }
  })
  return {
    send: (request, exchange) => {
      const refusal = closed ? "closed" : host.refuses()
      if (refusal !== undefined) {
        exchange.onFailure({ phase: "notSent", reason: refusal })
        return () => {}
      }
      let params: Fields
      try {
        params = copy(request.params ?? {})
      } catch (error) {
        exchange.onReply(unwritable("the parameters", error))
        return () => {}
      }
      let over = false
      exchange.onSent?.()
      const fiber = host.fork(host.answer({ ...request, params }, (notification) => {
        if (!over) exchange.onMessage(notification)
      }))
      const giveUp = () => {
        over = true
        land()
        fiber.interruptUnsafe()
      }
      const land = running.add(giveUp)
      fiber.addObserver((exit) => {
        if (over) return
        over = true
        land()
        if (Exit.isSuccess(exit)) exchange.onReply(exit.value)
        else exchange.onFailure({ phase: "mayHaveRun", reason: "its handler was taken away while it ran" })
      })
      return giveUp
    },
    // A server in this process has nothing to hear but requests.
    post: (_, done) => done?.(undefined),
    negotiated: () => {},
    cancelsByClosing: true,
    close: () => {
      closed = true
      for (const giveUp of running.all()) giveUp()
      disconnect()
      return Promise.resolve()
    }
  }
}
