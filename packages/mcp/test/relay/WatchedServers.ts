/**
 * Servers whose resources change, and clients that watch them: made with the official SDKs, of both eras.
 */
import {
  Client as Client2,
  type McpSubscription,
  StreamableHTTPClientTransport as Http2
} from "@modelcontextprotocol/client"
import { toNodeHandler } from "@modelcontextprotocol/node"
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js"
import { StreamableHTTPClientTransport as Http1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import { Server as Server1 } from "@modelcontextprotocol/sdk/server/index.js"
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import {
  CallToolRequestSchema,
  ElicitRequestSchema,
  ListResourcesRequestSchema,
  ListToolsRequestSchema,
  LoggingMessageNotificationSchema,
  ReadResourceRequestSchema,
  ResourceListChangedNotificationSchema,
  ResourceUpdatedNotificationSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema
} from "@modelcontextprotocol/sdk/types.js"
import { createMcpHandler, InMemoryServerEventBus, McpServer } from "@modelcontextprotocol/server"
import { randomUUID } from "node:crypto"
import type { RequestListener } from "node:http"
import { body, json } from "../upstream/Servers.ts"

/** A server with resources. */
export interface WatchedServer {
  readonly handler: RequestListener
  /** URIs that it is asked to tell of, one for each who asked. */
  readonly watched: () => ReadonlyArray<string>
  readonly updated: (uri: string) => void
  /** Says something to everybody, outside any call. */
  readonly log: (level: "debug" | "error", data: string) => void
  /** Offers one resource more, and says so. */
  readonly grow: (uri: string) => void
  /** Loses its sessions, as when it was started again. */
  readonly forget: () => void
  /** Sessions that it has. */
  readonly sessions: () => number
  /** Requests that it got, by method. */
  readonly counts: Map<string, number>
}

export interface ServerOptions {
  readonly subscribe?: boolean
  readonly refuses?: (uri: string) => boolean
  /** What its resources say, for as long as anybody likes to keep it. */
  readonly text?: string
  /** Leaves those who ask for it without an answer. */
  readonly hangs?: (uri: string) => boolean
}

const counter = () => {
  const counts = new Map<string, number>()
  return { counts, count: (what: string) => void counts.set(what, (counts.get(what) ?? 0) + 1) }
}

/** SDK 1.x with sessions. */
export const handshakeServer = (uris: ReadonlyArray<string>, options: ServerOptions = {}): WatchedServer => {
  const { count, counts } = counter()
  const listed = [...uris]
  const sessions = new Map<string, StreamableHTTPServerTransport>()
  const servers = new Map<Server1, Set<string>>()

  const make = () => {
    const server = new Server1({ name: "one", version: "1.0.0" }, {
      capabilities: { tools: {}, resources: { subscribe: options.subscribe ?? true, listChanged: true }, logging: {} }
    })
    const watched = new Set<string>()
    server.setRequestHandler(ListToolsRequestSchema, () => ({
      tools: [{ name: "ask", inputSchema: { type: "object" } }]
    }))
    server.setRequestHandler(CallToolRequestSchema, async () => {
      const asked = await server.elicitInput({ message: "?", requestedSchema: { type: "object", properties: {} } })
      return { content: [{ type: "text", text: asked.action }] }
    })
    server.setRequestHandler(ListResourcesRequestSchema, () => {
      count("resources/list")
      return { resources: listed.map((uri) => ({ uri, name: uri })) }
    })
    server.setRequestHandler(ReadResourceRequestSchema, ({ params: { uri } }) => {
      count("resources/read")
      return { contents: [{ uri, text: options.text ?? "read" }] }
    })
    server.setRequestHandler(SubscribeRequestSchema, ({ params: { uri } }) => {
      count("resources/subscribe")
      if (options.refuses?.(uri) === true) throw new Error("not this one")
      if (options.hangs?.(uri) === true) return new Promise(() => {})
      watched.add(uri)
      return {}
    })
    server.setRequestHandler(UnsubscribeRequestSchema, ({ params: { uri } }) => {
      count("resources/unsubscribe")
      watched.delete(uri)
      return {}
    })
    servers.set(server, watched)
    return server
  }
  const handler: RequestListener = (request, response) => {
    void (async () => {
      const id = request.headers["mcp-session-id"]
      if (typeof id === "string") {
        const known = sessions.get(id)
        return known === undefined
          ? json(response, 404, { jsonrpc: "2.0", id: null, error: { code: -32001, message: "Session not found" } })
          : known.handleRequest(request, response)
      }
      const parsed: unknown = JSON.parse(await body(request))
      const server = make()
      const transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized: (id) => {
          sessions.set(id, transport)
        },
        onsessionclosed: (id) => {
          servers.delete(server)
          sessions.delete(id)
        }
      })
      await server.connect(transport as Transport)
      await transport.handleRequest(request, response, parsed)
    })().catch(() => response.destroy())
  }
  return {
    handler,
    counts,
    sessions: () => sessions.size,
    watched: () => [...servers.values()].flatMap((watched) => [...watched]),
    updated: (uri) => {
      for (const [server, watched] of servers) {
        if (watched.has(uri)) void server.sendResourceUpdated({ uri }).catch(() => {})
      }
    },
    log: (level, data) => {
      for (const server of servers.keys()) {
        void server.sendLoggingMessage({ level, data }, server.transport?.sessionId).catch(() => {})
      }
    },
    grow: (uri) => {
      listed.push(uri)
      for (const server of servers.keys()) void server.sendResourceListChanged().catch(() => {})
    },
    forget: () => {
      sessions.clear()
      for (const server of servers.keys()) void server.close()
      servers.clear()
    }
  }
}

