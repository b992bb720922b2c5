/**
 * A client of a Consul agent: its HTTP API as blocking queries and requests.
 *
 * **Mental model**: a blocking query answers at once when there is something newer than the index it is given, else after
 * `wait`; the index of its answer is a hint and nothing more. Nothing is retried.
 *
 * @since 0.1.0
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type { TlsOptions } from "@portolan/core/Registry"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
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
 * A client of one agent. Paths are those after `/v1/`, with what they name encoded.
 *
 * @category models
 * @since 0.1.0
 */
export interface Consul {
  /**
   * Makes the query of a path: with index 0 it answers at once, else it waits for something newer. `absent` is what it
   * holds where Consul knows nothing of it.
   */
  readonly blocking: <A, I>(
    schema: Schema.Codec<A, I>,
    absent?: A
  ) => (
    path: string,
    index: number,
    parameters?: ReadonlyArray<[name: string, value: string]>
  ) => Effect.Effect<Indexed<A>, ConsulError>
  /** Sends any other request to a path; an answer of another status than these is a failure. Default 200. */
  readonly send: (
    method: "GET" | "PUT",
    path: string,
    body?: unknown,
    statuses?: ReadonlyArray<number>
  ) => Effect.Effect<{ readonly status: number; readonly text: string }, ConsulError>
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
  /** Whether any server may answer, also while there is no leader. */
  readonly stale?: boolean | undefined
  readonly tls?: TlsOptions | undefined
  /** How long a blocking query waits. */
  readonly wait: Duration.Duration
}

/** ms that an answer may take, on top of the wait of its query. A server holds a request for 7 s to find a leader. */
const slack = 8000

/** ms since a server heard its leader, after which its stale answers don't count any more. */
const longestStale = 60_000

/** Connections of a client, at most. An agent takes 200 from one address, unless it is told otherwise. */
const connections = 12

/**
 * Makes a client. Its connections are closed with the scope.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: ConsulOptions
): Effect.fn.Return<Consul, never, Scope.Scope> {
  const dispatcher = yield* NodeHttpClient.makeDispatcherOptions({
    connections,
    ...(options.tls === undefined ? {} : { connect: tlsOf(options.tls) })
  })
  const base = options.url.replace(/\/+$/, "")
  const stale = options.stale === true
  const wait = Math.ceil(Duration.toMillis(options.wait))

  // Undici itself: half of what a request costs through HttpClient, of which a change of the catalog takes hundreds.
  const send = (
    method: "GET" | "PUT",
    path: string,
    body?: unknown,
    statuses: ReadonlyArray<number> = [200],
    patience = slack
  ) =>
    Effect.tryPromise({
      try: async (signal) => {
        const url = new URL(`${base}/v1/${path}`)
        const { body: answer, headers, statusCode } = await dispatcher.request({
          origin: url.origin,
          path: url.pathname + url.search,
          method,
          headers: {
            ...(options.token === undefined ? {} : { "x-consul-token": options.token }),
            ...(body === undefined ? {} : { "content-type": "application/json" })
          },
          body: body === undefined ? null : JSON.stringify(body),
          signal
        })
        return { headers, status: statusCode, text: await answer.text() }
      },
      catch: (cause) => unreachable(base, cause)
    }).pipe(
      Effect.flatMap((answer) =>
        statuses.includes(answer.status) ? Effect.succeed(answer) : Effect.fail(refusal(answer))
      ),
      Effect.timeoutOrElse({
        duration: patience,
        orElse: () =>
          Effect.fail(
            new ConsulError({ reason: `Consul did not answer ${path.replace(/\?.*/, "")} within ${patience} ms` })
          )
      })
    )

  const blocking: Consul["blocking"] = (schema, absent) => {
    const read = Schema.decodeUnknownEffect(Schema.fromJsonString(schema))
    return Effect.fnUntraced(function*(path, index, parameters = []) {
      const query = new URLSearchParams([...parameters])
      if (options.datacenter !== undefined) query.set("dc", options.datacenter)
      if (index > 0) {
        query.set("index", String(index))
        query.set("wait", `${wait}ms`)
      }
      // A leader that replays its log after a restart would answer with states long gone.
      // https://developer.hashicorp.com/consul/api-docs/features/consistency
      if (stale) query.set("stale", "")
      else if (index === 0) query.set("consistent", "")

      const { headers, status, text } = yield* send(
        "GET",
        `${path}?${query}`,
        undefined,
        absent === undefined ? [200] : [200, 404],
        // Consul adds up to a sixteenth to the wait, so that its clients don't come back all at once.
        slack + (index > 0 ? Math.ceil(wait + wait / 16) : 0)
      )
      if (stale) {
        const silent = Number(headers["x-consul-lastcontact"] ?? 0)
        if (silent > longestStale) {
          return yield* new ConsulError({ reason: "this server of Consul has not heard its leader for over a minute" })
        }
      } else if (headers["x-consul-knownleader"] === "false") {
        return yield* new ConsulError({ reason: "Consul has no leader" })
      }
      const body = status === 404 && absent !== undefined ? absent : yield* Effect.mapError(
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

  return { blocking, send }
})

const tlsOf = ({ serverName, ...pem }: TlsOptions) =>
  Object.fromEntries(Object.entries({ ...pem, servername: serverName }).filter(([, value]) => value !== undefined))

const refusal = ({ status, text }: { readonly status: number; readonly text: string }): ConsulError => {
  const said = text.trim().split("\n")[0]?.slice(0, 200)
  return new ConsulError({
    reason: `Consul answered HTTP ${status}${said === undefined || said === "" ? "" : `: ${said}`}`,
    status
  })
}

const unreachable = (url: string, cause: unknown): ConsulError => {
  // A name with several addresses fails with the failures of all of them.
  const first = cause instanceof AggregateError ? cause.errors[0] : cause
  const what = first instanceof Error && first.message !== "" ? first.message : String(first)
  return new ConsulError({
    reason: `Consul at ${withoutSecrets(url)} can't be reached: ${what}`,
    cause
  })
}

/**
 * An address as a person may see it: without its user and password, which may hold anything, and its query.
 *
 * @category accessors
 * @since 0.2.0
 */
export const withoutSecrets = (url: string): string => url.replace(/^(\w+:\/\/)?.*@/, "$1").replace(/[?#].*$/, "")
