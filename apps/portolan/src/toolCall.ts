/**
 * One tool call over MCP.
 */
import * as HeaderValue from "@portolan/mcp/HeaderValue"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Client from "./client.ts"
import { failed, type Failure } from "./Failure.ts"
import { version } from "./version.ts"

const protocolVersion = "2026-07-28"

/** A progress notification of the tool. */
export interface Progress {
  readonly progress: number
  readonly total: number | undefined
  readonly message: string | undefined
}

const progressOf = (params: unknown): Progress => {
  const progress = Client.field(params, "progress")
  const total = Client.field(params, "total")
  const message = Client.field(params, "message")
  return {
    progress: typeof progress === "number" ? progress : 0,
    total: typeof total === "number" ? total : undefined,
    message: typeof message === "string" ? message : undefined
  }
}

/** Calls a tool with one stateless request. Answers the result as the gateway gave it. */
export const callTool = (
  gateway: Client.GatewayAddress,
  name: string,
  args: unknown,
  onProgress: (progress: Progress) => void
): Effect.Effect<Record<string, unknown>, Failure> =>
  Effect.scoped(Effect.gen(function*() {
    // The token is for writes of the REST API, and nothing that servers should see.
    const response = yield* Client.open({ ...gateway, token: undefined }, "/mcp", {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "mcp-protocol-version": protocolVersion,
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
            progressToken: 1,
            "io.modelcontextprotocol/protocolVersion": protocolVersion,
            "io.modelcontextprotocol/clientInfo": { name: "portolan", version },
            "io.modelcontextprotocol/clientCapabilities": {}
          }
        }
      })
    })
    const messages = response.headers["content-type"]?.startsWith("text/event-stream") === true
      ? Stream.map(Client.eventsOf(gateway, response), ({ data }) => Client.parseJson(data))
      : Stream.fromEffect(Effect.map(Stream.mkString(Client.textOf(gateway, response)), Client.parseJson))
    let answer: unknown
    yield* Stream.runForEach(messages, (message) =>
      Effect.sync(() => {
        if (Client.field(message, "method") === "notifications/progress") {
          onProgress(progressOf(Client.field(message, "params")))
        } else if (Client.field(message, "method") === undefined) answer = message
      }))
    const error = Client.field(Client.field(answer, "error"), "message") ?? Client.field(answer, "detail")
    if (typeof error === "string") return yield* failed(error)
    const result = Client.field(answer, "result")
    return typeof result === "object" && result !== null
      ? { ...result }
      : yield* failed(`${gateway.url}/mcp: HTTP ${response.statusCode} without a result`)
  }))
