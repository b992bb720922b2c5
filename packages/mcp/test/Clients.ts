/**
 * The official clients behind one small face, and an endpoint over whatever is announced.
 */
import { Client as Client2, StreamableHTTPClientTransport as Http2 } from "@modelcontextprotocol/client"
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js"
import { StreamableHTTPClientTransport as Http1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import { LoggingMessageNotificationSchema, ToolListChangedNotificationSchema } from "@modelcontextprotocol/sdk/types.js"
import { Effect, Layer, type Scope } from "effect"
import * as ToolCatalog from "../src/catalog/ToolCatalog.ts"
import * as McpEndpoint from "../src/relay/McpEndpoint.ts"
import * as Upstreams from "../src/upstream/Upstreams.ts"
import { listen } from "./upstream/Servers.ts"

export interface Tool {
  readonly name: string
  readonly description?: string | undefined
  readonly inputSchema: object
}

export interface Client {
  readonly tools: () => Promise<ReadonlyArray<Tool>>
  readonly call: (
    name: string,
    args?: Record<string, unknown>,
    options?: {
      readonly onProgress?: (value: number) => void
      readonly signal?: AbortSignal
      readonly meta?: Record<string, unknown>
    }
  ) => Promise<Readonly<Record<string, unknown>>>
  readonly setLevel: (level: "debug" | "error") => Promise<unknown>
  readonly prompt: (name: string, args: Record<string, string>) => Promise<object>
  readonly read: (uri: string) => Promise<object>
  readonly resources: () => Promise<ReadonlyArray<string>>
  readonly templates: () => Promise<ReadonlyArray<string>>
  readonly prompts: () => Promise<ReadonlyArray<string>>
  readonly logs: ReadonlyArray<unknown>
  /** Notices of changed tools: when they came, ms. */
  readonly notices: ReadonlyArray<number>
  readonly close: () => Promise<void>
}

const info = { name: "test", version: "1.0.0" }

const sdk1 = async (url: string): Promise<Client> => {
  const client = new Client1(info)
  const logs: Array<unknown> = []
  const notices: Array<number> = []
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void logs.push(params.data))
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => void notices.push(performance.now()))
  const transport = new Http1(new URL(url))
  // The SDK's own class doesn't fit its own interface under `exactOptionalPropertyTypes`.
  await client.connect(transport as Transport)
  return {
    tools: async () => (await client.listTools()).tools,
    call: (name, args = {}, { meta, onProgress, signal } = {}) =>
      client.callTool({ name, arguments: args, ...(meta === undefined ? {} : { _meta: meta }) }, undefined, {
        ...(onProgress === undefined ? {} : { onprogress: ({ progress }) => onProgress(progress) }),
        ...(signal === undefined ? {} : { signal })
      }),
    setLevel: (level) => client.setLoggingLevel(level),
    prompt: (name, args) => client.getPrompt({ name, arguments: args }),
    read: (uri) => client.readResource({ uri }),
    resources: async () => (await client.listResources()).resources.map(({ uri }) => uri),
    templates: async () =>
      (await client.listResourceTemplates()).resourceTemplates.map(({ uriTemplate }) => uriTemplate),
    prompts: async () => (await client.listPrompts()).prompts.map(({ name }) => name),
    logs,
    notices,
    close: async () => {
      await transport.terminateSession()
      await client.close()
    }
  }
}

const sdk2 = async (url: string): Promise<Client> => {
  const logs: Array<unknown> = []
  const notices: Array<number> = []
  const client = new Client2(info, {
    versionNegotiation: { mode: "auto" },
    listChanged: { tools: { autoRefresh: false, debounceMs: 0, onChanged: () => void notices.push(performance.now()) } }
  })
  client.setNotificationHandler("notifications/message", ({ params }) => void logs.push(params.data))
  await client.connect(new Http2(new URL(url)))
  // In the stateless era the level goes with each request.
  let level: Record<string, unknown> = {}
  return {
    tools: async () => (await client.listTools()).tools,
    call: (name, args = {}, { meta, onProgress, signal } = {}) =>
      client.callTool({ name, arguments: args, _meta: { ...level, ...meta } }, {
        ...(onProgress === undefined ? {} : { onprogress: ({ progress }) => onProgress(progress) }),
        ...(signal === undefined ? {} : { signal })
      }),
    setLevel: async (wanted) => {
      level = { "io.modelcontextprotocol/logLevel": wanted }
    },
    prompt: (name, args) => client.getPrompt({ name, arguments: args }),
    read: (uri) => client.readResource({ uri }),
    resources: async () => (await client.listResources()).resources.map(({ uri }) => uri),
    templates: async () =>
      (await client.listResourceTemplates()).resourceTemplates.map(({ uriTemplate }) => uriTemplate),
    prompts: async () => (await client.listPrompts()).prompts.map(({ name }) => name),
    logs,
    notices,
    close: () => client.close()
  }
}

/** The clients, by what they are called in reports. */
export const clients = [["sdk 1.x", sdk1], ["sdk 2.x", sdk2]] as const

export type Connect = typeof sdk1

/** A client until the scope closes. */
export const connected = (connect: Connect, url: string): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.acquireRelease(Effect.promise(() => connect(url)), (client) => Effect.promise(() => client.close()))

/** What serves `/mcp` over the servers that are announced. */
export const Served = McpEndpoint.layer().pipe(
  Layer.provideMerge(ToolCatalog.layer()),
  Layer.provideMerge(Upstreams.layer())
)

/** Listens with the endpoint there is; answers its address. */
export const serve = Effect.gen(function*() {
  const endpoint = yield* McpEndpoint.McpEndpoint
  return (yield* listen(endpoint.handle)).url
})
