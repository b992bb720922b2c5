/** What servers ask of clients, in all four cells, with the official clients and servers of both generations. */
import { assert, describe, it } from "@effect/vitest"
import { Client as Client2, StreamableHTTPClientTransport as Http2 } from "@modelcontextprotocol/client"
import { toNodeHandler } from "@modelcontextprotocol/node"
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js"
import { StreamableHTTPClientTransport as Http1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import { McpServer as Server1 } from "@modelcontextprotocol/sdk/server/mcp.js"
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import {
  CreateMessageRequestSchema,
  CreateMessageResultSchema,
  ElicitRequestSchema,
  ElicitResultSchema,
  ListRootsRequestSchema,
  ListRootsResultSchema
} from "@modelcontextprotocol/sdk/types.js"
import {
  createMcpHandler,
  createRequestStateCodec,
  inputRequired,
  McpServer as Server2
} from "@modelcontextprotocol/server"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import { Effect, Layer } from "effect"
import { randomBytes, randomUUID } from "node:crypto"
import type { RequestListener } from "node:http"
import { fileURLToPath } from "node:url"
import * as z from "zod"
import * as ToolCatalog from "../../src/catalog/ToolCatalog.ts"
import * as McpEndpoint from "../../src/relay/McpEndpoint.ts"
import * as Upstreams from "../../src/upstream/Upstreams.ts"
import { eventually } from "../upstream/Harness.ts"
import { body, json, listen } from "../upstream/Servers.ts"
import { envelope, modern, send } from "./Harness.ts"

const requestedSchema = { type: "object" as const, properties: { name: { type: "string" as const } } }
const url = { mode: "url" as const, message: "go", url: "https://x.test/" }
const sampling = {
  messages: [{ role: "user" as const, content: { type: "text" as const, text: "say" } }],
  maxTokens: 5
}
const said = (value: unknown) => ({ content: [{ type: "text" as const, text: JSON.stringify(value) }] })

/** SDK 1.x with sessions. */
const handshake = (figures = { aborted: 0 }): RequestListener => {
  const transports = new Map<string, StreamableHTTPServerTransport>()
  const make = () => {
    const server = new Server1({ name: "one", version: "1.0.0" })
    server.registerTool("form", {}, async (extra) =>
      said(
        await extra.sendRequest(
          { method: "elicitation/create", params: { message: "Who?", requestedSchema } },
          ElicitResultSchema
        )
      ))
    server.registerTool("busy", {}, async (extra) => {
      const progressToken = extra._meta?.progressToken ?? "none"
      const step = (progress: number) =>
        extra.sendNotification({ method: "notifications/progress", params: { progressToken, progress } })
      await step(1)
      const { content } = await extra.sendRequest(
        { method: "elicitation/create", params: { message: "Who?", requestedSchema } },
        ElicitResultSchema
      )
      await step(2)
      return said(content)
    })
    server.registerTool("watched", {}, async (extra) => {
      extra.signal.addEventListener("abort", () => void figures.aborted++)
      return said(
        await extra.sendRequest(
          { method: "elicitation/create", params: { message: "Who?", requestedSchema } },
          ElicitResultSchema
        )
      )
    })
    server.registerTool("url", {}, async (extra) =>
      said(
        await extra.sendRequest(
          { method: "elicitation/create", params: { ...url, elicitationId: "e" } },
          ElicitResultSchema
        )
      ))
    server.registerTool(
      "sample",
      {},
      async (extra) =>
        said(await extra.sendRequest({ method: "sampling/createMessage", params: sampling }, CreateMessageResultSchema))
    )
    server.registerTool(
      "roots",
      {},
      async (extra) => said(await extra.sendRequest({ method: "roots/list" }, ListRootsResultSchema))
    )
    server.registerTool(
      "aside",
      {},
      async () => said(await server.server.elicitInput({ message: "Aside?", requestedSchema }))
    )
    server.registerTool("thrice", {}, async (extra) => {
      const names = []
      for (const message of ["One?", "Two?", "Three?"]) {
        const { content } = await extra.sendRequest(
          { method: "elicitation/create", params: { message, requestedSchema } },
          ElicitResultSchema
        )
        names.push(content?.["name"])
      }
      return said(names)
    })
    server.registerPrompt("asking", {}, async (extra) => {
      const answer = await extra.sendRequest(
        { method: "elicitation/create", params: { message: "Who?", requestedSchema } },
        ElicitResultSchema
      )
      return { messages: [{ role: "user", content: { type: "text", text: String(answer.content?.["name"]) } }] }
    })
    server.registerResource("asking", "one://asking", {}, async (uri, extra) => {
      const answer = await extra.sendRequest(
        { method: "elicitation/create", params: { message: "Who?", requestedSchema } },
        ElicitResultSchema
      )
      return { contents: [{ uri: uri.href, text: String(answer.content?.["name"]) }] }
    })
    return server
  }
  return (request, response) => {
    void (async () => {
      const known = transports.get(String(request.headers["mcp-session-id"]))
      if (known !== undefined) return known.handleRequest(request, response)
      if (request.method !== "POST") return json(response, 400, {})
      const parsed: unknown = JSON.parse(await body(request))
      const transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized: (id) => void transports.set(id, transport)
      })
      await make().connect(transport)
      await transport.handleRequest(request, response, parsed)
    })().catch((error: unknown) => json(response, 500, { error: String(error) }))
  }
}

