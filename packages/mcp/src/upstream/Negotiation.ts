/**
 * Finds out which era a server speaks, and agrees on a version with it.
 *
 * **Details**: `server/discover` first. A modern answer means stateless. An authentication error, a 5xx, a lost connection
 * or, over HTTP, silence says nothing of the era and is an error. Anything else means handshake. A child process or a
 * WebSocket that is silent, or ends, is taken for one of the handshake era too: some end at any message before
 * `initialize`. HTTP+SSE is of that era anyway.
 *
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/versioning#backward-compatibility-with-initialization-based-versions
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { type Era, handshakeVersions, statelessVersions } from "../Era.ts"
import { Code, type Fields, isFields, type JsonRpcErrorObject, type Reply } from "../JsonRpc.ts"
import { clientInfo, type Link, statelessMeta, type Transport } from "./Link.ts"
import { type Connection, type Failure, oneLine } from "./transports/Connection.ts"
import type { ServerProfile } from "./Upstream.ts"

/**
 * What is known before.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly transport: Transport["kind"]
  /** Set by the record: no probing. */
  readonly era: Era | undefined
  /** Time that a child process has to answer the probe. */
  readonly probeTimeout: Duration.Duration
  readonly nextId: () => number
}

const modern = statelessVersions[0]

const call = (connection: Connection, id: number, method: string, params: Fields): Effect.Effect<Reply, Failure> =>
  Effect.callback((resume) => {
    const cancel = connection.send({ jsonrpc: "2.0", id, method, params }, {
      onMessage: () => {},
      onReply: (reply) => resume(Effect.succeed(reply)),
      onFailure: (failure) => resume(Effect.fail(failure))
    })
    return Effect.sync(cancel)
  })

const strings = (value: unknown): ReadonlyArray<string> =>
  Array.isArray(value) ? value.filter((one) => typeof one === "string") : []

const fieldsOr = (value: unknown): Fields => isFields(value) ? value : {}

const refused = (method: string, error: JsonRpcErrorObject, redact: Link["redact"]): Failure => ({
  phase: "answered",
  reason: oneLine(`${method} was answered with error ${error.code}: ${redact(error.message)}`)
})

const noneInCommon = (spoken: string): string =>
  oneLine(`no protocol version in common: the server speaks ${spoken || "none that it names"}`)

/** What the answer to the probe says; `undefined` means handshake. */
const read = (redact: Link["redact"]) => (reply: Reply): Effect.Effect<ServerProfile | undefined, Failure> => {
  if ("error" in reply) {
    const { code, data } = reply.error
    switch (code) {
      case Code.unsupportedProtocolVersion: {
        const supported = strings(fieldsOr(data)["supported"])
        if (handshakeVersions.some((version) => supported.includes(version))) return Effect.succeed(undefined)
        return Effect.fail({
          phase: "answered",
          reason: noneInCommon(supported.join(", "))
        })
      }
      case Code.headerMismatch:
      case Code.missingClientCapability:
        return Effect.fail(refused("server/discover", reply.error, redact))
      default:
        return Effect.succeed(undefined)
    }
  }
  const { result } = reply
  const version = statelessVersions.find((version) => strings(result["supportedVersions"]).includes(version))
  if (version === undefined || !isFields(result["capabilities"])) return Effect.succeed(undefined)
  const instructions = result["instructions"]
  return Effect.succeed({
    era: "stateless",
    protocolVersion: version,
    serverInfo: fieldsOr(fieldsOr(result["_meta"])["io.modelcontextprotocol/serverInfo"] ?? result["serverInfo"]),
    capabilities: result["capabilities"],
    instructions: typeof instructions === "string" ? instructions : undefined
  })
}

/** Whether a server turns away the very version that it says it speaks. It is asked once more. */
const contradictsItself = (reply: Reply): boolean =>
  "error" in reply && reply.error.code === Code.unsupportedProtocolVersion &&
  strings(fieldsOr(reply.error.data)["supported"]).includes(modern)

/** Whether the failure of a probe leaves the era open. */
const saysNothing = (failure: Failure): boolean =>
  failure.phase !== "answered" || failure.status === undefined || failure.status >= 500 || failure.status === 401 ||
  failure.status === 403 || failure.status === 407 || failure.status === 408 || failure.status === 429

