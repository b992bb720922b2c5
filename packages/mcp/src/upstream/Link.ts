/**
 * One negotiated connection: builds the requests of its era and routes what comes back to the request it belongs to.
 *
 * @since 0.1.0
 */
import type { Era } from "../Era.ts"
import { Code, type Fields, type JsonRpcNotification, type Reply } from "../JsonRpc.ts"
import { type Connection, type Failure, type Inbound, isFields, type Listener } from "./Connection.ts"
import type { ServerProfile, UpstreamRequest } from "./Upstream.ts"

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
  readonly kind: "http" | "stdio"
  readonly open: (era: Era, listener: Listener) => Connection
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
  /** A notification that belongs to no request. Must not throw. */
  readonly onNotification: (notification: JsonRpcNotification) => void
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
  /** Requests under way. */
  readonly inFlight: () => number
  /** Calls back once no request is under way. */
  readonly whenIdle: (idle: () => void) => void
  /** Fails what is under way and closes the connection. Never rejects. */
  readonly end: (reason: string) => Promise<void>
}

interface Flight {
  readonly request: UpstreamRequest
  readonly onReply: (reply: Reply) => void
  readonly onFailure: (failure: Failure) => void
}

const levels = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]

/** Answers to requests of the server that may be under way; a server that floods us with requests gets no more. */
const MaxAnswers = 32

/**
 * Makes a link; nothing is opened yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): Link => {
  let connection: Connection | undefined
  let era: Era = "handshake"
  let meta: Fields | undefined
  let logs = false
  /** Most verbose log level that was asked of a handshake server; an index of `levels`. */
  let logLevel = levels.length
  let answers = 0
  let over = false
  const flights = new Map<number, Flight>()
  const idlers: Array<() => void> = []

  const land = (id: number) => {
    if (flights.delete(id) && flights.size === 0 && idlers.length > 0) { for (const idle of idlers.splice(0)) idle() }
  }

  const lose = (failure: Failure) => {
    if (over) return
    over = true
    options.onLost(failure)
  }

  const answer = (id: string | number, method: string) => {
    if (answers >= MaxAnswers || connection === undefined) return
    answers++
    const done = () => void answers--
    connection.post(
      method === "ping"
        ? { jsonrpc: "2.0", id, result: {} }
        : {
          jsonrpc: "2.0",
          id,
          error: { code: Code.methodNotFound, message: `${method} is not supported by this client` }
        },
      done
    )
  }

  /** A log message as far as the request asked for it; a handshake server's level is that of all requests together. */
  const log = (flight: Flight, message: JsonRpcNotification) => {
    const wanted = flight.request.logLevel
    if (wanted === undefined) return
    const level = message.params?.["level"]
    if (era === "handshake" && typeof level === "string" && levels.indexOf(level) < levels.indexOf(wanted)) return
    flight.request.onNotification?.(message)
  }

  const receive = (message: Inbound, own: Flight | undefined) => {
    if ("id" in message) return answer(message.id, message.method)
    switch (message.method) {
      case "notifications/progress": {
        const token = message.params?.["progressToken"]
        const flight = typeof token === "number" ? flights.get(token) : undefined
        if (flight?.request.progress === true) flight.request.onNotification?.(message)
        return
      }
      case "notifications/message":
        if (own !== undefined) return log(own, message)
        for (const flight of flights.values()) log(flight, message)
        return options.onNotification(message)
      case "notifications/subscriptions/acknowledged": {
        const meta = message.params?.["_meta"]
        const id = isFields(meta) ? meta["io.modelcontextprotocol/subscriptionId"] : undefined
        const flight = own ?? (typeof id === "number" ? flights.get(id) : undefined)
        return flight?.request.onNotification?.(message)
      }
      case "notifications/cancelled": {
        // The one request that a server may end in this way is a subscription.
        const id = message.params?.["requestId"]
        const flight = typeof id === "number" ? flights.get(id) : undefined
        if (typeof id !== "number" || flight?.request.method !== "subscriptions/listen") return
        land(id)
        return flight.onReply({ result: {} })
      }
      default:
        return options.onNotification(message)
    }
  }

  const params = (id: number, request: UpstreamRequest): Fields | undefined => {
    if (meta === undefined && request.progress !== true) return request.params
    const given = request.params?.["_meta"]
    const own: Record<string, unknown> = { ...(typeof given === "object" ? given : undefined), ...meta }
    if (request.progress === true) own["progressToken"] = id
    if (meta !== undefined && request.logLevel !== undefined) own["io.modelcontextprotocol/logLevel"] = request.logLevel
    return { ...request.params, _meta: own }
  }

  const send: Link["request"] = (request, onReply, onFailure) => {
    const id = options.nextId()
    const open = connection
    if (open === undefined) {
      onFailure({ phase: "notSent", reason: "not connected" })
      return () => {}
    }
    const fail = (failure: Failure) => {
      land(id)
      // Before the caller hears it, so that what the caller does next meets the new state.
      if (failure.connectionLost === true || failure.sessionLost === true) lose(failure)
      onFailure(failure)
    }
    const flight: Flight = { request, onReply, onFailure }
    flights.set(id, flight)
    const giveUp = open.send({ jsonrpc: "2.0", id, method: request.method, params: params(id, request) }, {
      headers: request.headers,
      onSent: request.onSent,
      onMessage: (message) => receive(message, flight),
      onReply: (reply) => {
        land(id)
        onReply(reply)
      },
      onFailure: fail
    })
    return () => {
      if (!flights.has(id)) return
      land(id)
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
    attach: (profile) => {
      era = profile.era
      meta = era === "stateless" ? statelessMeta(profile.protocolVersion) : undefined
      logs = "logging" in profile.capabilities
    },
    request: (wanted, onReply, onFailure) => {
      const level = wanted.logLevel === undefined ? -1 : levels.indexOf(wanted.logLevel)
      if (level === -1 || era === "stateless" || !logs || level >= logLevel) return send(wanted, onReply, onFailure)
      // The level is one of the session: asked for before the request, and the request goes on whatever comes of it.
      let cancel: (() => void) | undefined
      const go = () => {
        cancel = send(wanted, onReply, onFailure)
      }
      logLevel = level
      const first = send({ method: "logging/setLevel", params: { level: wanted.logLevel } }, go, (failure) => {
        logLevel = levels.length
        if (failure.sessionLost === true || failure.connectionLost === true) onFailure({ ...failure, phase: "notSent" })
        else go()
      })
      return () => (cancel ?? first)()
    },
    notify: (message, done) => {
      if (connection === undefined) done({ phase: "notSent", reason: "not connected" })
      else {connection.post(message, (failure) => {
          if (failure?.connectionLost === true || failure?.sessionLost === true) lose(failure)
          done(failure)
        })}
    },
    lose,
    inFlight: () => flights.size,
    whenIdle: (idle) => {
      if (flights.size === 0) idle()
      else idlers.push(idle)
    },
    end: (reason) => {
      over = true
      const left = [...flights.values()]
      flights.clear()
      const closed = connection?.close() ?? Promise.resolve()
      for (const flight of left) flight.onFailure({ phase: "mayHaveRun", reason, connectionLost: true })
      return closed
    }
  }
}
