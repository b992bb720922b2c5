/**
 * A server of the stateless era, made with SDK 2.x, which knows no tasks: their extension is by hand.
 */
import {
  CLIENT_CAPABILITIES_META_KEY,
  type InputRequests,
  inputRequired,
  ProtocolError,
  Server,
  type ServerContext
} from "@modelcontextprotocol/server"
import { randomUUID } from "node:crypto"
import { z } from "zod"
import type { Control } from "./control.ts"
import { completions, form, lists, sampling, text, url } from "./offers.ts"

/** Name of the extension. */
export const extension = "io.modelcontextprotocol/tasks"

const messageOf = (error: unknown) => error instanceof Error ? error.message : String(error)

/** What the tools ask for, by their names. */
const questions: Record<string, InputRequests[string]> = {
  form: inputRequired.elicit(form),
  url: inputRequired.elicitUrl({ message: url.message, url: url.url }),
  sample: inputRequired.createMessage(sampling),
  roots: inputRequired.listRoots()
}

interface Task {
  status: string
  readonly more: Record<string, unknown>
}

/** How whoever listens is told. */
export interface Notify {
  readonly toolsChanged: () => void
  readonly promptsChanged: () => void
  readonly resourcesChanged: () => void
  readonly resourceUpdated: (uri: string) => void
}

export const make = (service: string, control: Control) => {
  const offers = lists(service, control)
  const tasks = new Map<string, Task>()
  const createdAt = new Date().toISOString()

  const shown = (taskId: string) => {
    const task = tasks.get(taskId)
    if (task === undefined) throw new ProtocolError(-32602, "Task not found")
    const { more, status } = task
    return { taskId, status, createdAt, lastUpdatedAt: createdAt, ttlMs: 60_000, pollIntervalMs: 20, ...more }
  }

  const research = (how: unknown, { mcpReq: { envelope } }: ServerContext) => {
    const declared: unknown = Object.entries(envelope ?? {}).find(([key]) => key === CLIENT_CAPABILITIES_META_KEY)?.[1]
    if (!JSON.stringify(declared ?? {}).includes(extension)) return text("found at once")
    const taskId = randomUUID()
    control.tell("task", taskId)
    tasks.set(
      taskId,
      how === "wait"
        ? { status: "working", more: {} }
        : how === "ask"
        ? { status: "input_required", more: { inputRequests: { who: questions["form"] } } }
        : { status: "completed", more: { result: text("found") } }
    )
    const begun = { ...shown(taskId), status: "working" }
    return Object.assign({ content: [] }, begun, { resultType: "task" })
  }

  const tools: Record<string, (args: Record<string, unknown>, ctx: ServerContext, server: Server) => Promise<unknown>> =
    {
      aside: async (_, _ctx, server) => {
        const answer = await server.elicitInput({ mode: "form", ...form }).catch((error: unknown) => ({
          error: messageOf(error)
        }))
        control.tell("aside", answer)
        return "begun"
      },
      steps: async ({ tag }, { mcpReq: { _meta, notify } }) => {
        const progressToken = _meta?.progressToken
        for (const progress of progressToken === undefined ? [] : [1, 2, 3]) {
          const message = `${String(tag)} ${progress}`
          const params = { progressToken: progressToken ?? "", progress, total: 3, message }
          await notify({ method: "notifications/progress", params })
        }
        return progressToken ?? "none"
      },
      wait: ({ tag }, { mcpReq: { signal } }) => {
        control.tell("began", tag)
        return new Promise((resolve) => {
          signal.addEventListener("abort", () => {
            control.tell("cancelled", tag)
            resolve("cancelled")
          })
          control.onOrder(({ order }) => order === "withdraw" && resolve("went on"))
        })
      },
      log: async (_, { mcpReq: { log } }) => {
        for (const level of ["debug", "error"] as const) await log(level, `${level} of ${service}`, "harbour")
        return "said"
      }
    }

  const serve = (): Server => {
    const server = new Server({ name: service, version: "2.0.0" }, {
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { listChanged: true, subscribe: true },
        completions: {},
        logging: {},
        extensions: { [extension]: {} }
      }
    })
    server.setRequestHandler("tools/list", ({ params }) => offers.tools(params?.cursor))
    server.setRequestHandler("tools/call", async ({ params: { arguments: args = {}, name } }, ctx) => {
      if (name === "research") return research(args["how"], ctx)
      const question = questions[name]
      if (question === undefined) return text(await tools[name]?.(args, ctx, server) ?? "nothing")
      const answer = ctx.mcpReq.inputResponses?.["it"]
      return answer === undefined ? inputRequired({ inputRequests: { it: question } }) : text(answer)
    })
    server.setRequestHandler("prompts/list", ({ params }) => offers.prompts(params?.cursor))
    server.setRequestHandler("prompts/get", ({ params }) => ({
      messages: [{ role: "user", content: { type: "text", text: `Hello ${params.arguments?.["city"]}` } }]
    }))
    server.setRequestHandler("resources/list", ({ params }) => offers.resources(params?.cursor))
    server.setRequestHandler("resources/templates/list", () => offers.templates())
    server.setRequestHandler("resources/read", ({ params: { uri } }) => ({ contents: [{ uri, text: uri }] }))
    server.setRequestHandler("completion/complete", ({ params: { argument, context, ref } }) => {
      control.tell("complete", ref)
      return { completion: { values: completions(argument.value, context?.arguments?.["country"]) } }
    })
    const params = z.looseObject({ taskId: z.string() })
    server.setRequestHandler("tasks/get", { params }, ({ taskId }) => shown(taskId))
    server.setRequestHandler("tasks/update", { params }, ({ taskId }, ctx) => {
      const task = tasks.get(taskId)
      if (task !== undefined) {
        delete task.more["inputRequests"]
        task.more["result"] = text(ctx.mcpReq.inputResponses?.["who"])
        task.status = "completed"
      }
      return {}
    })
    server.setRequestHandler("tasks/cancel", { params }, ({ taskId }) => {
      control.tell("task cancelled")
      const task = tasks.get(taskId)
      if (task !== undefined) task.status = "cancelled"
      return {}
    })
    return server
  }

  /** Does what the test says. */
  const follow = (notify: Notify): void =>
    control.onOrder((order) => {
      if (order.order === "update") notify.resourceUpdated(order.uri)
      switch (offers.take(order)) {
        case "tools":
          return notify.toolsChanged()
        case "prompts":
          return notify.promptsChanged()
        case "resources":
          return notify.resourcesChanged()
      }
    })

  return { serve, follow }
}
