/**
 * The official clients, one like the other.
 */
import * as Modern from "@modelcontextprotocol/client"
import { Client as Classic } from "@modelcontextprotocol/sdk/client/index.js"
import { StreamableHTTPClientTransport as ClassicTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import { CallToolResultSchema, ToolListChangedNotificationSchema } from "@modelcontextprotocol/sdk/types.js"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface Tool {
  readonly name: string
  readonly inputSchema: object
}

export interface Reply {
  readonly isError?: boolean | undefined
  readonly content: ReadonlyArray<unknown>
}

/** What a client can do, whichever it is. */
export interface Peer {
  readonly name: string
  readonly tools: () => Promise<ReadonlyArray<Tool>>
  /** The tools page by page, as the gateway gives them. */
  readonly pages: () => Promise<ReadonlyArray<ReadonlyArray<Tool>>>
  readonly call: (name: string, args: Record<string, unknown>) => Promise<Reply>
  /** Calls a tool as a task, and waits for its result. None: the client knows no tasks. */
  readonly task?: ((name: string, args: Record<string, unknown>) => Promise<Reply>) | undefined
  /** When each notice of a changed tool list came, by `performance.now()`. */
  readonly notices: ReadonlyArray<number>
  readonly close: () => Promise<void>
}

const info = { name: "portolan-test", version: "1.0.0" }

interface Page {
  readonly tools: ReadonlyArray<Tool>
  readonly nextCursor?: string | undefined
}

const pages = async (read: (params: { readonly cursor?: string }) => Promise<Page>) => {
  const found: Array<ReadonlyArray<Tool>> = []
  let cursor: string | undefined
  do {
    const page = await read(cursor === undefined ? {} : { cursor })
    found.push(page.tools)
    cursor = page.nextCursor
  } while (cursor !== undefined)
  return found
}

const classic = (name: string) => async (url: URL): Promise<Peer> => {
  const client = new Classic(info)
  const notices: Array<number> = []
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => void notices.push(performance.now()))
  const transport = new ClassicTransport(url)
  await client.connect(transport)
  const read = () => pages((params) => client.listTools(params))
  return {
    name,
    notices,
    // It gives one page; the newer client follows them by itself.
    tools: async () => (await read()).flat(),
    pages: read,
    // Its type allows for the results of 2024 too.
    call: async (name, args) => CallToolResultSchema.parse(await client.callTool({ name, arguments: args })),
    task: async (name, args) => {
      const states = client.experimental.tasks.callToolStream({ name, arguments: args }, CallToolResultSchema)
      for await (const state of states) {
        if (state.type === "result") return state.result
        if (state.type === "error") throw state.error
      }
      throw new Error(`${name} ended without a result`)
    },
    close: async () => {
      await transport.terminateSession()
      await client.close()
    }
  }
}

const modern = (name: string, mode: "legacy" | "auto") => async (url: URL): Promise<Peer> => {
  const notices: Array<number> = []
  const client = new Modern.Client(info, {
    versionNegotiation: { mode },
    listChanged: {
      tools: { autoRefresh: false, debounceMs: 0, onChanged: () => void notices.push(performance.now()) }
    }
  })
  await client.connect(new Modern.StreamableHTTPClientTransport(url))
  return {
    name,
    notices,
    tools: async () => (await client.listTools()).tools,
    pages: () => pages((params) => client.request({ method: "tools/list", params })),
    call: (name, args) => client.callTool({ name, arguments: args }),
    close: () => client.close()
  }
}

const make = <Name extends string>(name: Name, open: (name: string) => (url: URL) => Promise<Peer>) =>
  [name, open(name)] as const

/** Handshake era twice, then stateless. */
export const peers = [
  make("@modelcontextprotocol/sdk 1.x", classic),
  make("@modelcontextprotocol/client 2.x, legacy", (name) => modern(name, "legacy")),
  make("@modelcontextprotocol/client 2.x, auto", (name) => modern(name, "auto"))
] as const

const connected = (open: (url: URL) => Promise<Peer>, url: string): Effect.Effect<Peer, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(() => open(new URL("/mcp", url))),
    // The gateway may be gone by then, which is what some tests are about.
    (peer) => Effect.promise(() => peer.close().catch(() => {}))
  )

/** A client of the stateless era, until the scope closes. */
export const stateless = (url: string) => connected(peers[2][1], url)

/** A client of the handshake era, until the scope closes. */
export const handshake = (url: string) => connected(peers[0][1], url)

/** All of them, until the scope closes. */
export const all = (url: string) => Effect.forEach(peers, ([, open]) => connected(open, url))

/** Text of the first block of a result. */
export const textOf = (reply: Reply): string => {
  const [first] = reply.content
  return typeof first === "object" && first !== null && "text" in first ? String(first.text) : ""
}
