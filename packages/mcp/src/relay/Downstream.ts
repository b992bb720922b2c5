/**
 * One client on a channel of its own, on which all messages of both directions travel: standard input and output, or a
 * stream of events with POSTs beside it.
 *
 * **Details**: the channel is the session. A message that carries a protocol version in `_meta` is of the stateless era and
 * answered by itself; `initialize` begins the session of the handshake era.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import { InFlight } from "../internal/InFlight.ts"
import {
  Code,
  type JsonRpcErrorObject,
  type JsonRpcNotification,
  type JsonRpcRequest,
  type RequestId
} from "../JsonRpc.ts"
import type { Hop } from "../telemetry/Serving.ts"
import * as Messages from "./Messages.ts"
import { defect, invalidRequest } from "./Refusals.ts"
import type { Relay } from "./Relay.ts"
import * as Responder from "./Responder.ts"
import type { Handshake } from "./sessions/Handshake.ts"
import type { Outlet, Session, Sessions } from "./sessions/Sessions.ts"
import * as StatelessRequest from "./StatelessRequest.ts"
import type { Requests, Traffic } from "./Traffic.ts"

/**
 * The way to the client. Plain; must not throw.
 *
 * @category models
 * @since 0.1.0
 */
export interface Channel extends Pick<Outlet, "notify" | "end"> {
  /** Sends a JSON text. */
  readonly send: (json: string) => void
}

/**
 * Who is at the other end.
 *
 * @category models
 * @since 0.1.0
 */
export interface DownstreamClient {
  /** Whether it may speak the stateless era beside the handshake era. */
  readonly stateless: boolean
  readonly principal?: string | undefined
  /** Where it comes from: clients without a principal are told apart by it. None: it may begin sessions without limit. */
  readonly address?: string | undefined
  /** In the words of OpenTelemetry; `pipe` for standard input and output. Default `tcp`. */
  readonly transport?: "tcp" | "pipe" | undefined
}

/**
 * The gateway's end of the channel. All of it plain.
 *
 * @category models
 * @since 0.1.0
 */
export interface Downstream {
  /** Takes a parsed message, or a batch of them. */
  readonly receive: (value: unknown) => void
  /** Answers something that is no message. */
  readonly refuse: (error: JsonRpcErrorObject, id?: RequestId | null) => void
  readonly isInFlight: (id: unknown) => boolean
  /** Calls `wake` as soon as nothing is left to be answered. Subscriptions, which have no end, don't count. */
  readonly onIdle: (wake: () => void) => void
  /** Ends the session and cancels what is in flight: the client is gone. */
  readonly close: () => void
}

/**
 * Settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface DownstreamOptions {
  readonly relay: Relay
  readonly traffic: Traffic
  readonly sessions: Sessions
  readonly handshake: Handshake
  /** Something failed in a way that it can't. Plain. */
  readonly onDefect: (what: string, cause: Cause.Cause<unknown>) => void
}

