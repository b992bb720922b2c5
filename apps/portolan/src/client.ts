/**
 * What the commands ask of a running gateway: its REST API, and one tool call over MCP.
 */
import * as HeaderValue from "@portolan/mcp/HeaderValue"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Http from "node:http"
import * as Https from "node:https"
import { failed, type Failure, wrong } from "./Failure.ts"
import { version } from "./version.ts"

const unreachable = (url: string, error: NodeJS.ErrnoException): Failure =>
  ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN"].includes(error.code ?? "")
    ? failed(`no gateway answers at ${url}: start one with \`portolan up\`, or name another with --url`)
    : failed(`${url}: ${error.message || error.code}`)

interface Answer {
  readonly status: number
  readonly type: string
  readonly text: string
}

interface Question {
  readonly method: "GET" | "POST"
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

// Not `fetch`: it refuses ports that browsers do, and gives up on an answer that takes five minutes.
const ask = (base: string, path: string, question: Question = { method: "GET" }): Effect.Effect<Answer, Failure> =>
  Effect.callback((resume) => {
    const url = URL.parse(path, base)
    if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
      return resume(Effect.fail(wrong(`--url: expected an http(s) URL, got ${base}`)))
    }
    const send = url.protocol === "https:" ? Https.request : Http.request
    const request = send(url, { method: question.method, headers: { ...question.headers } }, (response) => {
      const chunks: Array<Buffer> = []
      response.on("data", (chunk: Buffer) => chunks.push(chunk))
      response.on("error", (error) => resume(Effect.fail(unreachable(base, error))))
      response.on("end", () =>
        resume(Effect.succeed({
          status: response.statusCode ?? 0,
          type: response.headers["content-type"] ?? "",
          text: Buffer.concat(chunks).toString("utf8")
        })))
    })
    request.on("error", (error) => resume(Effect.fail(unreachable(base, error))))
    request.end(question.body)
    return Effect.sync(() => request.destroy())
  })

const json = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined

/** Reads a resource of the REST API. */
export const get = <S extends Schema.ConstraintDecoder<unknown>>(
  base: string,
  path: string,
  schema: S
): Effect.Effect<S["Type"], Failure> =>
  Effect.flatMap(ask(base, path), ({ status, text }) => {
    const body = json(text)
    if (status !== 200) {
      const detail = field(body, "detail") ?? field(body, "title")
      return Effect.fail(failed(typeof detail === "string" ? detail : `${base}${path}: HTTP ${status}`))
    }
    return Effect.mapError(
      Schema.decodeUnknownEffect(schema)(body),
      () => failed(`${base}${path}: this is not what a gateway of version ${version} answers`)
    )
  })

/** Reads all pages of a list. */
export const list = <S extends Schema.ConstraintDecoder<unknown>>(
  base: string,
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
      const answer = yield* get(base, `${path}${mark}limit=1000${next}`, page)
      for (const each of answer.items) items.push(each)
      cursor = answer.nextCursor
    } while (cursor !== undefined)
    return items
  })

/** The last message of an event stream that answers a request. */
const lastMessage = (stream: string): unknown =>
  stream.split(/\r?\n\r?\n/)
    .map((event) =>
      event.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart()).join(
        "\n"
      )
    )
    .map(json)
    .findLast((message) => field(message, "id") !== undefined)

/** Calls a tool with one stateless request. Answers the result as the gateway gave it. */
export const call = (base: string, name: string, args: unknown): Effect.Effect<Record<string, unknown>, Failure> =>
  Effect.flatMap(
    ask(base, "/mcp", {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": HeaderValue.encode(name)
      },
      body: JSON.stringify({
        jsonrpc: "2.0",
        id: 1,
        method: "tools/call",
        params: {
          name,
          arguments: args,
          _meta: {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { name: "portolan", version },
            "io.modelcontextprotocol/clientCapabilities": {}
          }
        }
      })
    }),
    ({ status, text, type }) => {
      const message = type.startsWith("text/event-stream") ? lastMessage(text) : json(text)
      const error = field(field(message, "error"), "message") ?? field(message, "detail")
      if (typeof error === "string") return Effect.fail(failed(error))
      const result = field(message, "result")
      return typeof result === "object" && result !== null
        ? Effect.succeed({ ...result })
        : Effect.fail(failed(`${base}/mcp: HTTP ${status} without a result`))
    }
  )
