/**
 * What the commands ask of a running gateway: its REST API and its events.
 */
import * as Effect from "effect/Effect"
import * as Sse from "effect/encoding/Sse"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Http from "node:http"
import * as Https from "node:https"
import { failed, type Failure, wrong } from "./Failure.ts"
import { version } from "./version.ts"

/** The gateway that is asked. */
export interface GatewayAddress {
  readonly url: string
  /** Sent with each request to the REST API; only writes need it. */
  readonly token: Redacted.Redacted | undefined
}

export interface Question {
  readonly method?: "GET" | "POST" | "PUT" | "DELETE"
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

const unreachable = (url: string, error: NodeJS.ErrnoException): Failure => {
  const code = error.code ?? ""
  if (["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN"].includes(code)) {
    return failed(`no gateway answers at ${url}: start one with \`portolan up\`, or name another in PORTOLAN_URL`)
  }
  const step = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY/.test(code) ? "; name who signed it in NODE_EXTRA_CA_CERTS" : ""
  return failed(`${url}: ${error.message || code}${step}`)
}

const asError = (cause: unknown): NodeJS.ErrnoException => cause instanceof Error ? cause : new Error(String(cause))

/**
 * Asks, and answers when the head of the answer is there; the connection closes with the scope.
 *
 * Not `fetch`: it refuses ports that browsers do, and gives up on an answer that takes five minutes.
 */
export const open = (
  gateway: GatewayAddress,
  path: string,
  question: Question = {}
): Effect.Effect<Http.IncomingMessage, Failure, Scope.Scope> =>
  Effect.gen(function*() {
    const url = URL.parse(path, gateway.url)
    if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
      return yield* wrong(`address of the gateway: expected an http(s) URL, got ${gateway.url}`)
    }
    const headers = {
      ...(gateway.token === undefined ? {} : { authorization: `Bearer ${Redacted.value(gateway.token)}` }),
      ...question.headers
    }
    const request = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const send = url.protocol === "https:" ? Https.request : Http.request
        return send(url, { method: question.method ?? "GET", headers })
      }),
      (request) => Effect.sync(() => request.destroy())
    )
    return yield* Effect.callback<Http.IncomingMessage, Failure>((resume) => {
      request.on("error", (error) => resume(Effect.fail(unreachable(gateway.url, error))))
      request.once("response", (response) => resume(Effect.succeed(response)))
      request.end(question.body)
    })
  })

/** The text of an answer, as it comes. */
export const textOf = (
  gateway: GatewayAddress,
  response: Http.IncomingMessage
): Stream.Stream<string, Failure> =>
  Stream.fromAsyncIterable<string, Failure>(
    response.setEncoding("utf8"),
    (cause) => unreachable(gateway.url, asError(cause))
  )

/** The events of an answer that is an event stream. */
export const eventsOf = (
  gateway: GatewayAddress,
  response: Http.IncomingMessage
): Stream.Stream<Sse.Event, Failure> =>
  Stream.suspend(() => {
    let found: Array<Sse.Event> = []
    const parser = Sse.makeParser((event) => {
      if (event._tag === "Event") found.push(event)
    })
    return Stream.mapEffect(textOf(gateway, response), (text) => {
      found = []
      const error = parser.feed(text)
      return error === undefined ? Effect.succeed(found) : Effect.fail(failed(`${gateway.url}: ${error.message}`))
    }).pipe(Stream.flattenIterable)
  })

export const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined

/** What the gateway says is wrong, in one line. */
export const refusal = (gateway: GatewayAddress, path: string, status: number, text: string): Failure => {
  const body = parseJson(text)
  const detail = field(body, "detail") ?? field(body, "title")
  const reason = status === 401
    ? gateway.token === undefined
      ? `${gateway.url} needs its token: give it with --token or PORTOLAN_TOKEN`
      : `${gateway.url} refuses the token of --token or PORTOLAN_TOKEN`
    : typeof detail === "string" && detail !== ""
    ? detail
    : `${gateway.url}${path}: HTTP ${status}`
  return failed(reason, status)
}

/** Longer than a gateway waits for the slowest registry or check. */
const patience = "60 seconds"

/**
 * Asks, and answers the body of an answer that is no refusal: parsed JSON, or `undefined` where there is none. Fails where
 * the gateway takes longer than a minute.
 */
export const send = (gateway: GatewayAddress, path: string, question?: Question): Effect.Effect<unknown, Failure> =>
  Effect.scoped(Effect.gen(function*() {
    const response = yield* open(gateway, path, question)
    const text = yield* Stream.mkString(textOf(gateway, response))
    const status = response.statusCode ?? 0
    return status >= 200 && status < 300 ? parseJson(text) : yield* refusal(gateway, path, status, text)
  })).pipe(Effect.timeoutOrElse({
    duration: patience,
    orElse: () => Effect.fail(failed(`${gateway.url} gave no answer within ${patience}`))
  }))

/** Sends JSON. */
export const write = (
  gateway: GatewayAddress,
  method: "POST" | "PUT" | "DELETE",
  path: string,
  body?: unknown
): Effect.Effect<unknown, Failure> =>
  send(gateway, path, {
    method,
    ...(body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
  })

/** Reads an answer, or says that it isn't one. */
export const decode = <S extends Schema.ConstraintDecoder<unknown>>(
  gateway: GatewayAddress,
  path: string,
  schema: S,
  body: unknown
): Effect.Effect<S["Type"], Failure> =>
  Effect.mapError(
    Schema.decodeUnknownEffect(schema)(body),
    () => failed(`${gateway.url}${path}: this is not what a gateway of version ${version} answers`)
  )

/** Reads a resource. */
export const get = <S extends Schema.ConstraintDecoder<unknown>>(
  gateway: GatewayAddress,
  path: string,
  schema: S
): Effect.Effect<S["Type"], Failure> =>
  Effect.flatMap(send(gateway, path), (body) => decode(gateway, path, schema, body))

/** Reads all pages of a list. */
export const list = <S extends Schema.ConstraintDecoder<unknown>>(
  gateway: GatewayAddress,
  path: string,
  item: S
): Effect.Effect<ReadonlyArray<S["Type"]>, Failure> =>
  Effect.gen(function*() {
    const page = Schema.Struct({ items: Schema.Array(item), nextCursor: Schema.optionalKey(Schema.String) })
    const items: Array<S["Type"]> = []
    let cursor: string | undefined
    do {
      const mark = path.includes("?") ? "&" : "?"
      const next = cursor === undefined ? "" : `&cursor=${encodeURIComponent(cursor)}`
      const answer = yield* get(gateway, `${path}${mark}limit=1000${next}`, page)
      for (const each of answer.items) items.push(each)
      cursor = answer.nextCursor
    } while (cursor !== undefined)
    return items
  })
