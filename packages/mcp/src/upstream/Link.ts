/**
 * One negotiated connection: builds the requests of its era and routes what comes back to the request it belongs to.
 *
 * @since 0.1.0
 */
import type { Era } from "../Era.ts"
import { InFlight } from "../internal/InFlight.ts"
import { withoutRounds } from "../internal/withoutRounds.ts"
import {
  Code,
  type Fields,
  isFields,
  type JsonRpcNotification,
  type JsonRpcRequest,
  type Reply,
  type RequestId
} from "../JsonRpc.ts"
import * as ServerRequests from "./ServerRequests.ts"
import { type Connection, type Failure, type Inbound, type Listener } from "./transports/Connection.ts"
import type { ServerProfile, ServerRequest, UpstreamRequest } from "./Upstream.ts"

/** What we tell servers of ourselves. */
export const clientInfo = { name: "portolan", version: "0.1.0" } as const

/** The `_meta` that every request of the stateless era carries. */
export const statelessMeta = (protocolVersion: string): Fields => ({
  "io.modelcontextprotocol/protocolVersion": protocolVersion,
  "io.modelcontextprotocol/clientInfo": clientInfo,
  "io.modelcontextprotocol/clientCapabilities": {}
})

/**
 * How to reach a server, with everything resolved that opening takes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Transport {
  readonly kind: "http" | "sse" | "websocket" | "stdio" | "in-process"
  readonly open: (era: Era, listener: Listener) => Connection
  /** Takes secrets out of what the server says. */
  readonly redact?: ((text: string) => string) | undefined
  /** What to try where the server knows no requests of this kind. */
  readonly fallback?: Transport | undefined
}

/**
 * What the owner of a link hears.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly transport: Transport
  /** Ids of requests, and their progress tokens: none twice for one upstream. */
  readonly nextId: () => number
  /** What a server of the handshake era is told that the client can do. Default: nothing. */
  readonly capabilities?: Fields | undefined
  /** A notification that belongs to no request. Must not throw. */
  readonly onNotification: (notification: JsonRpcNotification) => void
  /** The server asks something that belongs to no request. Must not throw. None: refused. */
  readonly onRequest?: ((request: ServerRequest) => void) | undefined
  /** Whether a session that the server names lives on where a socket is lost: the server says when it is over. */
  readonly outlives?: boolean | undefined
  /** The connection or its session is gone. Called once at most; not after `end`. Must not throw. */
  readonly onLost: (failure: Failure) => void
}

/**
 * A link.
 *
 * @category models
 * @since 0.1.0
 */
export interface Link {
  /** Opens a connection of the transport for an era; the one before is given up. */
  readonly open: (era: Era) => Connection
  readonly connection: () => Connection | undefined
  /** What a server of the handshake era is told that the client can do. */
  readonly capabilities: Fields
  /** Takes secrets out of what the server says. */
  readonly redact: (text: string) => string
  /** From here requests are those of the profile's era. */
  readonly attach: (profile: ServerProfile) => void
  /** Sends a request; one of the two is called once, none after a cancellation, which is what the result does. */
  readonly request: (
    request: UpstreamRequest,
    onReply: (reply: Reply) => void,
    onFailure: (failure: Failure) => void
  ) => () => void
  readonly notify: (message: JsonRpcNotification, done: (failure: Failure | undefined) => void) => void
  /** Takes the link for lost. */
  readonly lose: (failure: Failure) => void
  /** Requests under way; a subscription, which has no end, is none. */
  readonly inFlight: () => number
  /** Calls back once no request is under way. */
  readonly whenIdle: (idle: () => void) => void
  /** Fails what is under way and closes the connection. Never rejects. */
  readonly end: (reason: string) => Promise<void>
}

interface Flight {
  readonly id: number
  readonly request: UpstreamRequest
  readonly onReply: (reply: Reply) => void
  readonly onFailure: (failure: Failure) => void
  /** Takes it for ended; tells whether it wasn't before. */
  readonly land: () => boolean
}

/** Whether a request asks for notifications of its own, and never for log messages. */
const isListen = ({ method }: UpstreamRequest): boolean => method === "subscriptions/listen"

