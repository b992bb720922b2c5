/**
 * What the relay answers to one method of MCP. Each part of the relay brings its own.
 *
 * @since 0.2.0
 */
import type * as Effect from "effect/Effect"
import type { Era } from "../Era.ts"
import { Code, type Fields, type JsonRpcRequest, type Reply } from "../JsonRpc.ts"
import type { Exchange } from "./calls/Forwarding.ts"
import type { Known } from "./lists/Notices.ts"

/**
 * One method.
 *
 * @category models
 * @since 0.2.0
 */
export interface Method {
  /** Eras whose clients may call it. */
  readonly eras: ReadonlyArray<Era>
  /** Answers a request. Interrupting it cancels what it does. */
  readonly answer: (request: JsonRpcRequest, exchange: Exchange) => Effect.Effect<Reply>
}

/**
 * Methods by their names.
 *
 * @category models
 * @since 0.2.0
 */
export type Methods = Readonly<Record<string, Method>>

/**
 * What one part of the relay does for clients.
 *
 * @category models
 * @since 0.2.0
 */
export interface Part {
  readonly methods: Methods
  /** What it adds to the capabilities that clients are told, never more than is really relayed. Plain. */
  readonly capabilities?: ((era: Era, protocolVersion: string) => Fields) | undefined
  /** The session of a client of the handshake era is over: see `Exchange.known`. Plain. */
  readonly forget?: ((session: Known) => void) | undefined
  /** Ends gracefully what has no end of its own. Plain. */
  readonly close?: (() => void) | undefined
}

/**
 * Both eras.
 *
 * @category constants
 * @since 0.2.0
 */
export const everyEra: ReadonlyArray<Era> = ["handshake", "stateless"]

/**
 * Makes the reply that refuses a request.
 *
 * @category constructors
 * @since 0.2.0
 */
export const failure = (code: number, message: string): Reply => ({ error: { code, message } })

/**
 * Makes the reply to a method that isn't known.
 *
 * @category constructors
 * @since 0.2.0
 */
export const notFound = (method: string): Reply => failure(Code.methodNotFound, `Method not found: ${method}`)
