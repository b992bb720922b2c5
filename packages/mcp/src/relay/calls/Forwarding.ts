/**
 * The way of a request to a server and back: routed, its names and `_meta` rewritten by the caller of this, its
 * notifications carried while it runs, and what its server asks meanwhile brought to the client.
 *
 * **Mental model**: one `send` is one routed request. A call takes several where its server is of the stateless era and asks
 * a client of the handshake era: then the gateway drives the rounds. A call of a client of the stateless era may be parked
 * instead, or go on with what `requestState` says.
 *
 * @since 0.1.0
 */
import * as Catalog from "@portolan/core/Catalog"
import { type RouteError, Router, type Routing } from "@portolan/core/Router"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { withoutRounds } from "../../internal/withoutRounds.ts"
import { Code, type Fields, type JsonRpcNotification, type Reply } from "../../JsonRpc.ts"
import * as RoutingFigures from "../../telemetry/RoutingFigures.ts"
import * as Spans from "../../telemetry/Spans.ts"
import type { Caller } from "../../upstream/Upstream.ts"
import { Upstreams } from "../../upstream/Upstreams.ts"
import * as Logging from "../Logging.ts"
import type { LogLevel } from "../LogLevel.ts"
import * as Meta from "../Meta.ts"
import { failure } from "../Method.ts"
import type * as Seal from "../Seal.ts"
import type * as Bindings from "../sessions/Bindings.ts"
import * as Callers from "../sessions/Callers.ts"
import * as Asking from "./Asking.ts"
import * as Failures from "./Failures.ts"
import * as Hearing from "./Hearing.ts"
import * as Inputs from "./Inputs.ts"
import * as Parking from "./Parking.ts"
import * as RequestState from "./RequestState.ts"
import * as RoutedRequest from "./RoutedRequest.ts"
import type { Call, Round } from "./RoutedRequest.ts"
import * as Translation from "./Translation.ts"

export type { Client, Exchange } from "./Exchange.ts"
export type { Call } from "./RoutedRequest.ts"

/**
 * Settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface ForwardingOptions extends Parking.ParkingOptions {
  /** Seals what clients carry for the gateway. */
  readonly seals: Seal.Seals
  readonly serverInfo: Fields
  /** Whether results say how they were routed. */
  readonly showRouting: boolean
  /** Whole time of a call, and the most that progress may extend it to, ms. Those of the router where not given. */
  readonly timeout: number | undefined
  readonly maxTimeout: number | undefined
  /** How calls of one session stay together. Read for each call, so that whoever holds the options may change it. */
  readonly sessions: Bindings.SessionMode
  /** A log message of a server that belongs to no call, for every session whose level it passes. Plain. */
  readonly broadcast: (
    notification: JsonRpcNotification,
    passes: (wanted: LogLevel | undefined, caller: Caller) => boolean
  ) => void
}

/**
 * The way to the servers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Forwarding {
  /** Sends a request to a server that has the offer, in as many rounds as it takes. */
  readonly forward: (call: Call) => Effect.Effect<Reply>
  /** Makes the reply to a call of a server's complete result. Plain. */
  readonly ordinary: (call: Call, result: Fields, routing: Routing) => Reply
  readonly logging: Logging.Logging
  readonly figures: () => {
    readonly inFlight: number
    readonly calls: number
    readonly failedCalls: number
    readonly failovers: number
  }
  /** Ends the calls that wait for their clients. Plain. */
  readonly close: () => void
}

/** Rounds of one call that the gateway drives. */
const MaxRounds = 16
/** ms before a server is asked again that wanted nothing but time. */
const Breather = 100

