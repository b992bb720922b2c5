/**
 * The clients of the matrix, one like the other.
 */
import {
  Client as Client2,
  type McpSubscription,
  StreamableHTTPClientTransport as Http2
} from "@modelcontextprotocol/client"
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js"
import { StreamableHTTPClientTransport as Http1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema
} from "@modelcontextprotocol/sdk/types.js"
import { z } from "zod"
import { extension } from "./statelessServer.ts"

/** A result, whichever. */
export type Fields = Record<string, unknown>

/** What reached a client that nobody waited for. */
export interface Notice {
  readonly method: string
  readonly params?: Fields | undefined
}

export interface CallOptions {
  readonly onprogress?: (value: { readonly progress: number; readonly message?: string | undefined }) => void
  readonly signal?: AbortSignal
  /** Of this call, where the era has it so. */
  readonly logLevel?: "error"
}

/** A client as its tests see it. */
export interface Peer {
  readonly era: "handshake" | "stateless"
  /** Any request, with what it was answered. */
  readonly request: (method: string, params: Fields) => Promise<Fields>
  /** The text of a result. */
  readonly call: (name: string, args?: Fields, options?: CallOptions) => Promise<string>
  /** What it wants to hear of, from now on. */
  readonly setLevel: () => Promise<void>
  readonly watch: (uri: string) => Promise<void>
  readonly unwatch: (uri: string) => Promise<void>
  /** The user moved somewhere else. */
  readonly moveRoots: (uri: string) => Promise<void>
  /** What it was asked. */
  readonly asked: Array<Notice>
  /** Questions that were taken back. */
  readonly withdrawn: { count: number }
  /** Its user says nothing until the function returned is called. */
  readonly hold: () => () => void
  readonly notices: Array<Notice>
  readonly close: () => Promise<void>
}

export const answers = {
  form: { action: "accept" as const, content: { name: "Ines" } },
  url: { action: "accept" as const },
  sample: { role: "assistant" as const, content: { type: "text" as const, text: "something" }, model: "parrot" }
}

const anything = z.looseObject({})
const info = { name: "portolan-test", version: "1.0.0" }
const declared = { elicitation: { form: {}, url: {} }, sampling: {}, roots: { listChanged: true } }

/** What it says, and what it was asked. */
const user = () => {
  const asked: Array<Notice> = []
  const withdrawn = { count: 0 }
  let roots = [{ uri: "file:///home", name: "home" }]
  let held: Promise<void> | undefined
  const note = async (method: string, params: object | undefined, signal: AbortSignal) => {
    asked.push({ method, params: { ...params } })
    signal.addEventListener("abort", () => void withdrawn.count++)
    await held
  }
  /** Says how far it is, where somebody wants to know. */
  const sampled = async (
    params: { readonly _meta?: { readonly progressToken?: string | number | undefined } | undefined },
    signal: AbortSignal,
    report: (params: { progressToken: string | number; progress: number; total: number }) => Promise<void>
  ) => {
    const progressToken = params._meta?.progressToken
    if (progressToken !== undefined) {
      for (const progress of [1, 2]) await report({ progressToken, progress, total: 2 })
    }
    await note("sampling/createMessage", params, signal)
    return answers.sample
  }
  return {
    asked,
    withdrawn,
    note,
    sampled,
    elicited: async (params: object, signal: AbortSignal) => {
      await note("elicitation/create", params, signal)
      return "mode" in params && params.mode === "url" ? answers.url : answers.form
    },
    roots: () => ({ roots }),
    move: (uri: string) => void (roots = [{ uri, name: "there" }]),
    hold: () => {
      const { promise, resolve } = Promise.withResolvers<void>()
      held = promise
      return () => {
        held = undefined
        resolve()
      }
    }
  }
}

const textOf = (result: Fields): string => {
  const first: unknown = Array.isArray(result["content"]) ? result["content"][0] : undefined
  return typeof first === "object" && first !== null && "text" in first ? String(first.text) : JSON.stringify(result)
}

/** SDK 1.x. */
const classic = async (url: URL, capabilities: object): Promise<Peer> => {
  const { asked, elicited, hold, move, note, roots, sampled, withdrawn } = user()
  const notices: Array<Notice> = []
  const client = new Client1(info, { capabilities })
  if ("elicitation" in capabilities) {
    client.setRequestHandler(ElicitRequestSchema, ({ params }, { signal }) => elicited(params, signal))
    client.setRequestHandler(
      CreateMessageRequestSchema,
      ({ params }, { sendNotification, signal }) =>
        sampled(params, signal, (params) => sendNotification({ method: "notifications/progress", params }))
    )
    client.setRequestHandler(ListRootsRequestSchema, async (_, { signal }) => {
      await note("roots/list", undefined, signal)
      return roots()
    })
  }
  client.fallbackNotificationHandler = async ({ method, params }) => void notices.push({ method, params })
  const transport = new Http1(url)
  await client.connect(transport as Transport)
  return {
    era: "handshake",
    request: (method, params) => client.request({ method, params }, anything),
    call: async (name, args = {}, options) =>
      textOf(await client.callTool({ name, arguments: args }, undefined, options)),
    setLevel: async () => void await client.setLoggingLevel("error"),
    watch: async (uri) => void await client.subscribeResource({ uri }),
    unwatch: async (uri) => void await client.unsubscribeResource({ uri }),
    moveRoots: (uri) => {
      move(uri)
      return client.sendRootsListChanged()
    },
    asked,
    withdrawn,
    hold,
    notices,
    close: async () => {
      await transport.terminateSession()
      await client.close()
    }
  }
}

