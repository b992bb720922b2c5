/**
 * Servers of both eras that run tasks, made with the official SDKs.
 */
import { toNodeHandler } from "@modelcontextprotocol/node"
import {
  InMemoryTaskMessageQueue,
  InMemoryTaskStore
} from "@modelcontextprotocol/sdk/experimental/tasks/stores/in-memory.js"
import { McpServer as Server1 } from "@modelcontextprotocol/sdk/server/mcp.js"
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import { ElicitResultSchema } from "@modelcontextprotocol/sdk/types.js"
import { createMcpHandler, ProtocolError, Server as Server2 } from "@modelcontextprotocol/server"
import { randomUUID } from "node:crypto"
import type { RequestListener } from "node:http"
import * as z from "zod"
import { body, json } from "../upstream/Servers.ts"

export const extension = "io.modelcontextprotocol/tasks"

/** What the servers ask for a name. */
export const question = {
  message: "Who?",
  requestedSchema: {
    type: "object" as const,
    properties: { name: { type: "string" as const } },
    required: ["name"]
  }
}

export interface TaskServer {
  readonly handler: RequestListener
  /** Completes the tasks that wait for that. */
  readonly finish: () => void
  /** What was asked of it, with the ids that it gave. */
  readonly figures: { calls: number; cancelled: number; readonly ids: Array<string>; readonly methods: Array<string> }
}

const figuresOf = (): TaskServer["figures"] => ({ calls: 0, cancelled: 0, ids: [], methods: [] })

/** SDK 1.x with sessions: a task is known in the session alone that began it. */
export const handshakeTasks = (pollInterval = 20): TaskServer => {
  const figures = figuresOf()
  const transports = new Map<string, StreamableHTTPServerTransport>()
  const waiting: Array<() => void> = []
  const taskStore = new InMemoryTaskStore()
  const make = () => {
    const server = new Server1({ name: "old", version: "1.0.0" }, {
      capabilities: { tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } },
      taskStore,
      taskMessageQueue: new InMemoryTaskMessageQueue()
    })
    const tool = (name: string, taskSupport: "optional" | "required") =>
      server.experimental.tasks.registerToolTask(name, {
        inputSchema: { how: z.string().optional() },
        execution: { taskSupport }
      }, {
        createTask: async ({ how }, { _meta, taskStore }) => {
          figures.calls++
          const task = await taskStore.createTask({ ttl: 60_000, pollInterval })
          const { taskId } = task
          figures.ids.push(taskId)
          const text = (text: string) => ({ content: [{ type: "text" as const, text }] })
          const run = async () => {
            if (how === "wait") return
            if (how === "later") await new Promise<void>((resolve) => waiting.push(resolve))
            if (how === "fail") {
              return taskStore.storeTaskResult(taskId, "failed", { ...text("it failed"), isError: true })
            }
            const progressToken = _meta?.progressToken
            if (how === "report" && progressToken !== undefined) {
              await server.server.notification(
                { method: "notifications/progress", params: { progressToken, progress: 1 } },
                { relatedTask: { taskId } }
              )
            }
            if (how !== "ask") return taskStore.storeTaskResult(taskId, "completed", text("done"))
            await taskStore.updateTaskStatus(taskId, "input_required", "I need a name")
            const answer = await server.server.request(
              { method: "elicitation/create", params: question },
              ElicitResultSchema,
              { relatedTask: { taskId } }
            ).then(({ action, content }) => `${action} ${String(content?.["name"])}`, (error: Error) => error.message)
            await taskStore.updateTaskStatus(taskId, "working")
            await taskStore.storeTaskResult(taskId, "completed", text(answer))
          }
          // Its client may be gone by then.
          run().catch(() => {})
          return { task }
        },
        getTask: async (_, { taskId, taskStore }) => taskStore.getTask(taskId),
        getTaskResult: async (_, { taskId, taskStore }) => {
          const { _meta, ...result } = await taskStore.getTaskResult(taskId)
          return { content: [], ...result }
        }
      })
    // Has its client run a task of its own, and asks for that until it is over.
    server.registerTool("borrow", {}, async (extra) => {
      const stream = server.server.experimental.tasks.elicitInputStream(
        { mode: "form", ...question },
        { task: { ttl: 10_000 }, relatedRequestId: extra.requestId }
      )
      const seen: Array<string> = []
      for await (const message of stream) {
        if (message.type === "taskStatus") seen.push(message.task.status)
        if (message.type === "result") seen.push(`${message.result.action} ${String(message.result.content?.["name"])}`)
        if (message.type === "error") seen.push(message.error.message)
      }
      return { content: [{ type: "text", text: seen.join(", ") }] }
    })
    tool("research", "required")
    tool("maybe", "optional")
    server.registerTool("plain", {}, () => ({ content: [{ type: "text", text: "plain" }] }))
    return server
  }
  const handler: RequestListener = (request, response) => {
    void (async () => {
      const known = transports.get(String(request.headers["mcp-session-id"]))
      const parsed: unknown = request.method === "POST" ? JSON.parse(await body(request)) : undefined
      if (typeof parsed === "object" && parsed !== null && "method" in parsed) {
        figures.methods.push(String(parsed.method))
      }
      if (known !== undefined) return known.handleRequest(request, response, parsed)
      if (request.method !== "POST") return json(response, 400, {})
      const transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized: (id) => void transports.set(id, transport)
      })
      await make().connect(transport)
      await transport.handleRequest(request, response, parsed)
    })().catch((error: unknown) => json(response, 500, { error: String(error) }))
  }
  const finish = () => {
    for (const done of waiting.splice(0)) done()
  }
  return { handler, figures, finish }
}

