/**
 * MCP servers of the stateless era, any number of them in this process, each at a path of its own: cheap enough for
 * thousands, and each behaves as the test says.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { setTimeout as sleep } from "node:timers/promises"

/**
 * `busy` answers checks with 429, which makes it degraded; `failing` answers checks, and no calls; `closed` turns everybody
 * away; `silent` answers nothing at all.
 */
export type Conduct = "well" | "busy" | "failing" | "closed" | "silent"

/** A call that runs. */
export interface Call {
  readonly instance: string
  readonly arguments: Readonly<Record<string, unknown>>
  readonly progress: (progress: number, total: number, message: string) => void
  /** The caller has gone. */
  readonly signal: AbortSignal
}

export interface Tool {
  readonly name: string
  readonly description?: string
  readonly inputSchema?: object
  readonly annotations?: object
  /** What `tools/call` is answered with; by default, text that names the instance. */
  readonly run?: (call: Call) => object | Promise<object>
}

export interface Offer {
  readonly version: string
  /** ms that a call takes. */
  readonly latency: number
  readonly tools: ReadonlyArray<Tool>
}

export interface Servers {
  readonly url: (service: string, instance: string) => string
  readonly conduct: (instance: string, conduct: Conduct) => void
}

export const text = (text: string) => ({ content: [{ type: "text", text }] })

interface State {
  readonly offers: ReadonlyMap<string, Offer>
  /** By the number in their address. */
  readonly served: Array<{ readonly service: string; readonly instance: string }>
  readonly conducts: Map<string, Conduct>
  /** Instances that were connected once. */
  readonly met: Set<string>
}

interface Message {
  readonly id?: number | string
  readonly method: string
  readonly params?: {
    readonly name?: string
    readonly arguments?: Readonly<Record<string, unknown>>
    readonly _meta?: { readonly progressToken?: string | number }
  }
}

const bodyOf = async (request: IncomingMessage): Promise<Message> => {
  let text = ""
  for await (const chunk of request.setEncoding("utf8")) text += String(chunk)
  return JSON.parse(text)
}

const anything = { type: "object" }

/** Serves what `offers` says of each service, until the scope closes. */
export const servers = (offers: ReadonlyMap<string, Offer>): Effect.Effect<Servers, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{ readonly port: number; readonly close: () => void; readonly state: State }>((resume) => {
        const state: State = { offers, served: [], conducts: new Map(), met: new Set() }
        const listener = createServer((request, response) => {
          void answer(state, request, response).catch(() => response.destroy())
        })
        listener.keepAliveTimeout = 120_000
        listener.listen(0, "127.0.0.1", () => {
          const address = listener.address()
          resume(Effect.succeed({
            port: typeof address === "object" && address !== null ? address.port : 0,
            state,
            close: () => {
              listener.close()
              listener.closeAllConnections()
            }
          }))
        })
      }),
      ({ close }) => Effect.sync(close)
    ),
    ({ port, state }) => ({
      // Numbers, as names may be longer than an address can be.
      url: (service, instance) => `http://127.0.0.1:${port}/${state.served.push({ service, instance }) - 1}/mcp`,
      conduct: (instance, conduct) => void state.conducts.set(instance, conduct)
    })
  )

const answer = async (
  { conducts, met, offers, served }: State,
  request: IncomingMessage,
  response: ServerResponse
) => {
  const { instance = "", service = "" } = served[Number(request.url?.split("/")[1])] ?? {}
  const offer = offers.get(service)
  const conduct = conducts.get(instance) ?? "well"
  if (offer === undefined) return void response.writeHead(404).end()
  if (conduct === "silent") return
  if (conduct === "closed") {
    return void response.writeHead(503, { "content-type": "text/plain" }).end("closed for repairs")
  }
  if (request.method !== "POST") return void response.writeHead(405).end()
  const message = await bodyOf(request)
  if (message.id === undefined) return void response.writeHead(202).end()
  const reply = (result: object) => {
    const body = JSON.stringify({ jsonrpc: "2.0", id: message.id, result: { resultType: "complete", ...result } })
    if (response.headersSent) return void response.end(`data: ${body}\n\n`)
    response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) })
    response.end(body)
  }
  switch (message.method) {
    case "server/discover":
      // The first one connects it.
      if (conduct === "busy" && met.has(instance)) return void response.writeHead(429).end("too many requests")
      met.add(instance)
      return reply({
        supportedVersions: ["2026-07-28"],
        capabilities: { tools: {} },
        serverInfo: { name: service, version: offer.version },
        ttlMs: 3_600_000,
        cacheScope: "public"
      })
    case "tools/list":
      return reply({
        tools: offer.tools.map(({ annotations, description, inputSchema = anything, name }) => ({
          name,
          description,
          inputSchema,
          annotations
        })),
        ttlMs: 3_600_000,
        cacheScope: "public"
      })
    case "tools/call":
      if (conduct === "failing") return void response.writeHead(500).end("out of memory")
      return await call(offer, instance, message, response, reply)
    default:
      return void response.writeHead(404, { "content-type": "application/json" }).end(JSON.stringify({
        jsonrpc: "2.0",
        id: message.id,
        error: { code: -32601, message: "Method not found" }
      }))
  }
}

const call = async (
  offer: Offer,
  instance: string,
  { params }: Message,
  response: ServerResponse,
  reply: (result: object) => void
) => {
  const tool = offer.tools.find(({ name }) => name === params?.name)
  if (tool === undefined) return reply({ ...text(`no tool ${params?.name}`), isError: true })
  const gone = new AbortController()
  response.once("close", () => gone.abort())
  await sleep(offer.latency * (0.7 + Math.random() * 0.6))
  if (tool.run === undefined) return reply(text(`answered by ${instance}`))
  const token = params?._meta?.progressToken
  reply(
    await tool.run({
      instance,
      arguments: params?.arguments ?? {},
      signal: gone.signal,
      progress: (progress, total, message) => {
        if (token === undefined) return
        if (!response.headersSent) response.writeHead(200, { "content-type": "text/event-stream" })
        const note = { progressToken: token, progress, total, message }
        response.write(
          `data: ${JSON.stringify({ jsonrpc: "2.0", method: "notifications/progress", params: note })}\n\n`
        )
      }
    })
  )
}
