/**
 * A server of the handshake era, made with SDK 1.x: one for each session, or each process.
 */
import {
  InMemoryTaskMessageQueue,
  InMemoryTaskStore
} from "@modelcontextprotocol/sdk/experimental/tasks/stores/in-memory.js"
import { Server } from "@modelcontextprotocol/sdk/server/index.js"
import type { RequestHandlerExtra } from "@modelcontextprotocol/sdk/shared/protocol.js"
import {
  CallToolRequestSchema,
  CompleteRequestSchema,
  CreateMessageResultSchema,
  ElicitResultSchema,
  GetPromptRequestSchema,
  ListPromptsRequestSchema,
  ListResourcesRequestSchema,
  ListResourceTemplatesRequestSchema,
  ListRootsResultSchema,
  ListToolsRequestSchema,
  ReadResourceRequestSchema,
  RootsListChangedNotificationSchema,
  type ServerNotification,
  type ServerRequest,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema
} from "@modelcontextprotocol/sdk/types.js"
import { setTimeout } from "node:timers/promises"
import type { Control, Order } from "./control.ts"
import { completions, form, lists, sampling, text, url } from "./offers.ts"

type Extra = RequestHandlerExtra<ServerRequest, ServerNotification>

const messageOf = (error: unknown) => error instanceof Error ? error.message : String(error)

/** Tells when a task is cancelled. */
class Tasks extends InMemoryTaskStore {
  readonly control: Control
  constructor(control: Control) {
    super()
    this.control = control
  }
  override async updateTaskStatus(...[taskId, status, ...more]: Parameters<InMemoryTaskStore["updateTaskStatus"]>) {
    if (status === "cancelled") this.control.tell("task cancelled")
    return super.updateTaskStatus(taskId, status, ...more)
  }
}