interface Running {
  status: string
  readonly createdAt: string
  readonly more: Record<string, unknown>
  /** Looks until it is done. */
  left: number
  /** How it is then. */
  readonly end: { readonly status: string }
}

/** SDK 2.x, the stateless era alone. Its SDK knows no tasks: this is the extension by hand. */
export const statelessTasks = (): TaskServer => {
  const figures = figuresOf()
  const tasks = new Map<string, Running>()
  const done = (text: string) => ({ result: { content: [{ type: "text", text }] } })
  const failed = { result: { content: [{ type: "text", text: "it failed" }], isError: true } }
  const broken = { error: { code: -32603, message: "it broke" } }
  const asks = { inputRequests: { who: { method: "elicitation/create", params: question } } }
  const shown = (taskId: string, { createdAt, more, status }: Running) => ({
    taskId,
    status,
    createdAt,
    lastUpdatedAt: createdAt,
    ttlMs: 60_000,
    pollIntervalMs: 50,
    ...more
  })
  const taskOf = (taskId: string): Running => {
    const task = tasks.get(taskId)
    if (task === undefined) throw new ProtocolError(-32602, "Failed to retrieve task: Task not found")
    return task
  }
  const handler = createMcpHandler(() => {
    const server = new Server2({ name: "new", version: "2.0.0" }, {
      capabilities: { tools: {}, extensions: { [extension]: {} } }
    })
    server.setRequestHandler("tools/list", () => ({
      tools: [{ name: "research", inputSchema: { type: "object" } }]
    }))
    server.setRequestHandler("tools/call", ({ params }, ctx) => {
      const how = params.arguments?.["how"]
      const envelope = new Map(Object.entries(ctx.mcpReq.envelope ?? {}))
      const declared = Object(envelope.get("io.modelcontextprotocol/clientCapabilities"))
      const knows = Object(declared["extensions"])[extension] !== undefined
      if (!knows && params.arguments?.["insist"] === true) {
        throw new ProtocolError(-32021, "Missing required client capability", {
          requiredCapabilities: { extensions: { [extension]: {} } }
        })
      }
      figures.calls++
      if (how === "now" || !knows) {
        return { content: [{ type: "text", text: "at once" }] }
      }
      const taskId = randomUUID()
      figures.ids.push(taskId)
      const task: Running = {
        status: "working",
        createdAt: "2026-11-21T10:00:00.000Z",
        more: {},
        left: how === "wait" ? Infinity : 1,
        end: how === "ask"
          ? { status: "input_required", ...asks }
          : how === "error"
          ? { status: "failed", ...broken }
          : how === "fail"
          ? { status: "completed", ...failed }
          : { status: "completed", ...done("done") }
      }
      tasks.set(taskId, task)
      // What only the extension knows of.
      return Object.assign({ content: [] }, shown(taskId, task), { resultType: "task" })
    })
    const params = z.looseObject({ taskId: z.string() })
    server.setRequestHandler("tasks/get", { params }, ({ taskId }) => {
      figures.methods.push("tasks/get")
      const task = taskOf(taskId)
      if (task.left-- === 0) {
        const { status, ...more } = task.end
        task.status = status
        Object.assign(task.more, more)
      }
      return shown(taskId, task)
    })
    server.setRequestHandler("tasks/update", { params }, ({ taskId }, ctx) => {
      figures.methods.push("tasks/update")
      const task = taskOf(taskId)
      delete task.more["inputRequests"]
      task.status = "completed"
      const { action, content } = Object(ctx.mcpReq.inputResponses?.["who"])
      Object.assign(task.more, done(`${action} ${Object(content)["name"]}`))
      return {}
    })
    server.setRequestHandler("tasks/cancel", { params }, ({ taskId }) => {
      figures.cancelled++
      taskOf(taskId).status = "cancelled"
      return {}
    })
    return server
  }, { legacy: "reject" })
  const serve = toNodeHandler(handler)
  return {
    handler: (request, response) =>
      void serve(Object.assign(request, { method: request.method ?? "", url: request.url ?? "" }), response),
    figures,
    finish: () => {}
  }
}