/** Answers to requests of the server that may be under way; a server that floods us with requests gets no more. */
const MaxAnswers = 32

/** Requests whose progress is heard although they were answered; the oldest are forgotten first. */
const MaxLate = 256

/**
 * Makes a link; nothing is opened yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): Link => {
  let connection: Connection | undefined
  let meta: Fields | undefined
  let answers = 0
  let subscriptions = 0
  let over = false
  const capabilities = options.capabilities ?? {}
  let serverRequests: ServerRequests.ServerRequests | undefined
  const flights = new InFlight<Flight>()
  const idlers: Array<() => void> = []
  // What takes the progress of requests that were answered.
  const late = new Map<number, (notification: JsonRpcNotification) => void>()

  const inFlight = () => flights.size - subscriptions

  /** The request that a message of the server names; mostly that on whose answer it came. */
  const flightOf = (id: unknown, own: Flight | undefined): Flight | undefined =>
    own?.id === id ? own : flights.find((flight) => flight.id === id)

  const lose = (failure: Failure) => {
    if (over) return
    if (options.outlives === true && failure.sessionLost !== true && connection?.hasSession?.() === true) return
    over = true
    serverRequests?.abandon(undefined)
    options.onLost(failure)
  }

  const outlast = (id: number, taker: ((notification: JsonRpcNotification) => void) | undefined) => {
    if (taker === undefined) return
    late.set(id, taker)
    const [oldest] = late.keys()
    if (late.size > MaxLate && oldest !== undefined) late.delete(oldest)
  }

  const posted = (failure: Failure | undefined) => {
    if (failure?.connectionLost === true || failure?.sessionLost === true) lose(failure)
  }

  /** Answers without asking anybody. */
  const answer = (id: RequestId, reply: Reply) => {
    if (answers >= MaxAnswers || connection === undefined) return
    answers++
    connection.post({ jsonrpc: "2.0", id, ...reply }, () => void answers--)
  }

  /** The one request that is under way and could ask its client. */
  const asking = (): Flight | undefined => {
    const all = flights.all().filter(({ request }) => request.onRequest !== undefined)
    return all.length === 1 ? all[0] : undefined
  }

  const asked = (request: JsonRpcRequest, own: Flight | undefined) => {
    const { id, method } = request
    if (method === "ping") return answer(id, { result: {} })
    // On the stream of a request it is for whoever made that, and for nobody else.
    const owner = own === undefined ? asking() : own.request.onRequest === undefined ? undefined : own
    const to = owner === undefined ? over ? undefined : options.onRequest : owner.request.onRequest
    if (to === undefined || !ServerRequests.allowed(capabilities, method)) {
      return answer(id, { error: { code: Code.methodNotFound, message: `${method} is not supported by this client` } })
    }
    serverRequests ??= ServerRequests.make(
      (id, reply) => connection?.post({ jsonrpc: "2.0", id, ...reply }, posted),
      (notification, sent) =>
        connection?.post(notification, (failure) => {
          posted(failure)
          sent()
        })
    )
    if (serverRequests.ask(request, owner, to)) return
    answer(id, {
      error: { code: Code.internalError, message: `more than ${ServerRequests.MaxOpen} requests at once` }
    })
  }

  /** The request that hears a log message which names none: over one pipe, the only one under way that listens. */
  const listening = (): Flight | undefined => {
    const all = flights.all().filter(({ request }) => request.onNotification !== undefined && !isListen(request))
    return all.length === 1 ? all[0] : undefined
  }

  const receive = (message: Inbound, own: Flight | undefined) => {
    if ("id" in message) return asked(message, own)
    switch (message.method) {
      case "notifications/progress": {
        const token = message.params?.["progressToken"]
        const flight = flightOf(token, own)
        if (flight?.request.progress === true) flight.request.onNotification?.(message)
        else if (flight === undefined && typeof token === "number") late.get(token)?.(message)
        return
      }
      case "notifications/message": {
        const flight = own ?? listening()
        return flight === undefined || isListen(flight.request)
          ? options.onNotification(message)
          : flight.request.onNotification?.(message)
      }
      case "notifications/subscriptions/acknowledged": {
        const meta = message.params?.["_meta"]
        const id = isFields(meta) ? meta["io.modelcontextprotocol/subscriptionId"] : undefined
        const flight = own ?? flightOf(id, undefined)
        return flight?.request.onNotification?.(message)
      }
      case "notifications/cancelled": {
        // The one request of ours that a server may end in this way is a subscription; others are its own.
        const id = message.params?.["requestId"]
        const flight = flightOf(id, own)
        if (flight === undefined || !isListen(flight.request)) return serverRequests?.withdraw(id)
        if (flight.land()) flight.onReply({ result: {} })
        return
      }
      default:
        return options.onNotification(message)
    }
  }

  const params = (id: number, request: UpstreamRequest): Fields | undefined => {
    const params = meta === undefined && request.params !== undefined
      ? withoutRounds(request.params)
      : request.params
    if (meta === undefined && request.progress !== true) return params
    const given = params?.["_meta"]
    const own: Record<string, unknown> = { ...(typeof given === "object" ? given : undefined), ...meta }
    if (request.progress === true) own["progressToken"] = id
    if (meta !== undefined) {
      const capabilities = request.capabilities ?? request.caller?.capabilities
      if (capabilities !== undefined) own["io.modelcontextprotocol/clientCapabilities"] = capabilities
      if (request.logLevel !== undefined) own["io.modelcontextprotocol/logLevel"] = request.logLevel
    }
    return { ...params, _meta: own }
  }

  const request: Link["request"] = (request, onReply, onFailure) => {
    const id = options.nextId()
    const open = connection
    if (open === undefined) {
      onFailure({ phase: "notSent", reason: "not connected" })
      return () => {}
    }
    const fail = (failure: Failure) => {
      land()
      // Before the caller hears it, so that what the caller does next meets the new state.
      if (failure.connectionLost === true || failure.sessionLost === true) lose(failure)
      onFailure(failure)
    }
    const land = (): boolean => {
      if (!remove()) return false
      if (listens) subscriptions--
      serverRequests?.abandon(flight)
      if (idlers.length > 0 && inFlight() === 0) { for (const idle of idlers.splice(0)) idle() }
      return true
    }
    const listens = isListen(request)
    if (listens) subscriptions++
    const flight: Flight = { id, request, onReply, onFailure, land }
    const remove = flights.add(flight)
    const giveUp = open.send({ jsonrpc: "2.0", id, method: request.method, params: params(id, request) }, {
      headers: request.headers,
      onSent: request.onSent,
      onMessage: (message) => receive(message, flight),
      onReply: (reply) => {
        land()
        outlast(id, request.onLate?.(reply))
        onReply(reply)
      },
      onFailure: fail
    })
    return () => {
      if (!land()) return
      giveUp()
      if (!open.cancelsByClosing) {
        open.post({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: id, reason: "given up" } })
      }
    }
  }

  return {
    open: (next) => {
      connection = options.transport.open(next, {
        onMessage: (message) => receive(message, undefined),
        onLost: lose
      })
      return connection
    },
    connection: () => connection,
    capabilities,
    redact: options.transport.redact ?? ((text) => text),
    attach: (profile) => {
      meta = profile.era === "stateless" ? statelessMeta(profile.protocolVersion) : undefined
    },
    request,
    notify: (message, done) => {
      if (connection === undefined) done({ phase: "notSent", reason: "not connected" })
      else {
        connection.post(message, (failure) => {
          posted(failure)
          done(failure)
        })
      }
    },
    lose,
    inFlight,
    whenIdle: (idle) => {
      if (inFlight() === 0) idle()
      else idlers.push(idle)
    },
    end: (reason) => {
      over = true
      const left = flights.all()
      flights.clear()
      serverRequests?.end()
      subscriptions = 0
      const closed = connection?.close() ?? Promise.resolve()
      for (const flight of left) flight.onFailure({ phase: "mayHaveRun", reason, connectionLost: true })
      for (const idle of idlers.splice(0)) idle()
      return closed
    }
  }
}
