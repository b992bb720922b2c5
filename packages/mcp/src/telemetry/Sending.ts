/**
 * What is measured and traced of the requests to servers.
 *
 * @since 0.1.0
 */
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { monotonic } from "../internal/monotonic.ts"
import type { Reply } from "../JsonRpc.ts"
import * as Meta from "../relay/Meta.ts"
import { type ServerProfile, UpstreamError, type UpstreamRequest } from "../upstream/Upstream.ts"
import * as Instruments from "./Instruments.ts"
import * as Operations from "./Operations.ts"
import * as SessionDurations from "./SessionDurations.ts"
import * as Spans from "./Spans.ts"
import * as TraceContext from "./TraceContext.ts"

/**
 * Ends the measurement of a request by what it came to; by nothing where whoever asked gave up. Plain.
 *
 * @category models
 * @since 0.1.0
 */
export type Ended = (outcome: Reply | UpstreamError | undefined) => void

/**
 * What is measured and traced of the requests to one upstream.
 *
 * @category models
 * @since 0.1.0
 */
export interface Measured {
  /** A request begins; the result is to be called once. Plain: an effect around each request would cost several times that. */
  readonly begin: (request: UpstreamRequest, profile: ServerProfile | undefined) => Ended
  /** Sends a request within a span of its own; absent where nobody listens. */
  readonly traced:
    | ((
      request: UpstreamRequest,
      profile: ServerProfile | undefined,
      send: (request: UpstreamRequest) => Effect.Effect<Reply, UpstreamError>
    ) => Effect.Effect<Reply, UpstreamError>)
    | undefined
  /** A connection ended that lasted for so many ms. Plain. */
  readonly sessionEnded: (profile: ServerProfile, lasted: number) => void
}

/**
 * Measures and traces what upstreams send.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sending {
  /** For one upstream, for the life of its scope. */
  readonly upstream: (instance: () => ServiceInstance) => Effect.Effect<Measured, never, Scope.Scope>
}

/** Requests to servers. */
export const operationDuration: Instruments.Family = {
  name: "mcp.client.operation.duration",
  help: "Duration of requests to servers, each attempt by itself.",
  unit: "s"
}

/** Connections to servers. */
export const sessionDuration: Instruments.Family = {
  name: "mcp.client.session.duration",
  help: "Duration of connections to servers.",
  unit: "s"
}

/** Attempts of calls on instances. */
export const attempts: Instruments.Family = {
  name: "portolan_instance_attempts_total",
  help: "Attempts of calls on the instance, by outcome."
}

/** Attempts of calls under way on instances. */
export const inFlight: Instruments.Family = {
  name: "portolan_instance_in_flight",
  help: "Attempts of calls under way on the instance."
}

/** Instances that get series of their own; the others share one. */
const MaxInstances = 500

const calls: ReadonlySet<string> = new Set(["tools/call", "prompts/get", "resources/read", "completion/complete"])
const outcomes = ["success", "error", "cancelled"] as const

const addressOf = ({ endpoint }: ServiceInstance): Record<string, unknown> => {
  const url = "url" in endpoint && typeof endpoint.url === "string" ? URL.parse(endpoint.url) : null
  if (url === null) return {}
  const port = url.port === "" ? (url.protocol === "https:" || url.protocol === "wss:" ? 443 : 80) : Number(url.port)
  return { "server.address": url.hostname, "server.port": port }
}

interface Cell {
  readonly counts: Record<(typeof outcomes)[number], number>
  inFlight: number
}

const failed = ({ phase, status }: UpstreamError): string =>
  status !== undefined && status >= 300 && status < 600
    ? String(status)
    : phase === "notSent"
    ? "not_sent"
    : phase === "mayHaveRun"
    ? "may_have_run"
    : Instruments.other

