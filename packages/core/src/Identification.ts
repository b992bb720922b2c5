/**
 * Finds out what answers at an address that nobody announced.
 *
 * **Mental model**: an open port is not a server. Whoever finds addresses (a network scan, DNS-SD) asks this service,
 * which speaks the protocol and knows nothing of where addresses come from; core declares it, `mcp` provides it.
 *
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"

/**
 * An address to be asked.
 *
 * @category models
 * @since 0.2.0
 */
export interface Address {
  readonly transport: "streamable-http" | "sse"
  /** Without user, password and query. */
  readonly url: string
  /** Name that the server's certificate must hold, where that isn't the host of the URL. */
  readonly serverName?: string | undefined
}

/**
 * What a server said of itself. All of it is the server's own word.
 *
 * @category models
 * @since 0.2.0
 */
export interface Identity {
  /** Name of the implementation; the host and port of the address where it says none. */
  readonly name: string
  /** Of the implementation; none where it says none. */
  readonly version: string | undefined
  readonly title?: string | undefined
  /** Protocol version that was agreed on. */
  readonly protocolVersion: string
}

/**
 * Makes the name of a service of what an implementation calls itself: lower-case letters, digits, `.`, `_` and `-`.
 *
 * @category combinators
 * @since 0.2.0
 */
export const serviceName = (name: string): string =>
  name.slice(0, 256).toLowerCase().replace(/[^a-z0-9._]+/g, "-").slice(0, 64).replace(/^[-._]+|[-._]+$/g, "") ||
  "mcp-server"

/**
 * A server that was identified. It stays so for the life of the scope.
 *
 * @category models
 * @since 0.2.0
 */
export interface Identified {
  readonly identity: Identity
  /**
   * Whether the server at another address is this very one, as one that is reached by two addresses; false where that
   * can't be proven.
   */
  readonly isAlso: (address: Address) => Effect.Effect<boolean>
}

/**
 * What identifying a server may take.
 *
 * @category models
 * @since 0.2.0
 */
export interface Bounds {
  /** For all of it together. */
  readonly timeout: Duration.Duration
  /** Of one answer, bytes. */
  readonly maxBytes: number
}

/**
 * Error raised when what answers at an address, if anything, was not identified.
 *
 * @category errors
 * @since 0.2.0
 */
export class NotIdentified extends Schema.TaggedError<NotIdentified>()("NotIdentified", {
  /**
   * `unreachable`: no connection; `silent`: no answer in time; `foreign`: it speaks something else; `protected`: it asks for
   * credentials.
   */
  kind: Schema.Literals(["unreachable", "silent", "foreign", "protected"]),
  /** One line for a person. */
  reason: Schema.String
}) {
  override get message(): string {
    return this.reason
  }
}

/**
 * Service that identifies servers.
 *
 * **Details**: interrupting it closes its connections at once. No redirect is followed, and no name is looked up that
 * isn't in the address.
 *
 * @category services
 * @since 0.2.0
 */
export class Identification extends Context.Service<Identification, {
  readonly identify: (address: Address, bounds: Bounds) => Effect.Effect<Identified, NotIdentified, Scope.Scope>
}>()("@portolan/core/Identification") {}