const initialize = Effect.fnUntraced(function*(
  connection: Connection,
  { capabilities: declared, redact }: Link,
  options: Options
): Effect.fn.Return<ServerProfile, Failure> {
  const reply = yield* call(connection, options.nextId(), "initialize", {
    protocolVersion: handshakeVersions[0],
    capabilities: declared,
    clientInfo
  })
  if ("error" in reply) return yield* Effect.fail(refused("initialize", reply.error, redact))
  const { capabilities, instructions, protocolVersion, serverInfo } = reply.result
  const version = handshakeVersions.find((version) => version === protocolVersion)
  if (version === undefined) {
    return yield* Effect.fail<Failure>({
      phase: "answered",
      reason: noneInCommon(typeof protocolVersion === "string" ? protocolVersion : "")
    })
  }
  connection.negotiated(version)
  yield* Effect.callback<void, Failure>((resume) =>
    connection.post(
      { jsonrpc: "2.0", method: "notifications/initialized" },
      (failure) => resume(failure === undefined ? Effect.void : Effect.fail(failure))
    )
  )
  return {
    era: "handshake",
    protocolVersion: version,
    serverInfo: fieldsOr(serverInfo),
    capabilities: fieldsOr(capabilities),
    instructions: typeof instructions === "string" ? instructions : undefined
  }
})

/**
 * Negotiates over a link and attaches the result to it.
 *
 * @category negotiation
 * @since 0.1.0
 */
export const negotiate = Effect.fnUntraced(function*(
  link: Link,
  options: Options
): Effect.fn.Return<ServerProfile, Failure> {
  const attached = (profile: ServerProfile) => {
    link.attach(profile)
    return profile
  }
  // One channel for everything: silence on it holds up nothing else, and a second try goes over the same one.
  const channel = options.transport === "stdio" || options.transport === "websocket"
  if (options.era === "handshake" || options.transport === "sse") {
    return attached(yield* initialize(link.open("handshake"), link, options))
  }

  const connection = link.open("stateless")
  connection.negotiated(modern)
  const discover = Effect.suspend(() =>
    call(connection, options.nextId(), "server/discover", { _meta: statelessMeta(modern) })
  )
  const probe = yield* discover.pipe(
    Effect.flatMap((reply) => contradictsItself(reply) ? discover : Effect.succeed(reply)),
    Effect.forkChild({ startImmediately: true })
  )
  // Over HTTP the caller's time-out bounds the wait: there silence is an outage.
  const answered = yield* channel
    ? Fiber.await(probe).pipe(Effect.timeoutOption(options.probeTimeout), Effect.map(Option.getOrUndefined))
    : Fiber.await(probe)

  if (answered !== undefined) {
    if (Exit.isSuccess(answered)) {
      const profile = yield* read(link.redact)(answered.value)
      if (profile !== undefined) return attached(profile)
      if (options.era === "stateless") {
        return yield* Effect.fail<Failure>({ phase: "answered", reason: `the server doesn't speak ${modern}` })
      }
    } else {
      const failure = Option.getOrUndefined(Cause.findErrorOption(answered.cause))
      if (failure === undefined) return yield* Effect.interrupt
      const ended = channel && failure.phase === "mayHaveRun"
      if (options.era === "stateless" || (!ended && saysNothing(failure))) return yield* Effect.fail(failure)
      if (ended) return yield* Effect.fail<Failure>({ ...failure, endedAtProbe: true })
    }
  }

  // A channel is kept; over HTTP the other era has other headers.
  const second = channel ? connection : link.open("handshake")
  return attached(
    yield* initialize(second, link, options).pipe(
      Effect.catch((failure) => {
        if (answered !== undefined || failure.phase !== "answered") return Effect.fail(failure)
        // Slow, and of the stateless era only: the answer to the probe comes after all.
        return Fiber.join(probe).pipe(
          Effect.flatMap(read(link.redact)),
          Effect.timeoutOption(options.probeTimeout),
          Effect.flatMap((late) =>
            Option.isSome(late) && late.value !== undefined ? Effect.succeed(late.value) : Effect.fail(failure)
          )
        )
      }),
      Effect.ensuring(Fiber.interrupt(probe))
    )
  )
})
