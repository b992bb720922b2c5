/**
 * The part of Consul's HTTP API that a registry needs.
 *
 * **Mental model**: one function a call. A blocking query answers at once when there is something newer than the index it
 * is given, else after `wait`; the index of its answer is a hint and nothing more. Nothing is retried.
 *
 * @since 0.1.0
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"

/**
 * Error raised when Consul can't be reached or refuses: one line for a person.
 *
 * @category errors
 * @since 0.1.0
 */
export class ConsulError extends Data.TaggedError("ConsulError")<{
  readonly reason: string
  /** The HTTP status, where there was an answer. */
  readonly status?: number | undefined
  readonly cause?: unknown
}> {
  override get message(): string {
    return this.reason
  }
  get unauthorized(): boolean {
    return this.status === 401 || this.status === 403
  }
}

// Consul writes lists and maps that are empty as null.
const Texts = Schema.NullOr(Schema.Array(Schema.String))
const Meta = Schema.NullOr(Schema.Record(Schema.String, Schema.String))

const Services = Schema.Record(Schema.String, Texts)

/**
 * Schema of one row of a health query: a service of a node, with the checks of both.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ServiceEntry = Schema.Struct({
  Node: Schema.Struct({ Node: Schema.String, Address: Schema.String }),
  Service: Schema.Struct({
    ID: Schema.String,
    Service: Schema.String,
    Tags: Schema.optionalKey(Texts),
    Address: Schema.String,
    Port: Schema.Int,
    Meta: Schema.optionalKey(Meta),
    CreateIndex: Schema.optionalKey(Schema.Int)
  }),
  Checks: Schema.Array(Schema.Struct({ CheckID: Schema.String, Status: Schema.String }))
})
export type ServiceEntry = typeof ServiceEntry.Type

const Entries = Schema.NullOr(Schema.Array(ServiceEntry))
const AgentService = Schema.Struct({ Meta: Schema.optionalKey(Meta) })

/**
 * What is written to the agent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Registration {
  readonly ID: string
  readonly Name: string
  readonly Tags: ReadonlyArray<string>
  readonly Address: string
  readonly Port: number
  readonly Meta: Readonly<Record<string, string>>
}

/**
 * A check that is critical unless it is passed within each TTL (seconds).
 *
 * @category models
 * @since 0.1.0
 */
export interface TtlCheck {
  readonly id: string
  readonly seconds: number
}

/**
 * An answer and its index.
 *
 * @category models
 * @since 0.1.0
 */
export interface Indexed<A> {
  readonly index: number
  readonly body: A
}

/**
 * A client of one agent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Consul {
  /** The names of all services, each with the tags that any of its instances has. */
  readonly services: (index: number) => Effect.Effect<Indexed<typeof Services.Type>, ConsulError>
  /** The instances of a service that have all of the tags, whatever their checks say. */
  readonly health: (
    service: string,
    tags: ReadonlyArray<string>,
    index: number
  ) => Effect.Effect<Indexed<ReadonlyArray<ServiceEntry>>, ConsulError>
  /** Writes the service with its check, which passes at first; checks it had before are gone. */
  readonly register: (registration: Registration, check: TtlCheck) => Effect.Effect<void, ConsulError>
  readonly deregister: (id: string) => Effect.Effect<void, ConsulError>
  /** Passes a check; false when the agent doesn't know it. */
  readonly pass: (check: string) => Effect.Effect<boolean, ConsulError>
  /** The meta values of a service of this agent; `undefined` when there is none of this id. */
  readonly metaOf: (id: string) => Effect.Effect<Readonly<Record<string, string>> | undefined, ConsulError>
}

/**
 * Settings of the client.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConsulOptions {
  readonly url: string
  readonly token?: string | undefined
  readonly datacenter?: string | undefined
  /** How long a blocking query waits. */
  readonly wait: Duration.Duration
}

/** What an answer may take on top of the wait of its query. */
const slack = 2000