/** SDK 2.x, the stateless era alone. */
export const statelessServer = (uris: ReadonlyArray<string>, options: ServerOptions = {}): WatchedServer => {
  const { count, counts } = counter()
  const listed = [...uris]
  const open = new Map<object, ReadonlyArray<string>>()
  const bus = new InMemoryServerEventBus()
  const handler = createMcpHandler(() => {
    const server = new McpServer({ name: "two", version: "2.0.0" }, {
      capabilities: { resources: { subscribe: options.subscribe ?? true, listChanged: true } }
    })
    const hints = options.text === undefined ? {} : { ttlMs: 3_600_000, cacheScope: "public" as const }
    const text = options.text ?? "read"
    for (const uri of listed) server.registerResource(uri, uri, {}, () => ({ contents: [{ uri, text }], ...hints }))
    return server
  }, { legacy: "reject", bus })
  const serve = toNodeHandler(handler)
  return {
    handler: (request, response) => {
      void (async () => {
        const text = await body(request)
        const parsed: {
          method?: string
          params?: { notifications?: { resourceSubscriptions?: ReadonlyArray<string> } }
        } = JSON.parse(text)
        count(String(parsed.method))
        if (parsed.method === "subscriptions/listen") {
          const token = {}
          open.set(token, parsed.params?.notifications?.resourceSubscriptions ?? [])
          response.on("close", () => open.delete(token))
        }
        await serve(Object.assign(request, { method: request.method ?? "", url: request.url ?? "" }), response, parsed)
      })().catch(() => response.destroy())
    },
    counts,
    sessions: () => 0,
    watched: () => [...open.values()].flat(),
    updated: (uri) => handler.notify.resourceUpdated(uri),
    // There is no way to, in its era.
    log: () => {},
    grow: (uri) => {
      listed.push(uri)
      handler.notify.resourcesChanged()
    },
    forget: () => {}
  }
}

/** A client that watches. */
export interface WatchingClient {
  readonly watch: (...uris: ReadonlyArray<string>) => Promise<ReadonlyArray<string>>
  readonly unwatch: (uri: string) => Promise<void>
  readonly resources: () => Promise<ReadonlyArray<string>>
  readonly read: (uri: string) => Promise<unknown>
  /** URIs of the notices. */
  readonly updates: Array<string>
  /** When the last notice came, ms. */
  readonly last: { at: number }
  readonly lists: { count: number }
  readonly logs: Array<unknown>
  readonly setLevel: (level: "debug" | "error") => Promise<unknown>
  readonly canWatch: () => boolean
  readonly call: (name: string) => Promise<unknown>
  readonly close: () => Promise<void>
}