/**
 * Makes the function that connects a client.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make =
  ({ handshake, onDefect, relay, sessions, traffic }: DownstreamOptions) =>
  (channel: Channel, client: DownstreamClient): Downstream => {
    const requests: Requests = new InFlight()
    const whenIdle = new Set<() => void>()
    const hop: Hop = { transport: client.transport ?? "tcp" }
    let session: Session | undefined
    let forget: (() => void) | undefined
    let left = 0
    let closed = false

    const refuse: Downstream["refuse"] = (error, id = null) => channel.send(Responder.encode(id, { error }))

    const settle = (): void => {
      left--
      if (left > 0) return
      for (const wake of Array.from(whenIdle)) wake()
      whenIdle.clear()
    }

    const say = (message: JsonRpcRequest): void => channel.send(JSON.stringify(message))

    /** The way back for one request. */
    const responder = (counts = true): Responder.Responder => {
      if (counts) left++
      return {
        streams: true,
        hop,
        notify: channel.notify,
        request: say,
        reply: (id, reply) => {
          channel.send(Responder.encode(id, reply))
          if (counts) settle()
        },
        skip: () => {
          if (counts) settle()
        }
      }
    }

    /** The way back for the requests of a batch: one text with all replies. */
    const batchResponder = (expected: number): Responder.Responder => {
      const replies: Array<string> = []
      let open = expected
      left++
      const end = (): void => {
        open--
        if (open > 0) return
        if (replies.length > 0) channel.send(`[${replies.join(",")}]`)
        settle()
      }
      return {
        streams: true,
        hop,
        notify: channel.notify,
        request: say,
        reply: (id, reply) => {
          replies.push(Responder.encode(id, reply))
          end()
        },
        skip: end
      }
    }

    /** The client said more than `initialize`: it is ready to hear of changes. */
    const listen = (of: Session): void => {
      forget ??= handshake.listen(of, {
        notify: channel.notify,
        request: say,
        end: channel.end
      })
    }

    const initialize = (message: JsonRpcRequest): void => {
      const begun = handshake.begin(
        message,
        client.principal,
        hop,
        (given) => sessions.attach({ ...given, transport: hop.transport }, requests, client.address)
      )
      if ("error" in begun) return refuse(begun.error, message.id)
      session = begun.session
      traffic.answerAmong(requests, message, begun.reply, responder())
    }

    const stateless = (message: JsonRpcRequest): void => {
      const { id, method } = message
      const envelope = StatelessRequest.check(message, undefined, client.principal)
      if ("error" in envelope) return refuse(envelope.error, id)
      if (!relay.knows("stateless", method)) {
        return refuse({ code: Code.methodNotFound, message: `Method not found: ${method}` }, id)
      }
      const subscribes = method === "subscriptions/listen"
      const refusal = subscribes ? traffic.streamRefusal() : traffic.refusal()
      if (refusal !== undefined) return refuse(refusal, id)
      const effect = relay.request(message, {
        client: envelope.client,
        logLevel: envelope.logLevel,
        streams: true,
        hop,
        notify: channel.notify
      })
      traffic.answerAmong(requests, message, effect, responder(!subscribes), subscribes)
    }

    const request = (message: JsonRpcRequest): void => {
      if (client.stateless && StatelessRequest.claims(message)) return stateless(message)
      const refusal = traffic.refusal()
      if (refusal !== undefined) return refuse(refusal, message.id)
      if (session !== undefined) {
        listen(session)
        return handshake.request(session, message, responder())
      }
      if (message.method === "initialize") return initialize(message)
      if (message.method === "ping") return channel.send(Responder.encode(message.id, { result: {} }))
      refuse(invalidRequest("No session: initialize first"), message.id)
    }

    const notification = (message: JsonRpcNotification): void => {
      if (message.method === "notifications/cancelled") {
        const id = message.params?.["requestId"]
        requests.find((each) => each.id === id)?.cancel()
      } else if (session !== undefined) {
        listen(session)
        handshake.notification(session, message)
      }
    }

    const batch = (values: ReadonlyArray<unknown>): void => {
      if (session === undefined) return refuse(invalidRequest("No session: initialize first"))
      const given = handshake.batch(session, values)
      if ("error" in given) return refuse(given.error, given.id)
      if (given.requests.length === 0) return
      const refusal = traffic.refusal()
      if (refusal !== undefined) return refuse(refusal)
      const replies = batchResponder(given.requests.length)
      for (const message of given.requests) handshake.request(session, message, replies)
    }

    const take = (value: unknown): void => {
      if (Array.isArray(value)) return batch(value)
      const given = Messages.classify(value)
      switch (given._tag) {
        case "Invalid":
          return refuse(invalidRequest(given.reason), given.id)
        case "Request":
          return request(given.message)
        case "Notification":
          return notification(given.message)
        case "Response":
          if (session !== undefined) handshake.response(session, given.id, given.reply)
          return
      }
    }

    return {
      receive: (value) => {
        if (closed) return
        // A mistake in here is one failed message, not the end of the process.
        try {
          take(value)
        } catch (error) {
          onDefect("a message", Cause.die(error))
          refuse(defect)
        }
      },
      refuse,
      isInFlight: (id) => requests.find((each) => each.id === id) !== undefined,
      onIdle: (wake) => {
        if (left === 0) wake()
        else whenIdle.add(wake)
      },
      close: () => {
        closed = true
        forget?.()
        if (session === undefined) { for (const { cancel } of requests.all()) cancel() }
        else sessions.end(session)
      }
    }
  }
