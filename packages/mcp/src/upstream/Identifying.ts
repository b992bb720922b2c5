/**
 * Finds out what answers at an address by connecting to it as to any server, within bounds.
 *
 * **Mental model**: whoever answers is a stranger. It gets sockets of its own, is sent no secret and led nowhere else, and
 * is read no further than the bounds say. What an MCP server answers to the handshake is its identity; no other answer is
 * taken for one.
 *
 * **Gotchas**: a server of the stateless era has nothing that one of its addresses knows and the others don't. Such
 * addresses count as different servers. A gateway like this one is none, so that nobody puts it behind itself.
 *
 * @since 0.2.0
 */
import {
  type Address,
  type Bounds,
  Identification,
  type Identified,
  NotIdentified
} from "@portolan/core/Identification"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { randomUUID } from "node:crypto"
import { buildConnector, Pool } from "undici"
import { clientInfo, type Link } from "./Link.ts"
import * as Opening from "./Opening.ts"
import * as Leaving from "./pool/Leaving.ts"
import { type Connection, type Failure, type Listener, oneLine } from "./transports/Connection.ts"
import * as HttpConnection from "./transports/HttpConnection.ts"
import type { Sender } from "./transports/HttpExchange.ts"
import * as SseConnection from "./transports/SseConnection.ts"
import type { ServerProfile } from "./Upstream.ts"

/** Sockets to one address: one for a stream that the server leaves open, one for the next message. */
const MaxSockets = 2

/** The way to one address. */
interface Way {
  /** What a connection takes that goes there. */
  readonly options: HttpConnection.Options
  /** Whether there ever was a socket. */
  readonly connected: () => boolean
}

/** Opens the way for the life of the scope, the end of which cuts it, whatever is under way. */
const wayTo = Effect.fnUntraced(function*(
  url: URL,
  { serverName }: Address,
  { maxBytes }: Bounds
): Effect.fn.Return<Way, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  // A pool that is destroyed leaves alone what isn't connected yet.
  const cut = new AbortController()
  let connected = false
  const connect = buildConnector({
    // All of it together has a time-out.
    timeout: 0,
    allowH2: false,
    signal: cut.signal,
    ...(serverName === undefined ? undefined : { servername: serverName })
  })
  const pool = yield* Effect.acquireRelease(
    Effect.sync(() =>
      new Pool(url.origin, {
        connections: MaxSockets,
        pipelining: 1,
        headersTimeout: 0,
        bodyTimeout: 0,
        maxResponseSize: maxBytes,
        connect: (options, callback) =>
          connect(options, (...opened) => {
            if (opened[0] === null) connected = true
            callback(...opened)
          })
      })
    ),
    (pool) =>
      Effect.promise(() => {
        cut.abort()
        return pool.destroy()
      })
  )
  return {
    options: {
      dispatcher: pool,
      url,
      era: "handshake",
      headers: {},
      maxMessageSize: maxBytes,
      now: () => clock.currentTimeMillisUnsafe(),
      redact: (text) => text
    },
    connected: () => connected
  }
})

/** A sender that can be led elsewhere, request by request. */
const pointsOf = (usual: Sender) => {
  let elsewhere: Sender["dispatch"] | undefined
  const sender: Sender = { dispatch: (...request) => elsewhere?.(...request) ?? usual.dispatch(...request) }
  const leading = (to: Sender["dispatch"], send: Connection["send"]): Connection["send"] => (...request) => {
    elsewhere = to
    // It is handed over at once.
    const cancel = send(...request)
    elsewhere = undefined
    return cancel
  }
  return { sender, leading }
}

/** What a server sends of itself concerns nobody here. */
const deaf: Listener = { onMessage: () => {}, onLost: () => {} }

const kindOf = (failure: Failure, way: Way): NotIdentified["kind"] =>
  failure.wantsCredentials === true
    ? "protected"
    : !way.connected()
    ? "unreachable"
    : failure.timedOut === true
    ? "silent"
    : "foreign"

const identityOf = ({ protocolVersion, serverInfo }: ServerProfile, url: URL): Identified["identity"] => {
  const said = (key: string): string | undefined => {
    const value = serverInfo[key]
    const line = typeof value === "string" ? oneLine(value) : ""
    // A copy: a piece of a text holds all of it in memory.
    return line === "" ? undefined : Buffer.from(line).toString()
  }
  return { name: said("name") ?? url.host, version: said("version"), title: said("title"), protocolVersion }
}

/** What a server says to a ping in a session. */
const ping = (send: Connection["send"], id: number): Effect.Effect<"known" | "unknown" | "unclear"> =>
  Effect.callback((resume) => {
    const cancel = send({ jsonrpc: "2.0", id, method: "ping" }, {
      onMessage: () => {},
      onReply: (reply) => resume(Effect.succeed("result" in reply ? "known" : "unknown")),
      onFailure: ({ status }) => resume(Effect.succeed(status === 404 || status === 400 ? "unknown" : "unclear"))
    })
    return Effect.sync(cancel)
  })