/** SDK 2.x, the stateless era alone. */
const stateless = (): RequestListener => {
  const states = createRequestStateCodec<ReadonlyArray<unknown>>({ key: randomBytes(32) })
  const handler = createMcpHandler(() => {
    const server = new Server2({ name: "two", version: "2.0.0" }, { requestState: { verify: states.verify } })
    const form = (message: string) => inputRequired.elicit({ message, requestedSchema })
    const tool = (name: string, request: Parameters<typeof inputRequired>[0]["inputRequests"]) =>
      server.registerTool(name, { inputSchema: z.object({}) }, (_, ctx) => {
        const answer = ctx.mcpReq.inputResponses?.["it"]
        return answer === undefined ? inputRequired({ ...(request && { inputRequests: request }) }) : said(answer)
      })
    tool("form", { it: form("Who?") })
    tool("url", { it: inputRequired.elicitUrl({ message: url.message, url: url.url }) })
    tool("sample", { it: inputRequired.createMessage(sampling) })
    tool("roots", { it: inputRequired.listRoots() })
    server.registerTool("thrice", { inputSchema: z.object({}) }, async (_, ctx) => {
      const names = [...ctx.mcpReq.requestState<ReadonlyArray<unknown>>() ?? []]
      const answer: unknown = ctx.mcpReq.inputResponses?.["it"]
      if (typeof answer === "object" && answer !== null && "content" in answer) {
        names.push((answer.content as Record<string, unknown>)["name"])
      }
      return names.length === 3 ? said(names) : inputRequired({
        inputRequests: { it: form(["One?", "Two?", "Three?"][names.length]!) },
        requestState: await states.mint(names)
      })
    })
    server.registerTool("busy", { inputSchema: z.object({}) }, async (_, ctx) => {
      const answer: unknown = ctx.mcpReq.inputResponses?.["it"]
      const progressToken = ctx.mcpReq._meta?.progressToken ?? "none"
      const progress = answer === undefined ? 1 : 2
      await ctx.mcpReq.notify({ method: "notifications/progress", params: { progressToken, progress } })
      return typeof answer === "object" && answer !== null && "content" in answer
        ? said(answer.content)
        : inputRequired({ inputRequests: { it: form("Who?") } })
    })
    server.registerTool(
      "watched",
      { inputSchema: z.object({}) },
      () => inputRequired({ inputRequests: { it: form("Who?") } })
    )
    const named = (answer: unknown) =>
      typeof answer === "object" && answer !== null && "content" in answer
        ? String((answer.content as Record<string, unknown>)["name"])
        : undefined
    server.registerPrompt("asking", {}, (ctx) => {
      const text = named(ctx.mcpReq.inputResponses?.["it"])
      return text === undefined
        ? inputRequired({ inputRequests: { it: form("Who?") } })
        : { messages: [{ role: "user", content: { type: "text", text } }] }
    })
    server.registerResource("asking", "two://asking", {}, (uri, ctx) => {
      const text = named(ctx.mcpReq.inputResponses?.["it"])
      return text === undefined
        ? inputRequired({ inputRequests: { it: form("Who?") } })
        : { contents: [{ uri: uri.href, text }] }
    })
    return server
  }, { legacy: "reject" })
  const serve = toNodeHandler(handler)
  return (request, response) =>
    void serve(Object.assign(request, { method: request.method ?? "", url: request.url ?? "" }), response)
}

const capabilities = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} }
const info = { name: "test", version: "1.0.0" }
const roots = [{ uri: "file:///here", name: "here" }]
const sample = { role: "assistant" as const, content: { type: "text" as const, text: "hm" }, model: "m" }

interface Driver {
  readonly call: (
    name: string,
    options?: {
      readonly onprogress?: (value: { readonly progress: number; readonly message?: string | undefined }) => void
      readonly signal?: AbortSignal
    }
  ) => Promise<unknown>
  readonly prompt: (name: string) => Promise<unknown>
  readonly read: (uri: string) => Promise<unknown>
  readonly close: () => Promise<void>
  /** What it was asked to say to its user. */
  readonly asked: Array<unknown>
  /** Its user says nothing. */
  silent: boolean
}

