/**
 * Servers made with the official SDKs, over both transports and of both eras, that answer with the trace context they were
 * called with; and the relay in front of them.
 */
import { toNodeHandler } from "@modelcontextprotocol/node"
import { McpServer as Server1 } from "@modelcontextprotocol/sdk/server/mcp.js"
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import { createMcpHandler, McpServer as Server2 } from "@modelcontextprotocol/server"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import { type Cause, Effect, Exit, Layer, Tracer } from "effect"
import type { RequestListener } from "node:http"
import { fileURLToPath } from "node:url"
import * as z from "zod"
import { ToolCatalog } from "../../src/catalog/ToolCatalog.ts"
import type { Era } from "../../src/Era.ts"
import { McpEndpoint } from "../../src/relay/McpEndpoint.ts"
import * as Clients from "../Clients.ts"
import { both, envelope, type Message, modern, send } from "../relay/Harness.ts"
import { body, json, listen } from "../upstream/Servers.ts"

const answer = (meta: unknown, headers: unknown) => ({
  content: [{ type: "text" as const, text: JSON.stringify({ meta: meta ?? {}, headers: headers ?? {} }) }]
})

/** SDK 1.x without sessions: a server for each request. */
const handshake: RequestListener = (request, response) => {
  void (async () => {
    if (request.method !== "POST") return json(response, 405, {})
    const server = new Server1({ name: "context", version: "1.0.0" })
    server.registerTool("context", {}, (extra) => answer(extra._meta, extra.requestInfo?.headers))
    server.registerTool("fail", {}, () => ({ content: [], isError: true }))
    const transport = new StreamableHTTPServerTransport({})
    await server.connect(transport as Transport)
    await transport.handleRequest(request, response, JSON.parse(await body(request)))
  })().catch((error: unknown) => json(response, 500, { error: String(error) }))
}

const stateless = (): RequestListener => {
  const serve = toNodeHandler(createMcpHandler(() => {
    const server = new Server2({ name: "context", version: "2.0.0" })
    server.registerTool(
      "context",
      { inputSchema: z.object({}) },
      (_, ctx) => answer(ctx.mcpReq._meta, Object.fromEntries(ctx.http?.req?.headers ?? []))
    )
    server.registerTool("fail", { inputSchema: z.object({}) }, () => ({ content: [], isError: true }))
    return server
  }, { legacy: "reject" }))
  return (request, response) =>
    void serve(Object.assign(request, { method: request.method ?? "", url: request.url ?? "" }), response)
}

const stdio = (era: Era) => ({
  transport: "stdio" as const,
  command: process.execPath,
  args: [fileURLToPath(new URL("./fixtures/context.mjs", import.meta.url)), era]
})

/** Names of the services: transport and era. */
export const services = ["http-handshake", "http-stateless", "stdio-handshake", "stdio-stateless"] as const

/** What a server was called with. */
export interface Seen {
  readonly meta: Readonly<Record<string, unknown>>
  readonly headers: Readonly<Record<string, string>>
}

/** A span that was made, as it ended. */
export interface Made extends Tracer.NativeSpan {}

/** A tracer that keeps its spans. */
export const tracer = () => {
  const spans: Array<Made> = []
  return {
    spans,
    layer: Layer.succeed(
      Tracer.Tracer,
      Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
    )
  }
}

/** How a span ended. */
export const causeOf = ({ status }: Made): Cause.Cause<unknown> | undefined =>
  status._tag === "Ended" && Exit.isFailure(status.exit) ? status.exit.cause : undefined

/** The relay in front of the servers, and calls to it that may carry anything. */
export const fleet = Effect.gen(function*() {
  const one = yield* listen(handshake)
  const two = yield* listen(stateless())
  const endpoints = [
    { transport: "streamable-http" as const, url: one.url },
    { transport: "streamable-http" as const, url: two.url },
    stdio("handshake"),
    stdio("stateless")
  ]
  const context = yield* Layer.build(
    Clients.Served.pipe(
      Layer.provideMerge(MemoryRegistry.layer({
        trust: "full",
        instances: services.map((service, index) =>
          ServiceInstance.make({ id: `${service}-1`, service, endpoint: endpoints[index]! })
        )
      })),
      Layer.provideMerge(Portolan.layer())
    )
  )
  return yield* Effect.gen(function*() {
    const url = yield* Clients.serve
    yield* (yield* ToolCatalog).settled

    let id = 0
    const post = (
      method: string,
      params: Record<string, unknown>,
      meta: Record<string, unknown>,
      headers: Record<string, string>
    ) => {
      const name = params["name"]
      return send(
        url,
        "POST",
        { ...modern(method, typeof name === "string" ? name : undefined), ...headers },
        JSON.stringify({ jsonrpc: "2.0", id: ++id, method, params: { ...params, _meta: envelope(meta) } })
      )
    }

    const begun = yield* send(
      url,
      "POST",
      both,
      JSON.stringify({
        jsonrpc: "2.0",
        id: "init",
        method: "initialize",
        params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "test", version: "1" } }
      })
    )
    const session = {
      ...both,
      "mcp-session-id": begun.headers["mcp-session-id"] ?? "",
      "mcp-protocol-version": "2025-11-25"
    }

    /** Calls a tool as a client of an era. */
    const call = (
      era: Era,
      name: string,
      { headers = {}, meta = {} }: { meta?: Record<string, unknown>; headers?: Record<string, string> } = {}
    ): Effect.Effect<Message> =>
      Effect.map(
        era === "stateless"
          ? post("tools/call", { name, arguments: {} }, meta, headers)
          : send(
            url,
            "POST",
            { ...session, ...headers },
            JSON.stringify({
              jsonrpc: "2.0",
              id: ++id,
              method: "tools/call",
              params: { name, arguments: {}, ...(Object.keys(meta).length === 0 ? {} : { _meta: meta }) }
            })
          ),
        ({ messages }) => messages.at(-1) ?? {}
      )

    /** What a server was called with. */
    const seen = (message: Message): Seen => {
      const content = message.result?.["content"]
      return JSON.parse(Array.isArray(content) ? content[0].text : "{}")
    }
    const { connect } = yield* McpEndpoint
    return { url, call, seen, post, connect }
  }).pipe(Effect.provideContext(context))
})