/**
 * Makes a client. Its connections are closed with the scope.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: ConsulOptions
): Effect.fn.Return<Consul, never, Scope.Scope> {
  const dispatcher = yield* NodeHttpClient.makeDispatcher
  const client = HttpClient.transformResponse(
    yield* Effect.provideService(NodeHttpClient.makeUndici, NodeHttpClient.Dispatcher, dispatcher),
    // A span would carry the headers, and with them the token.
    Effect.withTracerEnabled(false)
  )
  const base = options.url.replace(/\/+$/, "")
  const wait = Math.ceil(Duration.toMillis(options.wait))
  // Consul adds up to a sixteenth, so that its clients don't come back all at once.
  const patience = wait + wait / 16 + slack

  const send = Effect.fnUntraced(function*(request: HttpClientRequest.HttpClientRequest) {
    const response = yield* (options.token === undefined
      ? request
      : HttpClientRequest.setHeader(request, "x-consul-token", options.token)).pipe(
        client.execute,
        Effect.mapError((error) => unreachable(base, error))
      )
    const text = yield* Effect.mapError(
      response.text,
      (cause) => new ConsulError({ reason: "Consul closed the connection within its answer", cause })
    )
    if (response.status === 200) return { headers: response.headers, text }
    const said = text.trim().split("\n")[0]?.slice(0, 200)
    return yield* new ConsulError({
      reason: `Consul answered HTTP ${response.status}${said === undefined || said === "" ? "" : `: ${said}`}`,
      status: response.status
    })
  }, (effect, request) =>
    Effect.timeoutOrElse(effect, {
      duration: patience,
      orElse: () =>
        Effect.fail(new ConsulError({ reason: `Consul did not answer ${request.url} within ${patience} ms` }))
    }))

  const blocking = <A, I>(schema: Schema.Codec<A, I>) => {
    const read = Schema.decodeUnknownEffect(Schema.fromJsonString(schema))
    return Effect.fnUntraced(function*(path: string, index: number, tags: ReadonlyArray<string> = []) {
      const query = new URLSearchParams(tags.map((tag): [string, string] => ["tag", tag]))
      if (options.datacenter !== undefined) query.set("dc", options.datacenter)
      if (index > 0) {
        query.set("index", String(index))
        query.set("wait", `${wait}ms`)
      } else {
        // A leader that replays its log after a restart would answer with states long gone.
        // https://developer.hashicorp.com/consul/api-docs/features/consistency
        query.set("consistent", "")
      }
      const { headers, text } = yield* send(HttpClientRequest.get(`${base}/v1/${path}?${query}`))
      if (headers["x-consul-knownleader"] === "false") return yield* new ConsulError({ reason: "Consul has no leader" })
      const body = yield* Effect.mapError(
        read(text),
        () => new ConsulError({ reason: `Consul's answer to ${path} can't be read` })
      )
      const answered = Number(headers["x-consul-index"])
      if (!Number.isSafeInteger(answered)) {
        return yield* new ConsulError({ reason: `the answer to ${path} has no index; is this Consul?` })
      }
      return { index: answered, body }
    })
  }
  const services = blocking(Services)
  const entries = blocking(Entries)
  const readService = Schema.decodeUnknownEffect(Schema.fromJsonString(AgentService))

  const agent = (path: string) => HttpClientRequest.put(`${base}/v1/agent/${path}`)
  const unknown = (error: ConsulError) =>
    error.status === 404 ||
    (error.status === 500 && /unknown (check|service)|does not have associated TTL/i.test(error.reason))

  return {
    services: (index) => services("catalog/services", index),
    health: (service, tags, index) =>
      Effect.map(
        entries(`health/service/${encodeURIComponent(service)}`, index, tags),
        ({ body, index }) => ({ index, body: body ?? [] })
      ),
    register: (registration, check) =>
      agent("service/register?replace-existing-checks=true").pipe(
        HttpClientRequest.bodyJsonUnsafe({
          ...registration,
          Check: {
            CheckID: check.id,
            Name: "Announced by Portolan",
            TTL: `${check.seconds}s`,
            Status: "passing",
            // Consul's own minimum; until then the service is there and critical.
            DeregisterCriticalServiceAfter: "1m"
          }
        }),
        send,
        Effect.asVoid
      ),
    deregister: (id) =>
      Effect.catchIf(
        Effect.asVoid(send(agent(`service/deregister/${encodeURIComponent(id)}`))),
        unknown,
        () => Effect.void
      ),
    pass: (check) =>
      Effect.catchIf(
        Effect.as(send(agent(`check/pass/${encodeURIComponent(check)}`)), true),
        unknown,
        () => Effect.succeed(false)
      ),
    metaOf: (id) =>
      send(HttpClientRequest.get(`${base}/v1/agent/service/${encodeURIComponent(id)}`)).pipe(
        Effect.flatMap(({ text }) =>
          Effect.mapBoth(readService(text), {
            onFailure: () => new ConsulError({ reason: "Consul's answer to agent/service can't be read" }),
            onSuccess: ({ Meta }) => Meta ?? {}
          })
        ),
        Effect.catchIf(unknown, () => Effect.succeed(undefined))
      )
  }
})

const unreachable = (url: string, error: HttpClientError.HttpClientError): ConsulError => {
  const cause = "cause" in error.reason ? error.reason.cause : undefined
  // A name with several addresses fails with the failures of all of them.
  const first = cause instanceof AggregateError ? cause.errors[0] : cause
  const what = first instanceof Error && first.message !== "" ? first.message : error.message
  return new ConsulError({
    reason: `Consul at ${url.replace(/\/\/[^@/]*@/, "//").replace(/[?#].*$/, "")} can't be reached: ${what}`,
    cause: error
  })
}
