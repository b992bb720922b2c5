/**
 * The connection to one instance, whatever its transport and era.
 *
 * **Mental model**: an upstream connects when it is first needed and stays connected while its instance is announced. It
 * carries raw JSON-RPC both ways. Request ids and progress tokens upstream are its own; the caller never sees them.
 *
 * @since 0.1.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Era } from "../Era.ts"
import type { Fields, JsonRpcNotification, Reply } from "../JsonRpc.ts"

/**
 * Error raised when an upstream can't be reached or lost a request.
 *
 * @category errors
 * @since 0.1.0
 */
export class UpstreamError extends Schema.TaggedError<UpstreamError>()("UpstreamError", {
  instance: Schema.String,
  /** How far the request came. */
  phase: Schema.Literals(["notSent", "mayHaveRun", "answered"]),
  /** One line for a person: `connection refused`, `HTTP 503`, `exited with code 1: Cannot find module …`. */
  reason: Schema.String,
  /** HTTP status, where there was one. */
  status: Schema.optionalKey(Schema.Int),
  /** When the server said when to come back, ms. */
  retryAfter: Schema.optionalKey(Schema.Finite),
  /** The server's session is over: what it kept for the caller is gone. */
  sessionLost: Schema.optionalKey(Schema.Boolean),
  /** The reply was longer than is read: another instance would say no less. */
  tooLong: Schema.optionalKey(Schema.Boolean),
  cause: Schema.optionalKey(Schema.Defect())
}) {
  override get message(): string {
    return `${this.instance}: ${this.reason}`
  }
}

/**
 * What the server said of itself when it was connected.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServerProfile {
  readonly era: Era
  readonly protocolVersion: string
  readonly serverInfo: Fields
  readonly capabilities: Fields
  readonly instructions?: string | undefined
  /** Stands for the session in which the server keeps state: another one whenever one is begun. None: it keeps none. */
  readonly session?: symbol | undefined
}

/**
 * Something that a server asks of the client behind a request: to sample, to elicit, for its roots.
 *
 * @category models
 * @since 0.2.0
 */
export interface ServerRequest {
  readonly method: string
  readonly params: Fields | undefined
  /** Answers it; only the first answer counts. Plain. */
  readonly reply: (reply: Reply) => void
  /** Tells it how far the answer is (`progress`, `total`, `message`). None: it doesn't want to know. Plain. */
  readonly progress?: ((params: Fields) => void) | undefined
  /** The server wants no answer any more: it cancelled the request, or is gone. */
  readonly withdrawn: AbortSignal
}

/**
 * The client that requests are made for: what it may be asked, and with whom it shares connections to a server of the
 * handshake era.
 *
 * **Details**: whoever can't be asked anything shares with others of its principal that can't. A session that can be asked
 * has connections of its own, as a server may ask at any moment. Clients of the stateless era share with others of the same
 * principal that declare the same. A server of the stateless era is told with each request, and needs one connection.
 *
 * @category models
 * @since 0.2.0
 */
export interface Caller {
  readonly principal: string | undefined
  /** What it declared and the gateway relays (`roots`, `sampling`, `elicitation`, `tasks`), as it declared it; else empty. */
  readonly capabilities: Fields
  /** Stands for its session, where it has one: the same object for the life of the session. */
  readonly session: CallerSession | undefined
}

/**
 * The session of a client of the handshake era, as servers see it.
 *
 * @category models
 * @since 0.2.0
 */
export interface CallerSession {
  /** A server asks something that belongs to no request. Plain; must not throw. */
  readonly onRequest: (upstream: Upstream, request: ServerRequest) => void
  /** A notification on a connection of the session's own that belongs to no request. Plain; must not throw. */
  readonly onNotification: (upstream: Upstream, notification: JsonRpcNotification) => void
  /** It is there to read lists: what the server says of them meanwhile is no news. */
  readonly readsLists?: boolean | undefined
}

