/**
 * A client and its side of one request.
 *
 * @since 0.2.0
 */
import type * as Effect from "effect/Effect"
import type { Era } from "../../Era.ts"
import type { Fields, JsonRpcNotification, Reply } from "../../JsonRpc.ts"
import type { Hop } from "../../telemetry/Serving.ts"
import type { Caller } from "../../upstream/Upstream.ts"
import type * as Notices from "../lists/Notices.ts"
import type { LogLevel } from "../LogLevel.ts"
import type * as Bindings from "../sessions/Bindings.ts"

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
  /** Seed of a session: a strategy that keeps calls together keeps those of one session together. */
  readonly affinity?: string | undefined
  /** What servers may ask of it, and with whom it shares connections to them. */
  readonly caller: Caller
  /** Of a session: the instances that keep its state. */
  readonly bindings?: Bindings.Bindings | undefined
  /** Sends a notification that belongs to no request, where the client can be reached. Of a session. Plain. */
  readonly tell?: ((notification: JsonRpcNotification) => void) | undefined
  /** In the words of OpenTelemetry; `pipe` for standard input and output. Default `tcp`. */
  readonly transport?: "tcp" | "pipe" | undefined
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
  /**
   * Asks a client of the handshake era something for this request: on its own stream, or on another one of its session.
   * Always replies: with an error where the client can't be reached, or doesn't answer in time; with a result without what
   * of its `_meta` belongs to the client's hop. Interruption withdraws it.
   * `progress` hears how far the answer is. None: a client of the stateless era, which is asked by the result.
   */
  readonly ask?:
    | ((
      method: string,
      params: Fields | undefined,
      progress?: ((params: Fields) => void) | undefined
    ) => Effect.Effect<Reply>)
    | undefined
  /** Lowest level of log messages wanted. None: in the handshake era what servers send by themselves, else nothing. */
  readonly logLevel: LogLevel | undefined
  /** What the request came by. Default: HTTP without trace context. */
  readonly hop?: Hop | undefined
  /** Where the client is, where that is known: what stands for one without principal. Plain. */
  readonly address?: (() => string | undefined) | undefined
  /** What the client knows of the lists, where that is kept. */
  readonly known?: Notices.Known | undefined
}