const textOf = (given: unknown): string => {
  const first: unknown = Array.isArray(given) ? given[0] : given
  return typeof first === "object" && first !== null && "text" in first ? String(first.text) : JSON.stringify(given)
}

/** What the user says: their name is what they are asked. */
const answer = async ({ asked, silent }: Driver, params: Record<string, unknown>) => {
  asked.push(params["mode"] === "url" ? params["url"] : params["message"])
  if (silent) await new Promise(() => {})
  return params["mode"] === "url"
    ? { action: "accept" as const }
    : { action: "accept" as const, content: { name: `${String(params["message"])}!` } }
}

const sdk1 = async (address: string): Promise<Driver> => {
  const client = new Client1(info, { capabilities })
  client.setRequestHandler(ElicitRequestSchema, ({ params }) => answer(driver, params))
  client.setRequestHandler(CreateMessageRequestSchema, () => sample)
  client.setRequestHandler(ListRootsRequestSchema, () => ({ roots }))
  const transport = new Http1(new URL(address))
  await client.connect(transport as Transport)
  const driver: Driver = {
    asked: [],
    silent: false,
    call: async (name, options) =>
      JSON.parse(textOf((await client.callTool({ name, arguments: {} }, undefined, options)).content)),
    prompt: async (name) => textOf((await client.getPrompt({ name })).messages[0]?.content),
    read: async (uri) => textOf((await client.readResource({ uri })).contents),
    close: async () => {
      await transport.terminateSession()
      await client.close()
    }
  }
  return driver
}

const sdk2 = (mode: "legacy" | "auto") => async (address: string): Promise<Driver> => {
  const client = new Client2(info, { capabilities, versionNegotiation: { mode } })
  client.setRequestHandler("elicitation/create", ({ params }) => answer(driver, params))
  client.setRequestHandler("sampling/createMessage", () => sample)
  client.setRequestHandler("roots/list", () => ({ roots }))
  const transport = new Http2(new URL(address))
  await client.connect(transport)
  const driver: Driver = {
    asked: [],
    silent: false,
    call: async (name, options) =>
      JSON.parse(textOf((await client.callTool({ name, arguments: {} }, options)).content)),
    prompt: async (name) => textOf((await client.getPrompt({ name })).messages[0]?.content),
    read: async (uri) => textOf((await client.readResource({ uri })).contents),
    close: async () => {
      if (mode === "legacy") await transport.terminateSession()
      await client.close()
    }
  }
  return driver
}

const gatewayWith = Effect.fnUntraced(function*(
  options: McpEndpoint.McpEndpointOptions,
  ...more: ReadonlyArray<ServiceInstance.ServiceInstance>
) {
  const figures = { aborted: 0 }
  const instances: Array<ServiceInstance.ServiceInstance> = [...more]
  for (const [id, handler] of [["one", handshake(figures)], ["two", stateless()]] as const) {
    const server = yield* listen(handler)
    instances.push(
      ServiceInstance.make({ id, service: id, endpoint: { transport: "streamable-http", url: server.url } })
    )
  }
  const context = yield* Layer.build(
    McpEndpoint.layer(options).pipe(
      Layer.provideMerge(ToolCatalog.layer()),
      Layer.provideMerge(Upstreams.layer()),
      Layer.provideMerge(MemoryRegistry.layer({ instances, trust: "full" })),
      Layer.provideMerge(Portolan.layer())
    )
  )
  const endpoint = yield* Effect.provide(McpEndpoint.McpEndpoint, context)
  // Nobody waits long for a server that starts: under load a process takes its time.
  const catalog = yield* Effect.provide(ToolCatalog.ToolCatalog, context)
  yield* eventually(
    "the tools of all",
    () =>
      instances.every(({ service }) => catalog.list("tools").some((offer) => offer.service === service)) || undefined
  )
  return { endpoint, figures, address: (yield* listen(endpoint.handle)).url }
})
const gateway = gatewayWith({})

const clients = [
  ["sdk 1.x", sdk1],
  ["sdk 2.x legacy", sdk2("legacy")],
  ["sdk 2.x auto", sdk2("auto")]
] as const
const promise = <A>(evaluate: () => Promise<A>) => Effect.promise(evaluate)

