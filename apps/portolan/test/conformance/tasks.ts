/**
 * Tools that run as tasks of the stateless era's extension. The SDK has no tasks, so their methods stand here.
 */
import {
  acceptedContent,
  CLIENT_CAPABILITIES_META_KEY,
  type InputRequests,
  inputRequired,
  ProtocolError,
  ProtocolErrorCode,
  Server,
  type ServerContext
} from "@modelcontextprotocol/server"
import { randomUUID } from "node:crypto"
import { setTimeout } from "node:timers/promises"
import { z } from "zod"
import { text } from "./contents.ts"

const extension = "io.modelcontextprotocol/tasks"

interface Task {
  readonly taskId: string
  readonly createdAt: string
  lastUpdatedAt: string
  status: "cancelled" | "completed" | "failed" | "input_required" | "working"
  result?: object
  error?: { readonly code: number; readonly message: string }
  /** What it waits for. */
  questions: InputRequests
  answers: number
  /** Goes on, with all answers there. */
  resume: () => void
  readonly cancelled: AbortController
}

/** Those of one process; none is ever forgotten, as a test is short. */
const tasks = new Map<string, Task>()

const update = (task: Task, change: Partial<Task>) => {
  if (task.cancelled.signal.aborted) return
  Object.assign(task, change, { lastUpdatedAt: new Date().toISOString() })
}

type Work = (task: Task) => Promise<object>

const begin = (work: Work) => {
  const now = new Date().toISOString()
  const task: Task = {
    taskId: randomUUID(),
    createdAt: now,
    lastUpdatedAt: now,
    status: "working",
    questions: {},
    answers: 0,
    resume: () => {},
    cancelled: new AbortController()
  }
  tasks.set(task.taskId, task)
  work(task).then(
    (result) => update(task, { status: "completed", result }),
    (error) => update(task, { status: "failed", error: { code: -32603, message: String(error) } })
  )
  return { resultType: "task", ...shown(task) }
}

const shown = ({ createdAt, lastUpdatedAt, status, taskId }: Task) => ({
  taskId,
  status,
  createdAt,
  lastUpdatedAt,
  ttlMs: 60_000,
  pollIntervalMs: 100
})

const detailed = (task: Task) => ({
  ...shown(task),
  ...(task.result === undefined ? {} : { result: task.result }),
  ...(task.error === undefined ? {} : { error: task.error }),
  ...(task.status === "input_required" ? { inputRequests: task.questions } : {})
})

/** Waits for answers to all of these. */
const ask = (task: Task, questions: InputRequests): Promise<void> => {
  update(task, { status: "input_required", questions })
  return new Promise((resolve) => {
    task.resume = resolve
  })
}

const question = (message: string, field: "confirm" | "name") =>
  inputRequired.elicit({
    message,
    requestedSchema: {
      type: "object",
      properties: { [field]: field === "name" ? { type: "string" } : { type: "boolean" } },
      required: [field]
    }
  })

const said = (line: string) => ({ content: [text(line)] })

const slow = (seconds: number): Work => async ({ cancelled }) => {
  await setTimeout(seconds * 1_000, undefined, { signal: cancelled.signal }).catch(() => {})
  return said(`Computed for ${seconds} s`)
}

const works: Readonly<Record<string, Work>> = {
  failing_job: async () => {
    await setTimeout(50)
    return { ...said("This job fails on purpose"), isError: true }
  },
  protocol_error_job: async () => {
    await setTimeout(50)
    throw new Error("This job breaks on purpose")
  },
  confirm_delete: async (task) => {
    await ask(task, { confirm: question("Delete it?", "confirm") })
    return said("Deleted")
  },
  multi_input: async (task) => {
    await ask(task, {
      first: question("The first name?", "name"),
      second: question("The second name?", "name")
    })
    return said(`${task.answers} answers`)
  }
}

const tools = ["greet", "slow_compute", "test_tool_with_task", ...Object.keys(works)].map((name) => ({
  name,
  description: "May run as a task",
  inputSchema: { type: "object" as const }
}))

const declares = ({ mcpReq: { envelope } }: ServerContext): boolean => {
  const declared: unknown = Object.entries(envelope ?? {}).find(([key]) => key === CLIENT_CAPABILITIES_META_KEY)?.[1]
  return z.object({ extensions: z.object({ [extension]: z.object({}) }) }).safeParse(declared).success
}

const needsExtension = () =>
  new ProtocolError(ProtocolErrorCode.MissingRequiredClientCapability, `Declare the extension ${extension}`, {
    requiredCapabilities: { extensions: { [extension]: {} } }
  })

export const makeTaskServer = (): Server => {
  const server = new Server({ name: "tasks", version: "1.0.0" }, {
    capabilities: { tools: {}, extensions: { [extension]: {} } }
  })

  server.setRequestHandler("tools/list", () => ({ tools }))

  server.setRequestHandler(
    "tools/call",
    { params: z.looseObject({ name: z.string(), arguments: z.record(z.string(), z.unknown()).optional() }) },
    async ({ arguments: args = {}, name }, ctx) => {
      switch (name) {
        case "greet":
          return said(`Hello, ${String(args["name"])}!`)
        case "slow_compute": {
          const work = slow(Number(args["seconds"] ?? 0))
          return declares(ctx) ? begin(work) : said(`Computed for ${String(args["seconds"])} s`)
        }
        case "test_tool_with_task": {
          const user = acceptedContent<{ name: string }>(ctx.mcpReq.inputResponses, "user_name")
          if (user === undefined) {
            return inputRequired({ inputRequests: { user_name: question("What is your name?", "name") } })
          }
          if (!declares(ctx)) throw needsExtension()
          return begin(async () => said(`Hello, ${user.name}!`))
        }
      }
      const work = works[name]
      if (work === undefined) throw new ProtocolError(ProtocolErrorCode.InvalidParams, `Unknown tool: ${name}`)
      if (!declares(ctx)) throw needsExtension()
      return begin(work)
    }
  )

  const onTask = (method: string, answer: (task: Task, mcpReq: ServerContext["mcpReq"]) => object) =>
    server.setRequestHandler(method, { params: z.looseObject({ taskId: z.string() }) }, ({ taskId }, ctx) => {
      if (!declares(ctx)) throw needsExtension()
      const task = tasks.get(taskId)
      if (task === undefined) throw new ProtocolError(ProtocolErrorCode.InvalidParams, `No task ${taskId}`)
      return { ...answer(task, ctx.mcpReq) }
    })

  onTask("tasks/get", detailed)
  onTask("tasks/cancel", (task) => {
    if (task.status === "working" || task.status === "input_required") {
      update(task, { status: "cancelled" })
      task.cancelled.abort()
    }
    return {}
  })
  onTask("tasks/update", (task, { inputResponses = {} }) => {
    for (const key of Object.keys(inputResponses)) {
      const { [key]: asked, ...left } = task.questions
      if (asked !== undefined) task.answers++
      task.questions = left
    }
    if (task.status === "input_required" && Object.keys(task.questions).length === 0) {
      update(task, { status: "working" })
      task.resume()
    }
    return {}
  })
  return server
}
