/**
 * What is measured and traced of the requests of clients.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { IncomingMessage } from "node:http"
import { monotonic } from "../internal/monotonic.ts"
import type { JsonRpcRequest, Reply } from "../JsonRpc.ts"
import * as Meta from "../relay/Meta.ts"
import * as Instruments from "./Instruments.ts"
import * as Operations from "./Operations.ts"
import * as SessionDurations from "./SessionDurations.ts"
import * as Spans from "./Spans.ts"
import * as TraceContext from "./TraceContext.ts"

/**
 * What a request came by.
 *
 * @category models
 * @since 0.1.0
 */
export interface Hop {
  /** In the words of OpenTelemetry: `tcp` for HTTP, `pipe` for standard input and output. */
  readonly transport: "tcp" | "pipe"
  /** From the headers. */
  readonly trace?: TraceContext.TraceContext | undefined
}

/**
 * Measures and traces requests.
 *
 * @category models
 * @since 0.1.0
 */
export interface Serving {
  readonly request: (
    message: JsonRpcRequest,
    protocolVersion: string,
    /** Default: HTTP without trace context. */
    hop: Hop | undefined,
    answer: () => Effect.Effect<Reply>
  ) => Effect.Effect<Reply>
  readonly sessionEnded: SessionDurations.SessionDurations
  /** Whether spans are made. */
  readonly tracing: boolean
}

/** Requests of clients, from the last byte of the request to the reply. */
export const operationDuration: Instruments.Family = {
  name: "mcp.server.operation.duration",
  help: "Duration of requests of clients.",
  unit: "s"
}

/** Sessions of clients. */
export const sessionDuration: Instruments.Family = {
  name: "mcp.server.session.duration",
  help: "Duration of sessions of clients.",
  unit: "s"
}

const http: Hop = { transport: "tcp" }

/**
 * Gives the hop of a request over HTTP.
 *
 * @category accessors
 * @since 0.1.0
 */
export const hopOf = ({ headers }: IncomingMessage): Hop => {
  const trace = TraceContext.read(headers)
  return trace === undefined ? http : { ...http, trace }
}

const never = (): string => Instruments.other

/**
 * Makes it. `offered` tells whether there is a tool or prompt of a name: other names are no labels. Plain.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  offered: (method: string, name: string) => boolean
): Effect.Effect<Serving, never, Scope.Scope> =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const now = monotonic(clock)
    const instruments = yield* Instruments.make
    const operations = Operations.make(instruments, operationDuration, now)
    const tracing = yield* Spans.wanted
    const recorders = { tcp: new Map<string, Operations.Recorder>(), pipe: new Map<string, Operations.Recorder>() }

    const recorderOf = (protocolVersion: string, { transport }: Hop): Operations.Recorder => {
      const found = recorders[transport].get(protocolVersion)
      if (found !== undefined) return found
      const made = operations.of({ protocolVersion, transport })
      // What a client says its version is may be anything; those that are spoken here are few.
      if (recorders[transport].size < 16) recorders[transport].set(protocolVersion, made)
      return made
    }

    const traced = (
      { id, method, params }: JsonRpcRequest,
      protocolVersion: string,
      hop: Hop,
      target: string | undefined,
      answer: () => Effect.Effect<Reply>
    ): Effect.Effect<Reply> => {
      const inMessage = TraceContext.toSpan(TraceContext.read(Meta.of(params)))
      const inHeaders = TraceContext.toSpan(hop.trace)
      const uri = params?.["uri"]
      return Spans.within(
        {
          kind: "server",
          method,
          target,
          parent: inMessage ?? inHeaders,
          ...(inMessage !== undefined && inHeaders !== undefined && inHeaders.spanId !== inMessage.spanId
            ? { links: [{ span: inHeaders, attributes: {} }] }
            : undefined),
          attributes: {
            ...Operations.attributesOfPeer({ protocolVersion, transport: hop.transport }),
            "jsonrpc.request.id": String(id),
            ...(method === "resources/read" && typeof uri === "string" ? { "mcp.resource.uri": uri } : undefined)
          }
        },
        never,
        answer
      )
    }

    return {
      tracing,
      request: (message, protocolVersion, hop = http, answer) =>
        Effect.suspend(() => {
          const began = now()
          const { method, params } = message
          const name = Operations.targetOf(method, params)
          const target = name !== undefined && offered(method, name) ? name : undefined
          return Effect.onExit(tracing ? traced(message, protocolVersion, hop, target, answer) : answer(), (exit) => {
            recorderOf(protocolVersion, hop)(method, target, began, Operations.errorOf(exit, never))
            return Effect.void
          })
        }),
      sessionEnded: SessionDurations.make(instruments, sessionDuration)
    }
  })
