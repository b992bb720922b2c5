/**
 * What a client of the handshake era may do in its session, whatever it came by.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { ListKind } from "../../catalog/ToolCatalog.ts"
import { handshakeVersions } from "../../Era.ts"
import { Code, type JsonRpcNotification, type JsonRpcRequest, type Reply, type RequestId } from "../../JsonRpc.ts"
import type { Hop } from "../../telemetry/Serving.ts"
import type { ForwardingOptions } from "../calls/Forwarding.ts"
import * as Notices from "../lists/Notices.ts"
import { isLogLevel } from "../LogLevel.ts"
import * as Messages from "../Messages.ts"
import * as Meta from "../Meta.ts"
import { invalidRequest, type Refusal } from "../Refusals.ts"
import type { Relay } from "../Relay.ts"
import type { Responder } from "../Responder.ts"
import type { Traffic } from "../Traffic.ts"
import * as CallerSessions from "./CallerSessions.ts"
import type { NewClient, Outlet, Session, Sessions } from "./Sessions.ts"
import * as SessionSeal from "./SessionSeal.ts"

/**
 * Settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface HandshakeOptions {
  readonly relay: Relay
  readonly traffic: Traffic
  readonly sessions: Sessions
  readonly callers: CallerSessions.CallerSessions
}

/**
 * The handshake era. All of it plain.
 *
 * @category models
 * @since 0.1.0
 */
export interface Handshake {
  /** Begins a session, which `open` keeps; gives it with the reply to `initialize`. */
  readonly begin: (
    message: JsonRpcRequest,
    principal: string | undefined,
    hop: Hop | undefined,
    open: (client: NewClient) => Session | Refusal
  ) => { readonly session: Session; readonly reply: Effect.Effect<Reply> } | Refusal
  readonly request: (session: Session, message: JsonRpcRequest, responder: Responder) => void
  readonly notification: (session: Session, message: JsonRpcNotification) => void
  /** Takes an answer to what the client was asked. Gives why it isn't taken. */
  readonly response: (session: Session, id: RequestId, reply: Reply) => Refusal | undefined
  /** Checks a batch and takes its notifications; gives its requests. */
  readonly batch: (
    session: Session,
    values: ReadonlyArray<unknown>
  ) => { readonly requests: ReadonlyArray<JsonRpcRequest> } | Refusal
  /** Adds a way for messages that belong to no request. Gives what removes it. */
  readonly listen: (session: Session, outlet: Outlet) => () => void
  /** A log message that belongs to no call, for the sessions that want it. */
  readonly broadcast: ForwardingOptions["broadcast"]
}

/** Streams of one session; the oldest is ended by a further one. */
const MaxOutlets = 4
/** Messages of one batch. */
const MaxBatch = 100
const everyList: ReadonlySet<ListKind> = new Set(Notices.listKinds)

/**
 * Makes it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ callers, relay, sessions, traffic }: HandshakeOptions): Handshake => {
  /** Sessions with an outlet, and what ends their listening. */
  const listeners = new Map<Session, () => void>()

  const { notify } = CallerSessions

  const setLevel = (session: Session, message: JsonRpcRequest): Reply => {
    const level = message.params?.["level"]
    if (!isLogLevel(level)) return { error: { code: Code.invalidParams, message: "level is not a log level" } }
    session.logLevel = level
    relay.logging.want(session, level)
    return { result: {} }
  }

  const notification: Handshake["notification"] = (session, message) => {
    if (message.method === "notifications/roots/list_changed") return callers.rootsChanged(session)
    if (message.method === "notifications/progress") return session.questions.progress(message.params ?? {})
    if (message.method !== "notifications/cancelled") return
    const id = message.params?.["requestId"]
    session.requests.find((each) => each.id === id)?.cancel()
  }

  const response: Handshake["response"] = (session, id, reply) =>
    session.questions.answer(id, reply) === "unasked"
      ? { error: invalidRequest(`Nothing with id ${JSON.stringify(id)} was asked of this session`), status: 400 }
      : undefined

  return {
    begin: (message, principal, hop, open) => {
      const { params } = message
      const requested = params?.["protocolVersion"]
      if (typeof requested !== "string") {
        return { error: { code: Code.invalidParams, message: "protocolVersion must be a string" }, status: 400 }
      }
      // A version that isn't spoken here is answered with the newest of the era, which the client may refuse.
      const protocolVersion = handshakeVersions.find((version) => version === requested) ?? handshakeVersions[0]
      const session = open({
        era: "handshake",
        protocolVersion,
        principal,
        ...SessionSeal.fitting(params?.["clientInfo"], params?.["capabilities"])
      })
      if ("error" in session) return session
      const reply = Effect.map(relay.initialized(protocolVersion), (result): Reply => ({ result }))
      return { session, reply: relay.serving.request(message, protocolVersion, hop, () => reply) }
    },

    request: (session, message, responder) => {
      const { id, method } = message
      if (method === "initialize") {
        return responder.reply(id, { error: invalidRequest("The session is already initialized") })
      }
      if (method === "logging/setLevel") return responder.reply(id, setLevel(session, message))
      const effect = relay.request(message, {
        client: session.client,
        logLevel: session.logLevel,
        streams: responder.streams,
        hop: responder.hop,
        known: session.known,
        notify: (notification) => {
          if (responder.streams) responder.notify(notification)
          else if (notification.method === "notifications/message") notify(session, notification)
        },
        ask: (method, params, progress) => session.questions.ask(method, params, responder, progress)
      })
      traffic.answerAmong(session.requests, message, effect, responder)
    },

    notification,
    response,

    batch: (session, values) => {
      const refusal = (reason: string): Refusal => ({ error: invalidRequest(reason), status: 400 })
      if (session.client.protocolVersion !== "2025-03-26") {
        return refusal("Batches exist in protocol version 2025-03-26 alone")
      }
      if (values.length === 0 || values.length > MaxBatch) return refusal(`A batch has 1 to ${MaxBatch} messages`)
      const messages = values.map(Messages.classify)
      const wrong = messages.find((each) => each._tag === "Invalid")
      if (wrong !== undefined) return { ...refusal(wrong.reason), id: wrong.id }
      for (const each of messages) {
        if (each._tag === "Notification") notification(session, each.message)
        if (each._tag === "Response") response(session, each.id, each.reply)
      }
      return { requests: messages.flatMap((each) => each._tag === "Request" ? [each.message] : []) }
    },

    listen: (session, outlet) => {
      session.outlets.push(outlet)
      if (session.outlets.length > MaxOutlets) session.outlets.shift()?.end()
      if (!listeners.has(session)) {
        const forget = relay.notices.add({
          kinds: everyList,
          known: session.known,
          notify: (kind) => notify(session, { jsonrpc: "2.0", method: `notifications/${kind}/list_changed` }),
          updated: (params) => notify(session, { jsonrpc: "2.0", method: "notifications/resources/updated", params })
        })
        listeners.set(session, forget)
      }
      session.questions.opened()
      return () => {
        const at = session.outlets.indexOf(outlet)
        if (at >= 0) session.outlets.splice(at, 1)
        if (session.outlets.length > 0) return
        listeners.get(session)?.()
        listeners.delete(session)
      }
    },

    broadcast: (notification, passes) => {
      const carried = { ...notification, params: Meta.onward(notification.params ?? {}) }
      for (const session of sessions.all()) {
        if (passes(session.logLevel, session.client.caller)) notify(session, carried)
      }
    }
  }
}
