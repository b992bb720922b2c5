/**
 * A call of a tool as any client makes it: at `/mcp`, in the stateless era, over one `fetch` whose end is the cancellation.
 */
import { asProblem, Problem, problemOf } from "../../api/Problem.ts"
import { MessageReader } from "../../fleet/eventStream.ts"
import { isObject, propertiesOf, type Schema, schemaOf } from "./schema.ts"

const protocolVersion = "2026-07-28"

export interface Progress {
  readonly progress: number
  readonly total: number | undefined
  readonly message: string | undefined
}

export interface Said {
  readonly level: string
  readonly text: string
}

/** What comes before the answer. */
interface Heard {
  readonly progress: (progress: Progress) => void
  readonly said: (said: Said) => void
}

/** Answers to what the server asked, and its state, which it wants back. */
export interface Answers {
  readonly responses: Schema
  readonly state: string | undefined
}

export interface Call {
  readonly tool: string
  readonly inputSchema: unknown
  readonly arguments: unknown
  readonly answers?: Answers | undefined
}

export type Ending =
  | { readonly kind: "result"; readonly result: Schema }
  /** The gateway or the server answers that it can't. */
  | { readonly kind: "error"; readonly code: number; readonly message: string; readonly data: unknown }
  /** Whatever answered, it doesn't speak of the call. */
  | { readonly kind: "refused"; readonly problem: Problem }
  | { readonly kind: "cancelled" }

/** What was sent and what came back, as it went over the wire. */
interface Exchange {
  readonly headers: Readonly<Record<string, string>>
  readonly request: string
  readonly status: number | undefined
  readonly response: string
}

export interface Ended {
  readonly ending: Ending
  /** ms until all of the answer was there. */
  readonly took: number
  readonly exchange: Exchange
}

/** Text as a header can hold it. */
export const headerValue = (text: string): string =>
  /^[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?$/.test(text) && !/^=\?base64\?.*\?=$/.test(text)
    ? text
    : `=?base64?${btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(""))}?=`

/** How deep a schema is searched for arguments that headers repeat. */
const deepest = 16

/** The arguments that a tool wants repeated in headers: `x-mcp-header` in its schema. */
export const repeated = (inputSchema: unknown, given: unknown): Record<string, string> => {
  const headers: Record<string, string> = {}
  const visit = (schema: Schema, value: unknown, depth: number): void => {
    if (!isObject(value) || depth > deepest) return
    for (const [name, property] of propertiesOf(schema)) {
      const inner = Object.hasOwn(value, name) ? value[name] : undefined
      const header: unknown = property["x-mcp-header"]
      if (typeof header === "string" && ["string", "number", "boolean"].includes(typeof inner)) {
        headers[`mcp-param-${header.toLowerCase()}`] = headerValue(String(inner))
      }
      visit(property, inner, depth + 1)
    }
  }
  visit(schemaOf(inputSchema), given, 0)
  return headers
}

/** All of one request: each is answered by itself, so that no two need different ids. */
const id = 1
const progressToken = "call"

const requestOf = (call: Call): Pick<Exchange, "headers" | "request"> => ({
  headers: {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": protocolVersion,
    "mcp-method": "tools/call",
    "mcp-name": headerValue(call.tool),
    ...repeated(call.inputSchema, call.arguments)
  },
  request: JSON.stringify({
    jsonrpc: "2.0",
    id,
    method: "tools/call",
    params: {
      name: call.tool,
      arguments: call.arguments ?? {},
      ...call.answers === undefined ? {} : {
        inputResponses: call.answers.responses,
        ...call.answers.state === undefined ? {} : { requestState: call.answers.state }
      },
      _meta: {
        "io.modelcontextprotocol/protocolVersion": protocolVersion,
        "io.modelcontextprotocol/clientInfo": {
          name: "portolan-dashboard",
          title: "Portolan's dashboard",
          version: "1"
        },
        "io.modelcontextprotocol/clientCapabilities": { elicitation: { form: {}, url: {} } },
        "io.modelcontextprotocol/logLevel": "info",
        progressToken
      }
    }
  })
})

const object = (text: string): Schema => {
  const value: unknown = JSON.parse(text)
  return isObject(value) ? value : {}
}

/** The answer in a message; none: it is something else. */
const endingOf = (message: Schema): Ending | undefined => {
  const { error, result } = message
  if (isObject(result)) return { kind: "result", result }
  if (!isObject(error)) return undefined
  return {
    kind: "error",
    code: typeof error["code"] === "number" ? error["code"] : 0,
    message: typeof error["message"] === "string" ? error["message"] : "It doesn't say why",
    data: error["data"]
  }
}

const hear = ({ method, params }: Schema, heard: Heard): void => {
  if (!isObject(params)) return
  if (method === "notifications/progress" && params["progressToken"] === progressToken) {
    const { message, progress, total } = params
    heard.progress({
      progress: typeof progress === "number" ? progress : 0,
      total: typeof total === "number" ? total : undefined,
      message: typeof message === "string" ? message : undefined
    })
  } else if (method === "notifications/message") {
    const { data, level } = params
    heard.said({
      level: typeof level === "string" ? level : "",
      text: typeof data === "string" ? data : JSON.stringify(data) ?? ""
    })
  }
}

const brokenOff = new Problem({
  status: 0,
  title: "No answer",
  detail: "the connection ended before it came; the call may have run"
})

const wholeOf = (text: string): Ending | undefined => {
  try {
    return endingOf(object(text))
  } catch {
    return undefined
  }
}

const refusalOf = async ({ ok, status, statusText }: Response, text: string): Promise<Problem> =>
  ok
    ? new Problem({ status, title: "No answer", detail: "what came isn't an answer of the gateway's" })
    : problemOf(new Response(text === "" ? null : text, { status, statusText }))

/** Reads until the answer is there. */
const answerOf = async (response: Response, heard: Heard): Promise<{ ending: Ending; text: string }> => {
  if (response.headers.get("content-type")?.startsWith("text/event-stream") !== true || response.body === null) {
    const text = await response.text()
    return { ending: wholeOf(text) ?? { kind: "refused", problem: await refusalOf(response, text) }, text }
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  const messages = new MessageReader()
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    for (const { data } of messages.read(piece.value)) {
      const message = object(data)
      const ending = endingOf(message)
      if (ending !== undefined) {
        // Who answered may keep the stream open, and a browser has few connections.
        void reader.cancel().catch(() => {})
        return { ending, text: data }
      }
      hear(message, heard)
    }
  }
  throw brokenOff
}

/** Ends when the answer is there or the signal aborts; never fails. */
export const call = async (endpoint: URL, given: Call, heard: Heard, signal: AbortSignal): Promise<Ended> => {
  const { headers, request } = requestOf(given)
  const began = performance.now()
  const end = (ending: Ending, status?: number, response = ""): Ended => ({
    ending,
    took: performance.now() - began,
    exchange: { headers, request, status, response }
  })
  let status: number | undefined
  try {
    const response = await fetch(endpoint, { method: "POST", headers, body: request, signal })
    status = response.status
    const { ending, text } = await answerOf(response, heard)
    return end(ending, status, text)
  } catch (cause) {
    return end(signal.aborted ? { kind: "cancelled" } : { kind: "refused", problem: asProblem(cause) }, status)
  }
}