describe("official clients are asked by official servers", () => {
  for (const [name, connect] of clients) {
    it.live(`${name}, by servers of both eras`, () =>
      Effect.gen(function*() {
        const { address, endpoint } = yield* gateway
        const client = yield* Effect.acquireRelease(
          promise(() => connect(address)),
          (client) => promise(() => client.close())
        )
        for (const [service, asides] of [["one", ["aside"]], ["two", []]] as const) {
          client.asked.length = 0
          assert.deepStrictEqual(yield* promise(() => client.call(`${service}__form`)), {
            action: "accept",
            content: { name: "Who?!" }
          })
          assert.deepStrictEqual(yield* promise(() => client.call(`${service}__url`)), { action: "accept" })
          assert.deepStrictEqual(yield* promise(() => client.call(`${service}__sample`)), sample)
          assert.deepStrictEqual(yield* promise(() => client.call(`${service}__roots`)), { roots })
          assert.deepStrictEqual(yield* promise(() => client.call(`${service}__thrice`)), ["One?!", "Two?!", "Three?!"])
          assert.strictEqual(yield* promise(() => client.prompt(`${service}__asking`)), "Who?!")
          assert.strictEqual(yield* promise(() => client.read(`${service}://asking`)), "Who?!")
          assert.deepStrictEqual(client.asked, ["Who?", url.url, "One?", "Two?", "Three?", "Who?", "Who?"])
          const progress: Array<number> = []
          const busy = yield* promise(() =>
            client.call(`${service}__busy`, {
              // SDK 2.x adds a word of its own for each round.
              onprogress: ({ message, progress: value }) => message === undefined && progress.push(value)
            })
          )
          assert.deepStrictEqual([busy, progress], [{ name: "Who?!" }, [1, 2]])
          for (const aside of asides) {
            // Not on the stream of its call.
            assert.deepStrictEqual(yield* promise(() => client.call(`${service}__${aside}`)), {
              action: "accept",
              content: { name: "Aside?!" }
            })
          }
          // Many at once, and each hears its own.
          const many = yield* promise(() =>
            Promise.all(Array.from({ length: 20 }, () => client.call(`${service}__thrice`)))
          )
          for (const each of many) assert.deepStrictEqual(each, ["One?!", "Two?!", "Three?!"])
        }
        yield* eventually("nothing is in flight", () => endpoint.figures().callsInFlight === 0 ? true : undefined)
        assert.strictEqual(endpoint.figures().failedCalls, 0)
      }), 60_000)
  }

  for (const [name, connect] of clients.slice(0, 2)) {
    it.live(`${name} cancels a call while it is asked`, () =>
      Effect.gen(function*() {
        const { address, endpoint, figures } = yield* gateway
        const client = yield* Effect.acquireRelease(
          promise(() => connect(address)),
          (client) => promise(() => client.close())
        )
        client.silent = true
        for (const service of ["one", "two"]) {
          client.asked.length = 0
          const controller = new AbortController()
          const waiting = client.call(`${service}__watched`, { signal: controller.signal }).catch(() => "cancelled")
          yield* eventually("a question", () => client.asked.length === 1 ? true : undefined)
          controller.abort()
          assert.strictEqual(yield* promise(() => waiting), "cancelled")
          yield* eventually("nothing is in flight", () => endpoint.figures().callsInFlight === 0 ? true : undefined)
        }
        yield* eventually("it is cancelled at the server", () => figures.aborted === 1 ? true : undefined)
      }), 30_000)
  }

  for (const [name, connect] of clients) {
    it.live(`${name}, by a child process, where all share one pipe`, () =>
      Effect.gen(function*() {
        const script = fileURLToPath(new URL("../upstream/fixtures/asking.ts", import.meta.url))
        const { address, endpoint } = yield* gatewayWith(
          {},
          ServiceInstance.make({
            id: "child",
            service: "child",
            endpoint: { transport: "stdio", command: process.execPath, args: [script] }
          })
        )
        const client = yield* Effect.acquireRelease(
          promise(() => connect(address)),
          (client) => promise(() => client.close())
        )
        const said = { action: "accept", content: { name: "?!" } }
        assert.deepStrictEqual(yield* promise(() => client.call("child__ask")), said)
        assert.deepStrictEqual(yield* promise(() => client.call("child__aside")), said)
        assert.deepStrictEqual(yield* promise(() => client.call("child__roots")), { roots })
        const all = yield* promise(() => Promise.all([1, 2, 3].map(() => client.call("child__ask"))))
        assert.deepStrictEqual(all, [said, said, said])
        yield* eventually("nothing is in flight", () => endpoint.figures().callsInFlight === 0 ? true : undefined)
      }), 60_000)
  }

  it.live("a call whose client doesn't come back is cancelled at the server", () =>
    Effect.gen(function*() {
      const { address, endpoint, figures } = yield* gatewayWith({ inputTimeout: 300 })
      const meta = envelope({ "io.modelcontextprotocol/clientCapabilities": capabilities })
      const params = { name: "one__watched", arguments: {}, _meta: meta }
      const message = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params })
      const { messages } = yield* send(address, "POST", modern("tools/call", "one__watched"), message)
      assert.strictEqual(messages.at(-1)?.result?.["resultType"], "input_required")
      assert.strictEqual(figures.aborted, 0)
      yield* eventually("it is cancelled at the server", () => figures.aborted === 1 ? true : undefined)
      assert.strictEqual(endpoint.figures().callsInFlight, 0)
    }), 30_000)
})