export const make = (service: string, control: Control): Server => {
  const server = new Server({ name: service, version: "1.0.0" }, {
    capabilities: {
      tools: { listChanged: true },
      prompts: { listChanged: true },
      resources: { listChanged: true, subscribe: true },
      completions: {},
      logging: {},
      tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } }
    },
    taskStore: new Tasks(control),
    taskMessageQueue: new InMemoryTaskMessageQueue()
  })
  const offers = lists(service, control)
  const watched = new Set<string>()
  let withdraw = new AbortController()

  const obey = (order: Order) => {
    switch (order.order) {
      case "update":
        return watched.has(order.uri) ? server.sendResourceUpdated({ uri: order.uri }) : undefined
      case "log":
        return server.sendLoggingMessage({ level: order.level, data: order.data }, server.transport?.sessionId)
      case "withdraw":
        withdraw.abort()
        withdraw = new AbortController()
        return undefined
      case "grow":
        switch (offers.take(order)) {
          case "tools":
            return server.sendToolListChanged()
          case "prompts":
            return server.sendPromptListChanged()
          case "resources":
            return server.sendResourceListChanged()
        }
    }
  }
  // A session may be over by then.
  control.onOrder((order) => void obey(order)?.catch(() => {}))

  const elicit = (extra: Extra, params: typeof form | typeof url, signal = extra.signal) =>
    extra.sendRequest({ method: "elicitation/create", params }, ElicitResultSchema, { signal })

  const tools: Record<string, (args: Record<string, unknown>, extra: Extra) => Promise<unknown>> = {
    form: (_, extra) => elicit(extra, form),
    url: async (_, extra) => {
      const answer = await elicit(extra, url)
      const { elicitationId } = url
      await server.notification({ method: "notifications/elicitation/complete", params: { elicitationId } })
      return answer
    },
    sample: (_, extra) =>
      extra.sendRequest({ method: "sampling/createMessage", params: sampling }, CreateMessageResultSchema, {
        onprogress: (progress) => control.tell("progress", progress)
      }),
    roots: (_, extra) => extra.sendRequest({ method: "roots/list" }, ListRootsResultSchema),
    // Belongs to no call: the one that began it is over.
    aside: async () => {
      void setTimeout(50).then(() => server.elicitInput({ mode: "form", ...form })).then(
        (answer) => control.tell("aside", answer),
        (error: unknown) => control.tell("aside", { error: messageOf(error) })
      )
      return "begun"
    },
    steps: async ({ tag }, extra) => {
      const progressToken = extra._meta?.progressToken
      for (const progress of progressToken === undefined ? [] : [1, 2, 3]) {
        const params = { progressToken: progressToken ?? "", progress, total: 3, message: `${String(tag)} ${progress}` }
        await extra.sendNotification({ method: "notifications/progress", params })
      }
      return progressToken ?? "none"
    },
    wait: async ({ ask, tag }, extra) => {
      control.tell("began", tag)
      extra.signal.addEventListener("abort", () => control.tell("cancelled", tag))
      if (ask === true) return elicit(extra, form, withdraw.signal).then(() => "answered", () => "withdrawn")
      return new Promise((resolve) => withdraw.signal.addEventListener("abort", () => resolve("went on")))
    },
    log: async (_, extra) => {
      for (const level of ["debug", "error"] as const) {
        await extra.sendNotification({
          method: "notifications/message",
          params: { level, logger: "harbour", data: `${level} of ${service}` }
        })
      }
      return "said"
    }
  }

  const research = async (how: unknown, { taskRequestedTtl, taskStore }: Extra) => {
    if (taskStore === undefined) throw new Error("research runs as a task only")
    const task = await taskStore.createTask({ ttl: taskRequestedTtl ?? null, pollInterval: 20 })
    const { taskId } = task
    control.tell("task", taskId)
    const run = async () => {
      if (how === "wait") return
      let answer: unknown = "found"
      if (how === "ask") {
        await taskStore.updateTaskStatus(taskId, "input_required")
        const { action, content } = await server.request(
          { method: "elicitation/create", params: form },
          ElicitResultSchema,
          { relatedTask: { taskId } }
        )
        answer = { action, content }
        await taskStore.updateTaskStatus(taskId, "working")
      }
      await taskStore.storeTaskResult(taskId, "completed", text(answer))
    }
    void run().catch((error: unknown) => control.tell("task failed", messageOf(error)))
    return { task }
  }

  server.setRequestHandler(ListToolsRequestSchema, ({ params }) => {
    const { tools, ...more } = offers.tools(params?.cursor)
    return {
      ...more,
      tools: tools.map((tool) =>
        tool.name === "research" ? { ...tool, execution: { taskSupport: "required" as const } } : tool
      )
    }
  })
  server.setRequestHandler(
    CallToolRequestSchema,
    async ({ params: { arguments: args = {}, name } }, extra) =>
      name === "research" ? research(args["how"], extra) : text(await tools[name]?.(args, extra) ?? "nothing")
  )
  server.setRequestHandler(ListPromptsRequestSchema, ({ params }) => offers.prompts(params?.cursor))
  server.setRequestHandler(GetPromptRequestSchema, ({ params }) => ({
    messages: [{ role: "user", content: { type: "text", text: `Hello ${params.arguments?.["city"]}` } }]
  }))
  server.setRequestHandler(ListResourcesRequestSchema, ({ params }) => offers.resources(params?.cursor))
  server.setRequestHandler(ListResourceTemplatesRequestSchema, () => offers.templates())
  server.setRequestHandler(ReadResourceRequestSchema, ({ params: { uri } }) => ({ contents: [{ uri, text: uri }] }))
  server.setRequestHandler(CompleteRequestSchema, ({ params: { argument, context, ref } }) => {
    control.tell("complete", ref)
    return { completion: { values: completions(argument.value, context?.arguments?.["country"]) } }
  })
  server.setRequestHandler(SubscribeRequestSchema, ({ params: { uri } }) => {
    watched.add(uri)
    control.tell("watched", uri)
    return {}
  })
  server.setRequestHandler(UnsubscribeRequestSchema, ({ params: { uri } }) => {
    watched.delete(uri)
    control.tell("unwatched", uri)
    return {}
  })
  server.setNotificationHandler(RootsListChangedNotificationSchema, () => control.tell("roots changed"))
  return server
}
