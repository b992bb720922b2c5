/**
 * The servers of the matrix behind a gateway: of both eras, over HTTP and on standard input.
 */
import { toNodeHandler } from "@modelcontextprotocol/node"
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import { createMcpHandler } from "@modelcontextprotocol/server"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { randomUUID } from "node:crypto"
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http"
import { createServer as createSocketServer, type Server as NetServer, type Socket } from "node:net"
import { fileURLToPath } from "node:url"
import { gateway } from "../fleet.ts"
import { attach, type Control, local, type Watched } from "./control.ts"
import * as HandshakeServer from "./handshakeServer.ts"
import * as StatelessServer from "./statelessServer.ts"

/** A server as its tests see it. */
export interface Subject extends Watched {
  readonly name: string
  /** Stands before the names of its tools. */
  readonly service: string
  readonly era: "handshake" | "stateless"
}

const bodyOf = async (request: IncomingMessage): Promise<unknown> => {
  let text = ""
  for await (const chunk of request) text += String(chunk)
  return text === "" ? undefined : JSON.parse(text)
}

const sessions = (service: string, control: Control): RequestListener => {
  const transports = new Map<string, StreamableHTTPServerTransport>()
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const known = transports.get(String(request.headers["mcp-session-id"]))
    if (known !== undefined) return known.handleRequest(request, response)
    if (request.method !== "POST") return void response.writeHead(404).end()
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      onsessioninitialized: (id) => void transports.set(id, transport)
    })
    // The SDK's own class doesn't fit its own interface under `exactOptionalPropertyTypes`.
    await HandshakeServer.make(service, control).connect(transport as Transport)
    await transport.handleRequest(request, response, await bodyOf(request))
  }
  return (request, response) => void serve(request, response).catch(() => response.destroy())
}

const stateless = (service: string, control: Control): RequestListener => {
  const { follow, serve } = StatelessServer.make(service, control)
  const handler = createMcpHandler(serve, { legacy: "reject" })
  follow(handler.notify)
  const handle = toNodeHandler(handler)
  return (request, response) =>
    void handle(Object.assign(request, { method: request.method ?? "", url: request.url ?? "" }), response)
}

const listening = <A extends NetServer>(server: A, close: () => void): Effect.Effect<number, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
      })
    }),
    () =>
      Effect.sync(() => {
        server.close()
        close()
      })
  )

const served = (handler: RequestListener) => {
  const server = createServer(handler)
  return Effect.map(listening(server, () => server.closeAllConnections()), (port) => `http://127.0.0.1:${port}/mcp`)
}

/** Pages of the gateway's lists. */
export const pageSize = 3

/** Who they are. */
export const subjects = [
  { name: "SDK 1.x over HTTP", service: "old", era: "handshake" },
  { name: "SDK 1.x on standard input", service: "oldchild", era: "handshake" },
  { name: "SDK 2.x over HTTP", service: "fresh", era: "stateless" },
  { name: "SDK 2.x on standard input", service: "freshchild", era: "stateless" }
] as const

/** How the gateway starts one on standard input. */
const child = (era: Subject["era"], service: string, control: Control) => {
  const sockets = new Set<Socket>()
  const server = createSocketServer((socket) => {
    sockets.add(socket)
    attach(control, socket)
  })
  return Effect.map(listening(server, () => sockets.forEach((socket) => socket.destroy())), (port) => ({
    command: process.execPath,
    args: [fileURLToPath(new URL("child.ts", import.meta.url)), era, service, String(port)]
  }))
}

/** Runs the gateway in front of them until the scope closes. */
export const fleet = Effect.gen(function*() {
  const [old, oldchild, fresh, freshchild] = [local(), local(), local(), local()]
  const running = yield* gateway({
    gateway: { pageSize },
    mcpServers: {
      old: { type: "http", url: yield* served(sessions("old", old.control)) },
      oldchild: yield* child("handshake", "oldchild", oldchild.control),
      fresh: { type: "http", url: yield* served(stateless("fresh", fresh.control)) },
      freshchild: yield* child("stateless", "freshchild", freshchild.control)
    }
  })
  const watched: Readonly<Record<(typeof subjects)[number]["service"], Watched>> = {
    old: old.watched,
    oldchild: oldchild.watched,
    fresh: fresh.watched,
    freshchild: freshchild.watched
  }
  return { url: new URL("/mcp", running.url), watched }
})
