/**
 * The endpoint for one client on standard input and output, or any other two streams: one JSON-RPC message a line, clients
 * of both eras.
 *
 * **Gotchas**: nothing else may write to the output. Logs belong on standard error.
 *
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/stdio
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Readable, Writable } from "node:stream"
import type { JsonRpcNotification } from "../JsonRpc.ts"
import * as Lines from "../upstream/transports/Lines.ts"
import * as RequestBody from "./http/RequestBody.ts"
import { McpEndpoint } from "./McpEndpoint.ts"
import * as Meta from "./Meta.ts"
import { notJson, tooLarge } from "./Refusals.ts"

/**
 * Settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface StdioOptions {
  readonly input: Readable
  readonly output: Writable
  /** Longest wait at the end for calls in flight, and for the client to read their replies. Default 10 s. */
  readonly shutdownTimeout?: Duration.Input | undefined
  /**
   * Unread bytes of the output above which no more of the input is read, and notifications wait; as many of them wait at
   * most. Default 1 MiB.
   */
  readonly maxBuffered?: number | undefined
}

/** What a client that reads too slowly is spared: the next one says more. */
const passing: ReadonlySet<string> = new Set(["notifications/progress", "notifications/message"])

interface Open {
  /** Done when the input ended, and at once where the output is gone. */
  readonly ended: Effect.Effect<void>
  /** Done when all calls are answered, and at once where the output is gone. */
  readonly answered: Effect.Effect<void>
  /** Done when the client has read everything, and at once where the output is gone. */
  readonly flushed: Effect.Effect<void>
  readonly close: () => void
}

const open = (endpoint: McpEndpoint["Service"], options: StdioOptions): Open => {
  const { input, output } = options
  const { limits } = endpoint
  const maxBuffered = options.maxBuffered ?? 1_048_576
  /** Notifications that wait for the client to read, by their texts: of equal ones one is enough. */
  const held = new Map<string, JsonRpcNotification>()
  /** Of the texts of those. */
  let heldLength = 0
  const whenEnded = new Set<() => void>()
  const whenGone = new Set<() => void>()
  let clogged = false
  let ended = false
  let gone = false

  const send = (json: string): void => {
    if (gone) return
    output.write(`${json}\n`)
    if (output.writableLength <= maxBuffered) return
    clogged = true
    input.pause()
  }

  const hold = (json: string, notification: JsonRpcNotification): void => {
    if (held.has(json)) return
    held.set(json, notification)
    heldLength += json.length
    // The newest say most.
    for (const oldest of held.keys()) {
      if (heldLength <= maxBuffered) return
      held.delete(oldest)
      heldLength -= oldest.length
    }
  }

  const downstream = endpoint.connect({
    send,
    notify: (notification) => {
      if (!clogged) send(JSON.stringify(notification))
      else if (!passing.has(notification.method)) hold(JSON.stringify(notification), notification)
    },
    end: () => {}
  }, { stateless: true, transport: "pipe" })

  const onDrain = (): void => {
    clogged = false
    const waiting = Array.from(held)
    held.clear()
    heldLength = 0
    for (const [json, notification] of waiting) {
      const subscription = Meta.of(notification.params)?.[Meta.Key.subscriptionId]
      // Nothing may follow the end of its subscription.
      if (subscription === undefined || downstream.isInFlight(subscription)) send(json)
    }
    if (!clogged) input.resume()
  }

  const feed = Lines.make({
    limit: limits.maxBytes,
    onLine: (line) => {
      const message = RequestBody.parse(line, limits)
      if (message._tag === "Json") downstream.receive(message.value)
      else downstream.refuse(notJson(message.reason))
    },
    onTooLong: () => downstream.refuse(tooLarge(limits.maxBytes))
  })

  const wake = (waiting: Set<() => void>): void => {
    for (const each of waiting) each()
    waiting.clear()
  }

  const onEnd = (): void => {
    if (ended) return
    ended = true
    // The last line may lack its break.
    feed(Buffer.from("\n"))
    wake(whenEnded)
  }

  const onGone = (): void => {
    if (gone) return
    gone = true
    wake(whenEnded)
    wake(whenGone)
    downstream.close()
  }

  const unlessGone = (wait: (resume: () => void) => void): Effect.Effect<void> =>
    Effect.callback<void>((resume) => {
      const done = () => resume(Effect.void)
      if (gone) return done()
      whenGone.add(done)
      wait(done)
      return Effect.sync(() => void whenGone.delete(done))
    })

  const events = [
    [input, "data", feed],
    [input, "end", onEnd],
    [input, "close", onEnd],
    [input, "error", onEnd],
    [output, "drain", onDrain],
    [output, "error", onGone],
    [output, "close", onGone]
  ] as const
  for (const [stream, name, listener] of events) stream.on(name, listener)

  return {
    ended: unlessGone((resume) => {
      if (ended) resume()
      else whenEnded.add(resume)
    }),
    answered: unlessGone(downstream.onIdle),
    flushed: unlessGone((resume) => void output.write("", () => resume())),
    close: () => {
      for (const [stream, name, listener] of events) stream.off(name, listener)
      // What fails from here on concerns nobody.
      output.on("error", () => {})
      input.pause()
      downstream.close()
    }
  }
}

/**
 * Serves one client until its input ends or its output is gone. Interrupted, it refuses new calls on the whole endpoint and
 * ends in the same way: calls in flight may finish first.
 *
 * **Example** (Serving the client that started this process)
 *
 * ```ts
 * const Main = Layer.effectDiscard(
 *   StdioEndpoint.serve({ input: process.stdin, output: process.stdout })
 * ).pipe(Layer.provide(McpEndpoint.layer()))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const serve = (options: StdioOptions): Effect.Effect<void, never, McpEndpoint> =>
  Effect.flatMap(McpEndpoint, (endpoint) => {
    const timeout = Duration.fromInputUnsafe(options.shutdownTimeout ?? Duration.seconds(10))
    const bounded = (effect: Effect.Effect<void>) => Effect.asVoid(Effect.timeoutOption(effect, timeout))
    return Effect.acquireUseRelease(
      Effect.sync(() => open(endpoint, options)),
      ({ answered, ended, flushed }) =>
        ended.pipe(
          Effect.onInterrupt(() => bounded(Effect.andThen(endpoint.drain, flushed))),
          Effect.andThen(bounded(Effect.andThen(answered, flushed)))
        ),
      ({ close }) => Effect.sync(close)
    )
  })