const info = { name: "test", version: "1.0.0" }

/** SDK 1.x; `asks`: it can be asked. */
export const client1 = (asks: boolean) => async (url: string): Promise<WatchingClient> => {
  const client = new Client1(info, { capabilities: asks ? { elicitation: {} } : {} })
  const updates: Array<string> = []
  const lists = { count: 0 }
  const last = { at: 0 }
  if (asks) client.setRequestHandler(ElicitRequestSchema, () => ({ action: "accept", content: {} }))
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params: { uri } }) => {
    updates.push(uri)
    last.at = performance.now()
  })
  client.setNotificationHandler(ResourceListChangedNotificationSchema, () => {
    lists.count++
    last.at = performance.now()
  })
  const logs: Array<unknown> = []
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params: { data } }) => void logs.push(data))
  const transport = new Http1(new URL(url))
  await client.connect(transport as Transport)
  return {
    watch: async (...uris) => {
      await Promise.all(uris.map((uri) => client.subscribeResource({ uri })))
      return uris
    },
    unwatch: async (uri) => void await client.unsubscribeResource({ uri }),
    resources: async () => (await client.listResources()).resources.map(({ uri }) => uri),
    read: async (uri) => {
      const [content] = (await client.readResource({ uri })).contents
      return content !== undefined && "text" in content ? content.text : undefined
    },
    updates,
    last,
    lists,
    logs,
    setLevel: (level) => client.setLoggingLevel(level),
    canWatch: () => client.getServerCapabilities()?.resources?.subscribe === true,
    call: (name) => client.callTool({ name, arguments: {} }),
    close: async () => {
      await transport.terminateSession()
      await client.close()
    }
  }
}

/** SDK 2.x, of either era. */
export const client2 = (mode: "legacy" | "auto") => async (url: string): Promise<WatchingClient> => {
  const updates: Array<string> = []
  const lists = { count: 0 }
  const last = { at: 0 }
  const listed = () => {
    lists.count++
    last.at = performance.now()
  }
  const client = new Client2(info, {
    versionNegotiation: { mode },
    listChanged: { resources: { autoRefresh: false, debounceMs: 0, onChanged: listed } }
  })
  client.setNotificationHandler("notifications/resources/updated", ({ params: { uri } }) => {
    updates.push(uri)
    last.at = performance.now()
  })
  const logs: Array<unknown> = []
  client.setNotificationHandler("notifications/message", ({ params: { data } }) => void logs.push(data))
  const transport = new Http2(new URL(url))
  await client.connect(transport)
  const open: Array<{ readonly uris: ReadonlyArray<string>; readonly subscription: McpSubscription }> = []
  return {
    watch: async (...uris) => {
      if (mode === "legacy") {
        for (const uri of uris) await client.subscribeResource({ uri })
        return uris
      }
      const subscription = await client.listen({ resourceSubscriptions: [...uris] })
      open.push({ uris, subscription })
      return subscription.honoredFilter.resourceSubscriptions ?? []
    },
    unwatch: async (uri) => {
      if (mode === "legacy") return void await client.unsubscribeResource({ uri })
      for (const { subscription, uris } of open) if (uris.includes(uri)) await subscription.close()
    },
    resources: async () => (await client.listResources()).resources.map(({ uri }) => uri),
    read: async (uri) => {
      const [content] = (await client.readResource({ uri })).contents
      return content !== undefined && "text" in content ? content.text : undefined
    },
    updates,
    last,
    lists,
    logs,
    setLevel: async (level) => mode === "legacy" ? await client.setLoggingLevel(level) : undefined,
    canWatch: () => client.getServerCapabilities()?.resources?.subscribe === true,
    call: (name) => client.callTool({ name, arguments: {} }),
    close: async () => {
      if (mode === "legacy") await transport.terminateSession()
      await client.close()
    }
  }
}