/**
 * Makes it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Sending, never, Scope.Scope> = Effect.gen(function*() {
  const clock = yield* Clock.Clock
  const now = monotonic(clock)
  const instruments = yield* Instruments.make
  const operations = Operations.make(instruments, operationDuration, now)
  const sessionEnded = SessionDurations.make(instruments, sessionDuration)
  const tracing = yield* Spans.wanted
  /** Upstreams by service. */
  const open = new Map<string, number>()
  let instances = 0

  const register = (service: string, instance: string): { readonly cell: Cell; readonly remove: () => void } => {
    const cell: Cell = { counts: { success: 0, error: 0, cancelled: 0 }, inFlight: 0 }
    const labels = { "portolan.service": service, "portolan.instance": instance }
    const removals = [
      ...outcomes.map((outcome) => instruments.counter(attempts, { ...labels, outcome }, () => cell.counts[outcome])),
      instruments.gauge(inFlight, labels, () => cell.inFlight)
    ]
    return { cell, remove: () => removals.forEach((remove) => remove()) }
  }
  let rest: Cell | undefined
  const shared = (): Cell => rest ??= register(Instruments.other, Instruments.other).cell

  const traced = (
    request: UpstreamRequest,
    instance: ServiceInstance,
    peer: Operations.Peer,
    send: (request: UpstreamRequest) => Effect.Effect<Reply, UpstreamError>
  ): Effect.Effect<Reply, UpstreamError> =>
    Effect.contextWith((context: Context.Context<never>) => {
      const parent = Context.getOrUndefined(context, Tracer.ParentSpan)
      // What the gateway asks of its own accord belongs to no trace.
      if (parent === undefined) return send(request)
      const { headers, method, params } = request
      const given = Meta.of(params)
      return Spans.within(
        {
          kind: "client",
          method,
          target: Operations.targetOf(method, params),
          parent,
          attributes: {
            ...Operations.attributesOfPeer(peer),
            "portolan.instance": instance.id,
            ...addressOf(instance)
          }
        },
        failed,
        (span) => {
          const own = TraceContext.ofSpan(span, TraceContext.read(given))
          return send({
            ...request,
            params: { ...params, _meta: TraceContext.write(own, given) },
            headers: TraceContext.write(own, headers)
          })
        }
      )
    })

  return {
    upstream: Effect.fnUntraced(function*(instance) {
      const { endpoint: { transport: kind }, id, service } = instance()
      const transport = kind === "stdio" ? "pipe" : kind === "in-process" ? undefined : "tcp"
      const scope = yield* Effect.scope
      let cell: Cell
      if (instances < MaxInstances) {
        instances++
        const registered = register(service, id)
        cell = registered.cell
        yield* Scope.addFinalizer(
          scope,
          Effect.sync(() => {
            instances--
            registered.remove()
          })
        )
      } else cell = shared()
      open.set(service, (open.get(service) ?? 0) + 1)
      yield* Scope.addFinalizer(
        scope,
        Effect.sync(() => {
          const left = (open.get(service) ?? 1) - 1
          if (left > 0) return void open.set(service, left)
          open.delete(service)
          operations.forget(service)
        })
      )

      let version: string | undefined
      let record: Operations.Recorder | undefined

      const peerOf = (profile: ServerProfile | undefined) => ({
        protocolVersion: profile?.protocolVersion,
        transport,
        service
      } as const)

      return {
        begin: ({ method, params }, profile) => {
          const began = now()
          const counted = calls.has(method)
          if (counted) cell.inFlight++
          return (outcome) => {
            const error = outcome === undefined
              ? Operations.cancelled
              : outcome instanceof UpstreamError
              ? { type: failed(outcome) }
              : Operations.errorOfReply(outcome)
            if (counted) {
              cell.inFlight--
              cell.counts[outcome === undefined ? "cancelled" : error === undefined ? "success" : "error"]++
            }
            if (record === undefined || version !== profile?.protocolVersion) {
              version = profile?.protocolVersion
              record = operations.of(peerOf(profile))
            }
            record(method, Operations.targetOf(method, params), began, error)
          }
        },
        traced: tracing ? (request, profile, send) => traced(request, instance(), peerOf(profile), send) : undefined,
        sessionEnded: (profile, lasted) => sessionEnded(profile.protocolVersion, transport, lasted)
      }
    })
  }
})