/**
 * Makes it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: ForwardingOptions
): Effect.Effect<Forwarding, never, Scope.Scope | Router | Upstreams> =>
  Effect.gen(function*() {
    const router = yield* Router
    const upstreams = yield* Upstreams
    const logging = yield* Logging.make(upstreams)
    const figures = yield* RoutingFigures.make
    const tracing = yield* Spans.wanted

    yield* upstreams.events.pipe(
      Stream.runForEach((event) =>
        Effect.sync(() => {
          if (event._tag === "Connected") return logging.connected(event.upstream)
          if (event._tag === "Closed") return logging.closed(event.key)
          if (event._tag !== "Notified" || event.notification.method !== "notifications/message") return
          const { notification, upstream } = event
          const level = notification.params?.["level"]
          options.broadcast(
            notification,
            (wanted, caller) => logging.passes(upstream.key, level, wanted) && !logging.hearsItself(upstream, caller)
          )
        })
      ),
      Effect.forkScoped
    )

    const clock = yield* Clock.Clock
    const send = RoutedRequest.make({ router, upstreams, logging, tracing, settings: options })
    const asking = yield* Asking.make
    const parking = yield* Parking.make(options)
    const states = RequestState.make(options.seals, () => options.inputTimeout, () => clock.currentTimeMillisUnsafe())

    const metaOf = ({ exchange }: Call, result: Fields, routing: Routing): Record<string, unknown> | undefined => {
      let meta = Meta.withoutHop(Meta.of(result))
      if (options.showRouting) (meta ??= {})[Meta.Key.routing] = routing
      if (exchange.client.era === "stateless") (meta ??= {})[Meta.Key.serverInfo] = options.serverInfo
      return meta
    }

    const failed = (message: string): Effect.Effect<Reply> =>
      Effect.sync(() => {
        figures.failed++
        return failure(Code.internalError, message)
      })

    const subjectOf = ({ exchange, method, offer, params }: Call): RequestState.Subject => ({
      principal: exchange.client.principal,
      method,
      name: offer.publicName,
      service: offer.service,
      arguments: params["arguments"]
    })

    /** The result that asks a client of the stateless era. */
    const required = (
      call: Call,
      requests: Inputs.InputRequired["requests"],
      state: RequestState.State,
      more: Fields = {}
    ): Reply => ({
      result: {
        ...more,
        resultType: "input_required",
        ...(requests.length === 0 ? undefined : { inputRequests: Inputs.write(requests) }),
        requestState: states.seal(subjectOf(call), state),
        _meta: { [Meta.Key.serverInfo]: options.serverInfo, ...Meta.of(more) }
      }
    })

    /** The server wants to know something first. */
    const asked = (round: Round, result: Fields, routing: Routing): Effect.Effect<Reply> => {
      const { call, number } = round
      const { client, ask } = call.exchange
      const { instance, service, source } = routing
      const input = Inputs.read(result)
      if (typeof input === "string") return failed(`${service} wants to know more, but ${input}`)
      for (const [, request] of input.requests) {
        const reason = Inputs.unanswerable(client, request)
        if (reason !== undefined) return failed(`${service} wants to know more: ${reason}`)
      }
      if (client.era === "stateless") {
        const { inputRequests: _, ...more } = result
        const state: RequestState.State = { _tag: "Server", source, instance, own: input.state }
        return Effect.succeed(required(call, input.requests, state, { ...more, _meta: metaOf(call, result, routing) }))
      }
      if (ask === undefined) return failed(`${service} wants to know more, and this client can't be asked`)
      if (number >= MaxRounds) return failed(`${service} still wants to know more after ${MaxRounds} rounds`)
      const answers = input.requests.length === 0
        ? Effect.as(Effect.sleep(Breather * number), undefined)
        : Inputs.ask(ask, input.requests)
      return Effect.matchEffect(answers, {
        onFailure: (error) => {
          figures.failed++
          return Effect.succeed<Reply>({ error: { ...error, message: `${call.offer.publicName}: ${error.message}` } })
        },
        onSuccess: (inputResponses) =>
          proceed({
            ...round,
            number: number + 1,
            params: {
              ...call.params,
              ...(inputResponses === undefined ? undefined : { inputResponses }),
              ...(input.state === undefined ? undefined : { requestState: input.state })
            },
            after: Catalog.key(source, instance)
          })
      })
    }

    const ordinary = (call: Call, result: Fields, routing: Routing): Reply => ({
      result: Translation.result(call.exchange.client.era, call.method, result, metaOf(call, result, routing))
    })

    const answered = (round: Round, result: Fields, routing: Routing): Effect.Effect<Reply> => {
      const { call, number } = round
      const type = result["resultType"]
      if (type === "input_required" && Inputs.methods.has(call.method)) return asked(round, result, routing)
      if (call.answer !== undefined && (type === undefined || type === "complete" || type === "task")) {
        return Effect.succeed(call.answer(result, routing, (result) => ordinary(call, result, routing)))
      }
      if (type === undefined || type === "complete") {
        if (number === 1) call.onResult?.(result, routing)
        return Effect.succeed(ordinary(call, result, routing))
      }
      return failed(
        `${routing.service} answered with a result of type ${String(type)}, which this gateway does not relay`
      )
    }

    const unanswered = ({ call }: Round, error: RouteError<Failures.Failure>): Reply => {
      const { exchange: { client }, offer } = call
      const last = error._tag === "CallFailed" ? error.failure.error : undefined
      if (client.era === "stateless" && last?._tag === "Answered" && last.at !== undefined) {
        // Of the handshake era: the call is to come again once the user has been elsewhere.
        const requests = Inputs.elsewhere(last.error)
        if (requests?.every(([, request]) => Inputs.unanswerable(client, request) === undefined) === true) {
          return required(call, requests, { _tag: "Again", ...last.at })
        }
      }
      figures.notRouted(error)
      return {
        error: Failures.toClient(error, { name: offer.publicName, repeatable: offer.repeatable, era: client.era })
      }
    }

    const proceed = (round: Round): Effect.Effect<Reply> =>
      Effect.matchEffect(send(round), {
        onSuccess: ({ routing, value }) => {
          figures.routed(routing)
          return answered(round, value, routing)
        },
        onFailure: (error) => Effect.succeed(unanswered(round, error))
      })

    const begin = (round: Round): Effect.Effect<Reply> =>
      Effect.suspend(() => {
        figures.calls++
        figures.inFlight++
        return proceed(round)
      }).pipe(
        Effect.onExit(() => {
          figures.inFlight--
          return Effect.void
        })
      )

    const first = (
      call: Call,
      params: Fields = call.params,
      after: Catalog.InstanceKey | undefined = undefined
    ): Round => ({
      call,
      number: 1,
      params,
      hearing: Hearing.make(call.exchange, call.meta),
      after,
      onRequest: undefined
    })

    /** Begins a call of a client of the stateless era, which may be parked where its client can be asked. */
    const parkable = (call: Call, params: Fields, after: Catalog.InstanceKey | undefined): Effect.Effect<Reply> => {
      const round = first(call, params, after)
      return Callers.isAskable(call.exchange.client.capabilities)
        ? parking.begin(
          round.hearing,
          call.exchange,
          (requests, state) => required(call, requests, state),
          (onRequest) => begin({ ...round, onRequest })
        )
        : begin(round)
    }

    /** Goes on with what a client of the stateless era was asked for. */
    const resumed = (call: Call, text: unknown): Effect.Effect<Reply> => {
      const { exchange, meta, params } = call
      const state = states.open(text, subjectOf(call))
      if (typeof state === "string") return Effect.succeed(failure(Code.invalidParams, state))
      const { inputResponses } = params
      const rest = withoutRounds(params)
      switch (state._tag) {
        case "Parked":
          return parking.goOn(state, exchange, meta, inputResponses)
        case "Again":
          return parkable(call, rest, Catalog.key(state.source, state.instance))
        case "Server": {
          const own = state.own === undefined ? undefined : { requestState: state.own }
          const given = inputResponses === undefined ? undefined : { inputResponses }
          return parkable(call, { ...rest, ...given, ...own }, Catalog.key(state.source, state.instance))
        }
      }
    }

    const forward: Forwarding["forward"] = (call) => {
      const { exchange: { ask, client }, method, params } = call
      if (!Inputs.methods.has(method)) return begin(first(call))
      if (client.era === "stateless") {
        const state = params["requestState"]
        return state === undefined ? parkable(call, params, undefined) : resumed(call, state)
      }
      const own = withoutRounds(params)
      const round = first(own === params ? call : { ...call, params: own })
      return ask !== undefined && Callers.isAskable(client.capabilities)
        ? begin({ ...round, onRequest: asking(ask) })
        : begin(round)
    }

    return {
      forward,
      ordinary,
      logging,
      figures: () => ({
        inFlight: figures.inFlight,
        calls: figures.calls,
        failedCalls: figures.failed,
        failovers: figures.failovers
      }),
      close: parking.close
    }
  })