/** SDK 2.x, of either era. */
const modern = (mode: "legacy" | "auto") => async (url: URL, capabilities: object): Promise<Peer> => {
  const { asked, elicited, hold, move, note, roots, sampled, withdrawn } = user()
  const notices: Array<Notice> = []
  const client = new Client2(info, { capabilities, versionNegotiation: { mode } })
  if ("elicitation" in capabilities) {
    client.setRequestHandler("elicitation/create", ({ params }, { mcpReq }) => elicited(params, mcpReq.signal))
    client.setRequestHandler("sampling/createMessage", ({ params }, { mcpReq }) =>
      sampled(
        { ...params, _meta: mcpReq._meta },
        mcpReq.signal,
        (params) => mcpReq.notify({ method: "notifications/progress", params })
      ))
    client.setRequestHandler("roots/list", async (_, { mcpReq }) => {
      await note("roots/list", undefined, mcpReq.signal)
      return roots()
    })
  }
  client.fallbackNotificationHandler = async ({ method, params }) => void notices.push({ method, params })
  const transport = new Http2(url)
  await client.connect(transport)
  const watching = new Map<string, McpSubscription>()
  if (mode === "auto") {
    await client.listen({ toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true })
  }
  return {
    era: mode === "legacy" ? "handshake" : "stateless",
    request: (method, params) => client.request({ method, params }, anything),
    call: async (name, args = {}, { logLevel, ...options } = {}) =>
      textOf(
        await client.callTool({
          name,
          arguments: args,
          ...(mode === "legacy" || logLevel === undefined
            ? {}
            : { _meta: { "io.modelcontextprotocol/logLevel": logLevel } })
        }, options)
      ),
    setLevel: async () => mode === "legacy" ? void await client.setLoggingLevel("error") : undefined,
    watch: async (uri) => {
      if (mode === "legacy") await client.subscribeResource({ uri })
      else watching.set(uri, await client.listen({ resourceSubscriptions: [uri] }))
    },
    unwatch: async (uri) => {
      if (mode === "legacy") await client.unsubscribeResource({ uri })
      else await watching.get(uri)?.close()
    },
    moveRoots: async (uri) => {
      move(uri)
      // There is no such notice in the other era.
      if (mode === "legacy") await client.sendRootsListChanged()
    },
    asked,
    withdrawn,
    hold,
    notices,
    close: async () => {
      if (mode === "legacy") await transport.terminateSession()
      await client.close()
    }
  }
}

export const clients = [
  { name: "SDK 1.x", era: "handshake", connect: classic },
  { name: "SDK 2.x, legacy", era: "handshake", connect: modern("legacy") },
  { name: "SDK 2.x, stateless", era: "stateless", connect: modern("auto") }
] as const

/** One that can be asked everything, and one that can be asked nothing. */
export const open = async (connect: typeof classic, url: URL) => ({
  peer: await connect(url, declared),
  bare: await connect(url, {})
})

/** A request of the stateless era as it goes over the wire, by a client that knows the extension of tasks: no SDK does. */
export const bareRequest = async (
  url: URL,
  method: string,
  params: Fields,
  extensions: Fields = { [extension]: {} }
) => {
  const name = params["taskId"] ?? params["name"]
  const response = await fetch(url, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "accept": "application/json, text/event-stream",
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": method,
      ...(typeof name === "string" ? { "mcp-name": name } : {})
    },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method,
      params: {
        ...params,
        _meta: {
          "io.modelcontextprotocol/protocolVersion": "2026-07-28",
          "io.modelcontextprotocol/clientInfo": info,
          "io.modelcontextprotocol/clientCapabilities": { ...declared, extensions }
        }
      }
    })
  })
  const text = await response.text()
  const last = text.startsWith("{") ? text : text.match(/^data: ?(\{.*)$/gm)?.at(-1)?.replace(/^data: ?/, "") ?? "{}"
  const { error, result }: { readonly result?: Fields; readonly error?: { readonly code: number } } = JSON.parse(last)
  return { status: response.status, result: result ?? {}, error }
}