/**
 * Whether what is at the other end of a way knows the session that `send` sends in, when it is led there. Over HTTP it must
 * not know just any: some answer whatever the session. Over HTTP+SSE the answer comes on the stream that we have, which no
 * other server can write to.
 */
const knowsSession = Effect.fnUntraced(function*(
  { options }: Way,
  { leading, nextId, protocolVersion, send, transport }: {
    readonly transport: Address["transport"]
    readonly protocolVersion: string
    readonly send: Connection["send"]
    readonly leading: ReturnType<typeof pointsOf>["leading"]
    readonly nextId: () => number
  }
) {
  const { dispatcher, url } = options
  const path = `${url.pathname}${url.search}`
  const led = leading(
    (sent, handler) =>
      dispatcher.dispatch({ ...sent, origin: url.origin, path: transport === "sse" ? sent.path : path }, handler),
    send
  )
  const known = yield* ping(led, nextId())
  if (transport === "sse" || known !== "known") return known === "known"
  const headers = { "mcp-session-id": randomUUID(), "mcp-protocol-version": protocolVersion }
  const stranger = HttpConnection.open({ ...options, headers }, deaf)
  return (yield* ping(stranger.send, nextId())) === "unknown"
})

const attempt = Effect.fnUntraced(function*(
  address: Address,
  bounds: Bounds
): Effect.fn.Return<Identified, NotIdentified, Scope.Scope> {
  const url = URL.parse(address.url)
  if (url === null || !/^https?:$/.test(url.protocol)) {
    return yield* new NotIdentified({ kind: "unreachable", reason: "the address is no http(s) URL" })
  }
  const { transport } = address
  const way = yield* wayTo(url, address, bounds)
  const { leading, sender } = pointsOf(way.options.dispatcher)
  const options = { ...way.options, dispatcher: sender }
  const leaving = Leaving.make()
  let lastId = 0
  const nextId = () => ++lastId

  let link: Link | undefined
  yield* Effect.addFinalizer((exit) =>
    Effect.suspend(() => {
      if (link !== undefined) leaving.end(link, "closed")
      // A session is taken leave of where there is time for it.
      return Exit.hasInterrupts(exit) ? Effect.void : Effect.promise(() => leaving.close())
    })
  )
  const { link: opened, profile } = yield* Opening.open({
    transport: transport === "sse"
      ? { kind: "sse", open: (_, listener) => SseConnection.open(options, listener) }
      : { kind: "http", open: (era, listener) => HttpConnection.open({ ...options, era }, listener) },
    era: undefined,
    connectTimeout: bounds.timeout,
    probeTimeout: bounds.timeout,
    nextId,
    leaving,
    onNotification: () => {},
    onLost: () => {}
  }).pipe(
    Effect.mapError((failure) => new NotIdentified({ kind: kindOf(failure, way), reason: oneLine(failure.reason) }))
  )
  link = opened
  const identity = identityOf(profile, url)
  // One that finds itself lists what it lists, without end, and so do two that find each other.
  if (identity.name === clientInfo.name) {
    const reason = "it is a gateway like this one; name it in the configuration where one is to stand behind the other"
    return yield* new NotIdentified({ kind: "foreign", reason })
  }

  // What else it said may be long, and is not kept as long as this.
  const hasSession = profile.session !== undefined
  const { protocolVersion } = identity
  return {
    identity,
    isAlso: (other) => {
      const elsewhere = URL.parse(other.url)
      const connection = opened.connection()
      if (!hasSession || connection === undefined || other.transport !== transport || elsewhere === null) {
        return Effect.succeed(false)
      }
      return wayTo(elsewhere, other, bounds).pipe(
        Effect.flatMap((way) =>
          knowsSession(way, { transport, protocolVersion, send: connection.send, leading, nextId })
        ),
        Effect.scoped,
        Effect.timeoutOrElse({ duration: bounds.timeout, orElse: () => Effect.succeed(false) })
      )
    }
  }
})

/**
 * Identifies a server by the handshake of either era.
 *
 * **Details**: a session that the server began ends with the scope, which takes a second at most, and none where the scope
 * is interrupted. What isn't identified leaves nothing open.
 *
 * @category identifying
 * @since 0.2.0
 */
export const identify: Identification["Service"]["identify"] = Effect.fnUntraced(function*(address, bounds) {
  const own = yield* Scope.fork(yield* Effect.scope)
  return yield* attempt(address, bounds).pipe(
    Scope.provide(own),
    Effect.onError((cause) => Scope.close(own, Exit.failCause(cause)))
  )
})

/**
 * Layer that provides `Identification`.
 *
 * @category layers
 * @since 0.2.0
 */
export const layer: Layer.Layer<Identification> = Layer.succeed(Identification, { identify })