/**
 * One request to an upstream.
 *
 * @category models
 * @since 0.1.0
 */
export interface UpstreamRequest {
  readonly method: string
  /**
   * Parameters without what belongs to one hop: no progress token, no reserved `_meta` keys of the client's hop. The
   * upstream adds its own.
   */
  readonly params?: Fields | undefined
  /** `Mcp-Name` and the like follow from the parameters; `headers` adds further ones. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Asks for progress; its notifications come to `onNotification` with the upstream's own token. */
  readonly progress?: boolean | undefined
  /** Log level wanted with this request, in the stateless era's sense. */
  readonly logLevel?: string | undefined
  /** Notifications that belong to this request: progress and log messages. Plain; must not throw. */
  readonly onNotification?: ((notification: JsonRpcNotification) => void) | undefined
  /** Gets the reply; gives what takes the progress that comes all the same, as that of a task. Plain; must not throw. */
  readonly onLate?: ((reply: Reply) => ((notification: JsonRpcNotification) => void) | undefined) | undefined
  /** The client that it is made for. None: the gateway itself. */
  readonly caller?: Caller | undefined
  /** What a server of the stateless era is told that the client can do, in place of what its caller declared. */
  readonly capabilities?: Fields | undefined
  /** The server asks the client something for this request, on whatever way. None: refused. Plain; must not throw. */
  readonly onRequest?: ((request: ServerRequest) => void) | undefined
  /** Only over this session of the server: where that is over, the request fails as `notSent` and `sessionLost`. */
  readonly session?: symbol | undefined
  /** The request has been handed to the transport: from here it may have run. Plain. */
  readonly onSent?: (() => void) | undefined
}

/**
 * State of an upstream, for people.
 *
 * @category models
 * @since 0.1.0
 */
export interface UpstreamState {
  readonly _tag: "idle" | "connecting" | "connected" | "failed"
  /** Epoch ms. */
  readonly since: number
  /** One line; why it failed last. */
  readonly lastError: string | undefined
  readonly profile: ServerProfile | undefined
  /** `false`: what it tells of itself doesn't reach us, as it has no stream for that, or none that opens. */
  readonly heard?: boolean | undefined
}

/**
 * The connection to one instance.
 *
 * @category models
 * @since 0.1.0
 */
export interface Upstream {
  readonly key: InstanceKey
  /** The newest record. */
  readonly instance: () => ServiceInstance
  readonly state: () => UpstreamState
  /** Connects where that isn't done; callers at the same time share one attempt. */
  readonly connect: Effect.Effect<ServerProfile, UpstreamError>
  /**
   * Sends a request and waits for the reply. Connects first where needed. Interruption cancels it upstream (a
   * `notifications/cancelled`, or the response stream closed). A session that the server forgot is opened anew once for
   * all waiting callers; the request is sent again where it certainly had not run (the server answered 404 for the
   * session).
   */
  readonly request: (request: UpstreamRequest) => Effect.Effect<Reply, UpstreamError>
  /**
   * Sends a notification over the connection that a caller's requests take. Nothing is sent where a caller needs one of its
   * own and has none: the server doesn't know it.
   */
  readonly notify: (method: string, params?: Fields, caller?: Caller) => Effect.Effect<void, UpstreamError>
  /** Stands for the session in which the server keeps a caller's state, where it has begun one: see `ServerProfile`. Plain. */
  readonly session: (caller: Caller | undefined) => symbol | undefined
  /**
   * Follows a resource for a caller while the scope lives, over lost connections too. Succeeds once the server took it, with
   * its error where it did not. `onUpdated` gets the parameters of each `notifications/resources/updated`; plain, must not
   * throw. Of several who follow one resource over one connection, the server sees one.
   */
  readonly follow: (
    uri: string,
    caller: Caller | undefined,
    onUpdated: (params: Fields) => void
  ) => Effect.Effect<Reply, UpstreamError, Scope.Scope>
}
