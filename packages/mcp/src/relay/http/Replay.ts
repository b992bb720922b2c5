/**
 * Events that were sent on the streams of sessions, kept for a while and within bounds, so that a client that lost a stream
 * goes on with it where it stopped reading.
 *
 * **Mental model**: a stream outlives its connection. What it says while nobody is connected is kept; the client comes back
 * with the id of the last event that it read and gets what followed, and then what is still to come.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery
 * @since 0.2.0
 */
import { Code, type JsonRpcNotification, type RequestId } from "../../JsonRpc.ts"
import * as Responder from "../Responder.ts"
import * as EventIds from "./EventIds.ts"
import type { Events, EventStream } from "./EventStream.ts"

/**
 * Settings. Read whenever something is kept, so that whoever holds them may change them.
 *
 * @category models
 * @since 0.2.0
 */
export interface ReplayOptions {
  /** Epoch ms. */
  readonly now: () => number
  /** Bytes that are kept for one session; 0 keeps nothing. */
  readonly maxReplay: number
  /** Bytes that are kept for all sessions. */
  readonly maxReplayTotal: number
  /** For how long, ms. */
  readonly keep: number
}

/**
 * A stream that outlives its connection. Plain.
 *
 * @category models
 * @since 0.2.0
 */
export interface KeptStream extends Events {
  readonly notify: (notification: JsonRpcNotification) => void
  /** The connection is gone. Later ones stay. */
  readonly disconnect: (connection: EventStream) => void
}

/**
 * What is left of the stream of an event: the stream; or nothing, and what it was for.
 *
 * @category models
 * @since 0.2.0
 */
export type Found =
  | {
    readonly _tag: "Stream"
    readonly purpose: EventIds.Purpose
    readonly resume: (connection: EventStream) => KeptStream
  }
  | { readonly _tag: "Gone"; readonly purpose: EventIds.Purpose }
  /** Its client has read all of it. */
  | { readonly _tag: "Over" }
  /** The id is none of an event of ours. */
  | { readonly _tag: "Unknown" }

/**
 * The streams of one session. Plain.
 *
 * @category models
 * @since 0.2.0
 */
export interface Replay {
  /** Whether anything is kept at all. */
  readonly isOn: () => boolean
  /** Begins a stream over a connection. With `primes` the client is told at once how to come back. */
  readonly begin: (purpose: EventIds.Purpose, connection: EventStream, primes: boolean) => KeptStream
  /** Finds what an id of an event, as a client gave it, stands for. */
  readonly find: (eventId: string) => Found
  /** Tells on a connection that the reply to a request was lost. There is nothing to come back for. */
  readonly lose: (id: RequestId, connection: EventStream) => void
  /** The newest stream of the session that lost its connection and may be gone on with. */
  readonly waiting: () => KeptStream | undefined
  /** Forgets everything: the session is over. */
  readonly clear: () => void
}

/**
 * Those of all sessions. Plain.
 *
 * @category models
 * @since 0.2.0
 */
export interface Replays {
  /** Makes that of a session. */
  readonly make: () => Replay
  /** Forgets what was kept for long enough. */
  readonly sweep: () => void
  /** Bytes that are kept. */
  readonly bytes: () => number
}

interface Event {
  readonly stream: Stream
  readonly number: number
  readonly line: string
  readonly bytes: number
  /** Epoch ms. */
  readonly at: number
}

interface Stream {
  readonly number: number
  readonly purpose: EventIds.Purpose
  readonly kept: KeptStream
  /** Id of one of its events. */
  readonly idOf: (event: number) => string
  /** Whether its client knows events that only tell how to come back. */
  readonly primes: boolean
  connection: EventStream | undefined
  /** The number of its last event. */
  last: number
  /** Events that are kept. */
  events: number
  ended: boolean
  /** Epoch ms at which its connection was lost. */
  lostAt: number
}

interface Log {
  readonly streams: Map<number, Stream>
  /** Oldest first. */
  readonly events: Array<Event>
  bytes: number
  closed: boolean
}

/** What an event holds beside its text. */
const Overhead = 128
/** Time after which a client that lost a stream is asked to come again, ms. */
const Retry = 1_000
/** Streams of one session that are kept; the oldest that ended are forgotten first. */
const MaxStreams = 64

/** The error in place of a reply that could not be kept for a client. */
const lost = (id: RequestId, reason: string): string =>
  Responder.encode(id, {
    error: {
      code: Code.interrupted,
      message: `The reply was lost with its connection: ${reason}. The request may have run.`,
      data: { reason: "reply lost" }
    }
  })

/**
 * Makes it.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (options: ReplayOptions): Replays => {
  /** Those that keep something. */
  const logs = new Set<Log>()
  let total = 0

  const forgetIfDone = (log: Log, stream: Stream): void => {
    if (stream.ended && stream.events === 0) log.streams.delete(stream.number)
  }

  const dropOldest = (log: Log): void => {
    const event = log.events.shift()
    if (event === undefined) return
    log.bytes -= event.bytes
    total -= event.bytes
    event.stream.events--
    forgetIfDone(log, event.stream)
    if (log.events.length === 0) logs.delete(log)
  }

  const makeRoom = (log: Log, bytes: number): void => {
    const { maxReplay, maxReplayTotal } = options
    while (log.bytes > maxReplay - bytes) dropOldest(log)
    for (const oldest of logs) {
      while (oldest.events.length > 0) {
        if (total <= maxReplayTotal - bytes) return
        dropOldest(oldest)
      }
    }
  }

  /** Forgets the oldest stream that ended; else one in place of which its client gets another one. */
  const forgetOne = ({ streams }: Log): void => {
    let least: Stream | undefined
    for (const stream of streams.values()) {
      if (stream.ended) return void streams.delete(stream.number)
      if (stream.connection === undefined && stream.purpose._tag === "Session") least ??= stream
    }
    if (least !== undefined) streams.delete(least.number)
  }

  const keep = (log: Log, stream: Stream, number: number, given: string, answers: RequestId | undefined): void => {
    const { maxReplay, maxReplayTotal, now } = options
    if (maxReplay === 0 || log.closed) return
    const most = Math.min(maxReplay, maxReplayTotal)
    const fits = given.length + Overhead <= most
    const line = fits || answers === undefined
      ? given
      : lost(answers, `its ${given.length} bytes are more than is kept`)
    const bytes = line.length + Overhead
    // A notification that doesn't fit is not kept; the ids of those after it tell nobody.
    if (bytes > most) return
    makeRoom(log, bytes)
    log.events.push({ stream, number, line, bytes, at: now() })
    log.bytes += bytes
    total += bytes
    stream.events++
    logs.add(log)
  }

  const makeReplay = (): Replay => {
    // Most sessions have no streams.
    let log: Log | undefined
    let tag: string | undefined
    let count = 0

    /** Tells a client how to come back, before anything else is said. */
    const prime = ({ idOf, primes }: Stream, connection: EventStream, after: number): void => {
      if (primes) connection.write("", { id: idOf(after), retry: Retry })
    }

    const begin: Replay["begin"] = (purpose, connection, primes) => {
      const own = log ??= { streams: new Map(), events: [], bytes: 0, closed: false }
      const number = ++count
      const idOf = EventIds.make(tag ??= EventIds.makeTag(), number, purpose)

      const kept: KeptStream = {
        send: (line, answers) => {
          if (stream.ended) return
          const event = ++stream.last
          // Kept first: whoever reads it may come back at once.
          keep(own, stream, event, line, answers)
          stream.connection?.write(line, { id: idOf(event) })
        },
        notify: (notification) => kept.send(JSON.stringify(notification)),
        keepAlive: () => stream.connection?.keepAlive(),
        end: () => {
          stream.ended = true
          stream.connection?.end()
        },
        isOpen: () => stream.connection?.isOpen() === true,
        disconnect: (given) => {
          if (stream.connection !== given) return
          stream.connection = undefined
          stream.lostAt = options.now()
        }
      }
      const stream: Stream = {
        number,
        purpose,
        kept,
        idOf,
        primes,
        connection,
        last: 0,
        events: 0,
        ended: false,
        lostAt: 0
      }
      own.streams.set(number, stream)
      if (own.streams.size > MaxStreams) forgetOne(own)
      prime(stream, connection, 0)
      return kept
    }

    const resume = (own: Log, stream: Stream, after: number, connection: EventStream): KeptStream => {
      // Whoever comes again has left the connection that it had, and gets what is unread there.
      const former = stream.connection
      stream.connection = connection
      former?.cut()
      // Also one that loses this connection before there is anything to say.
      prime(stream, connection, after)
      for (const event of own.events) {
        if (event.stream === stream && event.number > after) {
          connection.write(event.line, { id: stream.idOf(event.number), missed: true })
        }
      }
      if (stream.ended) connection.end()
      return stream.kept
    }

    return {
      isOn: () => options.maxReplay > 0,
      begin,
      find: (eventId) => {
        const id = EventIds.parse(eventId)
        if (id === undefined) return { _tag: "Unknown" }
        const { event: after, purpose } = id
        const own = log
        const found = id.tag === tag ? own?.streams.get(id.stream) : undefined
        // A stream of the session that was ended has nothing to come: the client is to have another one.
        if (own === undefined || found === undefined || (found.ended && found.purpose._tag === "Session")) {
          return purpose._tag === "Nothing" ? { _tag: "Over" } : { _tag: "Gone", purpose }
        }
        if (found.ended && after >= found.last) return { _tag: "Over" }
        const follows = own.events.some((each) => each.stream === found && each.number > after)
        return found.ended && !follows
          ? { _tag: "Gone", purpose }
          : {
            _tag: "Stream",
            purpose: found.purpose,
            resume: (connection) => resume(own, found, after, connection)
          }
      },
      lose: (id, connection) => {
        const idOf = EventIds.make(EventIds.makeTag(), 0, { _tag: "Nothing" })
        connection.write(lost(id, "nothing is kept of its stream any more"), { id: idOf(0) })
        connection.end()
      },
      waiting: () => {
        let newest: Stream | undefined
        for (const stream of log?.streams.values() ?? []) {
          const { connection, ended, lostAt, purpose } = stream
          if (purpose._tag !== "Session" || ended || connection !== undefined) continue
          if (options.now() - lostAt < options.keep) newest = stream
        }
        return newest?.kept
      },
      clear: () => {
        if (log === undefined) return
        log.closed = true
        total -= log.bytes
        logs.delete(log)
        log = undefined
      }
    }
  }

  return {
    make: makeReplay,
    sweep: () => {
      const until = options.now() - options.keep
      for (const log of logs) {
        while ((log.events[0]?.at ?? Infinity) <= until) dropOldest(log)
      }
    },
    bytes: () => total
  }
}
