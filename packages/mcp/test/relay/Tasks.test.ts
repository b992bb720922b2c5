/**
 * Tasks in the four pairings, with the official clients and servers where they know tasks.
 */
import { assert, describe, it } from "@effect/vitest"
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js"
import { StreamableHTTPClientTransport as Http1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import { InMemoryTaskStore } from "@modelcontextprotocol/sdk/experimental/tasks/stores/in-memory.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import {
  CallToolResultSchema,
  CreateTaskResultSchema,
  ElicitRequestSchema,
  ProgressNotificationSchema,
  TaskStatusNotificationSchema
} from "@modelcontextprotocol/sdk/types.js"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import { Effect, Fiber, Layer, Redacted } from "effect"
import { fileURLToPath } from "node:url"
import * as z from "zod"
import * as ToolCatalog from "../../src/catalog/ToolCatalog.ts"
import type { Fields } from "../../src/JsonRpc.ts"
import * as McpEndpoint from "../../src/relay/McpEndpoint.ts"
import * as Upstreams from "../../src/upstream/Upstreams.ts"
import { eventually } from "../upstream/Harness.ts"
import { listen } from "../upstream/Servers.ts"
import { both, envelope, messagesOf, modern, openRequest, send } from "./Harness.ts"
import { extension, handshakeTasks, question, statelessTasks, type TaskServer } from "./TaskFixtures.ts"

const promise = <A>(evaluate: () => Promise<A>) => Effect.promise(evaluate)

/** Everything real, in front of servers by the names of their services. */
const gateway = Effect.fnUntraced(function*(
  servers: Readonly<Record<string, TaskServer>>,
  options: McpEndpoint.McpEndpointOptions = {},
  more: ReadonlyArray<ServiceInstance.ServiceInstance> = []
) {
  const instances = [...more]
  for (const [id, { handler }] of Object.entries(servers)) {
    const { url } = yield* listen(handler)
    const service = id.replace(/-.*/, "")
    instances.push(ServiceInstance.make({ id, service, endpoint: { transport: "streamable-http", url } }))
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
  return (yield* listen(endpoint.handle)).url
})

/** The SDK that has the tasks of version 2025-11-25. */
const sdk1 = (url: string, answer?: (params: unknown) => Fields, headers: Readonly<Record<string, string>> = {}) =>
  Effect.acquireRelease(
    promise(async () => {
      const client = new Client1(
        { name: "test", version: "1.0.0" },
        { capabilities: answer === undefined ? {} : { elicitation: { form: {} } } }
      )
      if (answer !== undefined) {
        client.setRequestHandler(ElicitRequestSchema, ({ params }) => ({ action: "accept", ...answer(params) }))
      }
      await client.connect(new Http1(new URL(url), { requestInit: { headers } }) as Transport)
      return client
    }),
    (client) => promise(() => client.close())
  )

/** What becomes of a task, step by step. */
const driven = (client: Client1, name: string, how: string | Record<string, unknown>) =>
  promise(async () => {
    const seen: Array<string> = []
    const stream = client.experimental.tasks.callToolStream(
      { name, arguments: typeof how === "string" ? { how } : how },
      CallToolResultSchema,
      { task: { ttl: 30_000 } }
    )
    for await (const message of stream) {
      switch (message.type) {
        case "taskCreated":
          seen.push("created")
          break
        case "taskStatus":
          if (seen.at(-1) !== message.task.status) seen.push(message.task.status)
          break
        case "result":
          seen.push(JSON.stringify(message.result.content[0]))
          break
        case "error":
          seen.push(`error ${message.error.message}`)
      }
    }
    return seen
  })

const said = (text: string) => JSON.stringify({ type: "text", text })

const declaring = { "io.modelcontextprotocol/clientCapabilities": { extensions: { [extension]: {} }, elicitation: {} } }

/** A client of the stateless era that knows the extension: no SDK does. */
const statelessClient = (url: string, more: Readonly<Record<string, string>> = {}) => {
  const request = Effect.fnUntraced(function*(method: string, params: Fields, meta: Fields = declaring) {
    const name = params["taskId"] ?? params["name"]
    const headers = { ...modern(method, typeof name === "string" ? name : undefined), ...more }
    const message = { jsonrpc: "2.0", id: 1, method, params: { ...params, _meta: envelope(meta) } }
    const answer = yield* send(url, "POST", headers, JSON.stringify(message))
    const reply = answer.messages.at(-1)
    if (reply === undefined) return assert.fail(`HTTP ${answer.status}: ${answer.text}`)
    return reply
  })
  const result = (method: string, params: Fields, meta?: Fields) =>
    Effect.map(request(method, params, meta), ({ error, result }) => result ?? assert.fail(JSON.stringify(error)))
  /** Looks until it isn't working any more. */
  const settled = (taskId: unknown) =>
    result("tasks/get", { taskId }).pipe(
      Effect.repeat({ while: (task) => Effect.as(Effect.sleep(20), task["status"] === "working") }),
      Effect.timeout("10 seconds")
    )
  return { request, result, settled }
}

/** The ids of servers never reach clients. */
const hides = (figures: TaskServer["figures"], value: unknown) => {
  assert.isNotEmpty(figures.ids)
  for (const id of figures.ids) assert.notInclude(JSON.stringify(value), id)
}

/** Tasks of a client that are over once the server has looked at them. */
class Looked extends InMemoryTaskStore {
  override async getTask(taskId: string, sessionId?: string) {
    const task = await super.getTask(taskId, sessionId)
    if (task?.status === "working") {
      const result = { action: "accept" as const, content: { name: "eve" } }
      await this.storeTaskResult(taskId, "completed", result, sessionId)
    }
    return task === null ? null : { ...task }
  }
}

const support = (client: Client1) =>
  promise(async () => {
    const { tools } = await client.listTools()
    return Object.fromEntries(tools.map(({ execution, name }) => [name, execution?.taskSupport]))
  })

describe("clients of version 2025-11-25, servers of the handshake era", () => {
  it.live("run tasks to their end", () =>
    Effect.gen(function*() {
      const old = handshakeTasks()
      const client = yield* sdk1(yield* gateway({ old }))
      const tasks = { list: {}, cancel: {}, requests: { tools: { call: {} } } }
      assert.deepStrictEqual(client.getServerCapabilities()?.tasks, tasks)
      assert.deepStrictEqual(yield* support(client), {
        old__borrow: "forbidden",
        old__research: "required",
        old__maybe: "optional",
        old__plain: "forbidden"
      })
      assert.deepStrictEqual(yield* driven(client, "old__research", "run"), ["created", "completed", said("done")])
      assert.deepStrictEqual(yield* driven(client, "old__maybe", "run"), ["created", "completed", said("done")])
      assert.deepStrictEqual((yield* driven(client, "old__research", "fail")).slice(0, 2), ["created", "failed"])
      assert.strictEqual(old.figures.calls, 3)
    }), 30_000)

  it.live("answer what the server asks for a task", () =>
    Effect.gen(function*() {
      const old = handshakeTasks()
      const asked: Array<unknown> = []
      const client = yield* sdk1(yield* gateway({ old }), (params) => {
        asked.push(params)
        return { content: { name: "ann" } }
      })
      yield* support(client)
      assert.deepStrictEqual(yield* driven(client, "old__research", "ask"), [
        "created",
        "input_required",
        said("accept ann")
      ])
      assert.lengthOf(asked, 1)
      assert.nestedInclude(asked[0], { message: "Who?" })
      const { tasks: [task] } = yield* promise(() => client.experimental.tasks.listTasks())
      const related = { "io.modelcontextprotocol/related-task": { taskId: task?.taskId } }
      assert.deepInclude(asked[0], { _meta: related })
      const result = yield* promise(() =>
        client.experimental.tasks.getTaskResult(task?.taskId ?? "", CallToolResultSchema)
      )
      assert.deepInclude(result._meta, related)
      hides(old.figures, [asked, task, result])
    }), 30_000)

  it.live("list, cancel and find their tasks, and nobody else's", () =>
    Effect.gen(function*() {
      const old = handshakeTasks()
      const url = yield* gateway({ old })
      const client = yield* sdk1(url)
      const other = yield* sdk1(url)
      const { tasks } = client.experimental
      const { task } = yield* promise(() =>
        client.request({
          method: "tools/call",
          params: { name: "old__research", arguments: { how: "wait" }, task: { ttl: 5_000 } }
        }, CreateTaskResultSchema)
      )
      assert.include(task, { status: "working", pollInterval: 20 })
      assert.deepStrictEqual((yield* promise(() => tasks.listTasks())).tasks.map(({ taskId }) => taskId), [task.taskId])
      assert.deepStrictEqual((yield* promise(() => other.experimental.tasks.listTasks())).tasks, [])
      assert.include(yield* promise(() => tasks.getTask(task.taskId)), { taskId: task.taskId, status: "working" })
      assert.include(yield* promise(() => tasks.cancelTask(task.taskId)), { taskId: task.taskId, status: "cancelled" })
      const again = yield* promise(() => tasks.cancelTask(task.taskId).catch((error: Error) => error.message))
      assert.include(again, "Cannot cancel task in terminal status")
      for (const id of ["nonsense", `${task.taskId}x`]) {
        const message = yield* promise(() => tasks.getTask(id).catch((error: Error) => error.message))
        assert.include(message, "MCP error -32602: Failed to retrieve task: Task not found")
      }
      hides(old.figures, task)
    }), 30_000)

  it.live("call tools as tasks only where these are", () =>
    Effect.gen(function*() {
      const old = handshakeTasks()
      const client = yield* sdk1(yield* gateway({ old }))
      const call = (name: string, more: Fields) =>
        promise(() =>
          client.request({ method: "tools/call", params: { name, arguments: {}, ...more } }, z.looseObject({}))
            .then(JSON.stringify, (error: Error) => error.message)
        )
      assert.include(yield* call("old__plain", { task: {} }), "-32601: old__plain does not run as a task")
      assert.include(yield* call("old__research", {}), "-32601: old__research runs as a task only")
      assert.include(yield* call("old__plain", {}), "plain")
      assert.strictEqual(old.figures.calls, 0)
    }), 30_000)

  it.live("run tasks for servers themselves", () =>
    Effect.gen(function*() {
      const url = yield* gateway({ old: handshakeTasks() })
      const client = new Client1({ name: "test", version: "1.0.0" }, {
        capabilities: { elicitation: { form: {} }, tasks: { requests: { elicitation: { create: {} } } } },
        taskStore: new Looked()
      })
      client.setRequestHandler(ElicitRequestSchema, async (_, { taskRequestedTtl, taskStore }) => {
        if (taskStore === undefined) return { action: "cancel" }
        const task = await taskStore.createTask({ ttl: taskRequestedTtl ?? null, pollInterval: 20 })
        return { task }
      })
      yield* Effect.acquireRelease(
        promise(() => client.connect(new Http1(new URL(url)) as Transport)),
        () => promise(() => client.close())
      )
      const { content } = yield* promise(() => client.callTool({ name: "old__borrow", arguments: {} }))
      const text = JSON.stringify(content)
      assert.match(text, /working.*completed, accept eve/)
    }), 30_000)

  it.live("hear of their tasks what the server tells by itself", () =>
    Effect.gen(function*() {
      const old = handshakeTasks()
      const url = yield* gateway({ old })
      for (const client of [yield* sdk1(url), yield* sdk1(url, () => ({ content: {} }))]) {
        const told: Array<Fields> = []
        client.setNotificationHandler(TaskStatusNotificationSchema, ({ params }) => void told.push(params))
        const ids = new Set<unknown>()
        // Once the streams are open on which servers tell of themselves.
        const once = Effect.gen(function*() {
          const params = { name: "old__research", arguments: { how: "later" }, task: {} }
          const { task } = yield* promise(() =>
            client.request({ method: "tools/call", params }, CreateTaskResultSchema)
          )
          ids.add(task.taskId)
          old.finish()
          yield* Effect.sleep(50)
        })
        yield* Effect.repeat(once, { until: () => told.length > 0 }).pipe(Effect.timeout("15 seconds"))
        assert.deepInclude(told[0], { status: "completed" })
        assert.include(Array.from(ids), told[0]?.["taskId"])
        hides(old.figures, told)
      }
    }), 30_000)
})

describe("progress of a call", () => {
  it.live("reaches its client after the call has become a task", () =>
    Effect.gen(function*() {
      const old = handshakeTasks()
      const client = yield* sdk1(yield* gateway({ old }))
      const told: Array<unknown> = []
      client.setNotificationHandler(ProgressNotificationSchema, ({ params }) => void told.push(params))
      // Once the client's stream is open.
      const once = Effect.gen(function*() {
        const _meta = { progressToken: "mine" }
        const params = { name: "old__research", arguments: { how: "report" }, task: {}, _meta }
        const { task } = yield* promise(() => client.request({ method: "tools/call", params }, CreateTaskResultSchema))
        yield* promise(() => client.experimental.tasks.getTaskResult(task.taskId, CallToolResultSchema))
        yield* Effect.sleep(50)
      })
      yield* Effect.repeat(once, { until: () => told.length > 0 }).pipe(Effect.timeout("15 seconds"))
      assert.deepInclude(told[0], { progressToken: "mine", progress: 1 })
      hides(old.figures, told)
    }), 30_000)
})

describe("calls without a task, of tools of servers of the stateless era that run as tasks only", () => {
  const call = (client: Client1, how: string, options: { onprogress?: () => void; signal?: AbortSignal } = {}) =>
    promise(() =>
      client.callTool({ name: "fresh__research", arguments: { how, insist: true } }, undefined, options)
        .then(({ content, isError }) => JSON.stringify([content, isError === true]), (error: Error) => error.message)
    )

  it.live("are answered once the task is over", () =>
    Effect.gen(function*() {
      const fresh = statelessTasks()
      const asked: Array<unknown> = []
      const client = yield* sdk1(yield* gateway({ fresh }), (params) => {
        asked.push(params)
        return { content: { name: "bob" } }
      })
      let heard = 0
      const done = yield* call(client, "run", { onprogress: () => void heard++ })
      assert.strictEqual(done, `[[${said("done")}],false]`)
      assert.isAbove(heard, 0)
      assert.strictEqual(yield* call(client, "now"), `[[${said("at once")}],false]`)
      assert.strictEqual(yield* call(client, "fail"), `[[${said("it failed")}],true]`)
      assert.include(yield* call(client, "error"), "-32603: it broke")
      assert.strictEqual(yield* call(client, "ask"), `[[${said("accept bob")}],false]`)
      assert.lengthOf(asked, 1)
      // It knows of no task.
      assert.notProperty(asked[0], "_meta")
      assert.deepStrictEqual((yield* promise(() => client.experimental.tasks.listTasks())).tasks, [])
      assert.deepInclude(fresh.figures, { calls: 5, cancelled: 0 })
    }), 30_000)

  it.live("cancel the task when their client cancels them, or doesn't answer it", () =>
    Effect.gen(function*() {
      const fresh = statelessTasks()
      const url = yield* gateway({ fresh })
      const client = yield* sdk1(url)
      const gone = new AbortController()
      const onprogress = () => gone.abort()
      yield* call(client, "wait", { onprogress, signal: gone.signal })
      yield* eventually("its end", () => fresh.figures.cancelled === 1 || undefined)
      assert.include(yield* call(client, "ask"), "elicitation")
      yield* eventually("its end", () => fresh.figures.cancelled === 2 || undefined)
    }), 30_000)

  it.live("of clients of the stateless era are told what they lack", () =>
    Effect.gen(function*() {
      const { request } = statelessClient(yield* gateway({ fresh: statelessTasks() }))
      const params = { name: "fresh__research", arguments: { insist: true } }
      const { error } = yield* request("tools/call", params, {})
      assert.deepInclude(error, { code: -32021, data: { requiredCapabilities: { extensions: { [extension]: {} } } } })
    }), 30_000)
})

describe("tools of servers of the handshake era that run as tasks only", () => {
  /** A client of a version without tasks. */
  const earlier = Effect.fnUntraced(function*(url: string, answer?: Fields) {
    const headers = { ...both, "mcp-protocol-version": "2025-06-18" }
    const post = (message: Fields, more = {}) =>
      openRequest(url, "POST", { ...headers, ...more }, JSON.stringify({ jsonrpc: "2.0", ...message }))
    const params = {
      protocolVersion: "2025-06-18",
      clientInfo: { name: "test", version: "1" },
      capabilities: answer === undefined ? {} : { elicitation: {} }
    }
    const begun = yield* post({ id: 0, method: "initialize", params })
    const session = { "mcp-session-id": begun.headers["mcp-session-id"] ?? "" }
    let id = 0
    /** Answers what it is asked meanwhile; gives everything that came. */
    const request = Effect.fnUntraced(function*(method: string, params: Fields = {}) {
      const own = ++id
      const stream = yield* Effect.acquireRelease(
        post({ id: own, method, params }, session),
        ({ close }) => Effect.sync(close)
      )
      const messages = () =>
        stream.ended() ? messagesOf(stream.headers["content-type"], stream.text()) : stream.messages()
      if (answer !== undefined && method === "tools/call") {
        const asks = () => messages().find(({ id, method }) => method !== undefined && id !== undefined)
        const asked = yield* eventually("a question", asks)
        yield* post({ id: asked.id, result: answer }, session)
      }
      const reply = yield* eventually("a reply", () => messages().find(({ id }) => id === own))
      return { messages: messages(), reply }
    }, Effect.scoped)
    return { post: (message: Fields) => post(message, session), request }
  })

  it.live("are called by clients of versions without tasks as any other", () =>
    Effect.gen(function*() {
      const old = handshakeTasks()
      const { request } = yield* earlier(yield* gateway({ old }))
      assert.strictEqual((yield* request("tasks/get", { taskId: "t" })).reply.error?.code, -32601)
      const { reply } = yield* request("tools/list")
      const tools = JSON.stringify(reply.result)
      assert.include(tools, "old__research")
      assert.notInclude(tools, "taskSupport")
      const call = (how: string, more: Fields = {}) =>
        request("tools/call", { name: "old__research", arguments: { how }, ...more })
      assert.deepInclude((yield* call("run")).reply.result, { content: [{ type: "text", text: "done" }] })
      assert.deepInclude((yield* call("fail")).reply.result, { isError: true })
      const later = yield* Effect.forkChild(call("later", { _meta: { progressToken: "p" } }))
      yield* eventually(
        "looks",
        () => old.figures.methods.filter((name) => name === "tasks/get").length > 2 || undefined
      )
      old.finish()
      const { messages, reply: last } = yield* Fiber.join(later)
      assert.deepInclude(last.result, { content: [{ type: "text", text: "done" }] })
      const progress = messages.filter(({ method }) => method === "notifications/progress")
      const values = progress.map(({ params }) => Number(params?.["progress"]))
      assert.isNotEmpty(values)
      // What the server itself says of it may still be heard.
      assert.deepStrictEqual(values, values.toSorted((one, other) => one - other).filter((value) => value < 1))
      assert.deepNestedInclude(progress[0], { "params.progressToken": "p" })
      hides(old.figures, [messages, last])
    }), 30_000)

  it.live("ask these clients", () =>
    Effect.gen(function*() {
      const old = handshakeTasks()
      const { request } = yield* earlier(yield* gateway({ old }), { action: "accept", content: { name: "flo" } })
      const { messages, reply } = yield* request("tools/call", { name: "old__research", arguments: { how: "ask" } })
      assert.deepInclude(reply.result, { content: [{ type: "text", text: "accept flo" }] })
      hides(old.figures, messages)
    }), 30_000)

  it.live("are cancelled with their calls", () =>
    Effect.gen(function*() {
      const old = handshakeTasks()
      const { post, request } = yield* earlier(yield* gateway({ old }))
      const call = yield* Effect.forkChild(request("tools/call", { name: "old__research", arguments: { how: "wait" } }))
      yield* eventually("its task", () => old.figures.methods.includes("tasks/result") || undefined)
      yield* post({ method: "notifications/cancelled", params: { requestId: 1 } })
      yield* eventually("its end", () => old.figures.methods.includes("tasks/cancel") || undefined)
      yield* Fiber.interrupt(call)
    }), 30_000)
})

describe("clients of version 2025-11-25, servers of the stateless era", () => {
  it.live("run tasks to their end", () =>
    Effect.gen(function*() {
      const fresh = statelessTasks()
      const client = yield* sdk1(yield* gateway({ fresh }))
      assert.deepStrictEqual(yield* support(client), { fresh__research: "optional" })
      assert.deepStrictEqual(yield* driven(client, "fresh__research", "run"), [
        "created",
        "working",
        "completed",
        said("done")
      ])
      for (const how of ["error", "fail"]) {
        const seen = yield* driven(client, "fresh__research", how)
        assert.deepStrictEqual(seen.slice(0, 3), ["created", "working", "failed"])
      }
      // Without `task` the server is not told of the extension.
      const result = yield* promise(() => client.callTool({ name: "fresh__research", arguments: {} }))
      assert.deepInclude(result, { content: [{ type: "text", text: "at once" }] })
    }), 30_000)

  it.live("answer what the server asks for a task", () =>
    Effect.gen(function*() {
      const fresh = statelessTasks()
      const asked: Array<unknown> = []
      const client = yield* sdk1(yield* gateway({ fresh }), (params) => {
        asked.push(params)
        return { content: { name: "bob" } }
      })
      yield* support(client)
      assert.deepStrictEqual(yield* driven(client, "fresh__research", "ask"), [
        "created",
        "working",
        "input_required",
        said("accept bob")
      ])
      assert.lengthOf(asked, 1)
      hides(fresh.figures, asked)
    }), 30_000)

  it.live("get the result and the errors of tasks that are over", () =>
    Effect.gen(function*() {
      const fresh = statelessTasks()
      const client = yield* sdk1(yield* gateway({ fresh }))
      const { tasks } = client.experimental
      const create = (how: string) =>
        Effect.map(
          promise(() =>
            client.request({
              method: "tools/call",
              params: { name: "fresh__research", arguments: { how }, task: { ttl: 90_000 } }
            }, CreateTaskResultSchema)
          ),
          ({ task }) => task
        )
      const result = (id: string) =>
        promise(() =>
          tasks.getTaskResult(id, CallToolResultSchema)
            .then(({ content }) => JSON.stringify(content[0]), (error: Error) => error.message)
        )
      assert.strictEqual(yield* result((yield* create("run")).taskId), said("done"))
      assert.include(yield* result((yield* create("error")).taskId), "-32603: it broke")
      // The server answers at once: the gateway keeps the task.
      const now = yield* create("now")
      assert.include(now, { status: "completed", ttl: 90_000 })
      assert.include(yield* promise(() => tasks.getTask(now.taskId)), { status: "completed" })
      assert.strictEqual(yield* result(now.taskId), said("at once"))
      const waits = yield* create("wait")
      assert.include(yield* promise(() => tasks.cancelTask(waits.taskId)), { status: "cancelled" })
      assert.include(yield* result(waits.taskId), "The task was cancelled")
      assert.strictEqual(fresh.figures.cancelled, 1)
      const listed = yield* promise(() => tasks.listTasks())
      assert.deepStrictEqual(listed.tasks.map(({ status }) => status), [
        "completed",
        "failed",
        "completed",
        "cancelled"
      ])
    }), 30_000)
})

describe("clients of the stateless era, servers of the stateless era", () => {
  it.live("run tasks at the instance that began them", () =>
    Effect.gen(function*() {
      const servers = { "fresh-1": statelessTasks(), "fresh-2": statelessTasks() }
      const { request, result, settled } = statelessClient(yield* gateway(servers))
      const discovered = yield* result("server/discover", {})
      assert.deepNestedInclude(discovered, { [`capabilities.extensions.${extension.replaceAll(".", "\\.")}`]: {} })
      const created: Array<Fields> = []
      for (let i = 0; i < 8; i++) {
        const task = yield* result("tools/call", { name: "fresh__research", arguments: { how: "run" } })
        assert.include(task, { resultType: "task", status: "working", ttlMs: 60_000, pollIntervalMs: 50 })
        assert.isUndefined(task["task"])
        created.push(task)
      }
      for (const { figures } of Object.values(servers)) hides(figures, created)
      for (const { taskId } of created) {
        const task = yield* settled(taskId)
        assert.deepInclude(task, { taskId, status: "completed", resultType: "complete" })
        assert.nestedInclude(task, { "result.content[0].text": "done" })
      }
      const waits = yield* result("tools/call", { name: "fresh__research", arguments: { how: "wait" } })
      const { taskId } = waits
      assert.deepInclude(yield* result("tasks/cancel", { taskId }), { resultType: "complete" })
      assert.include(yield* result("tasks/get", { taskId }), { status: "cancelled" })
      for (const method of ["tasks/get", "tasks/update", "tasks/cancel"]) {
        const { error } = yield* request(method, { taskId: "nonsense", inputResponses: {} })
        assert.strictEqual(error?.code, -32602)
        const undeclared = yield* request(method, { taskId, inputResponses: {} }, {})
        assert.strictEqual(undeclared.error?.code, -32021)
        const required = { extensions: { [extension]: {} } }
        assert.deepStrictEqual(undeclared.error?.data, { requiredCapabilities: required })
      }
      for (const method of ["tasks/result", "tasks/list"]) {
        assert.strictEqual((yield* request(method, { taskId })).error?.code, -32601)
      }
    }), 30_000)

  it.live("give input to tasks", () =>
    Effect.gen(function*() {
      const fresh = statelessTasks()
      const { result, settled } = statelessClient(yield* gateway({ fresh }))
      const { taskId } = yield* result("tools/call", { name: "fresh__research", arguments: { how: "ask" } })
      const asks = yield* settled(taskId)
      assert.deepInclude(asks, {
        status: "input_required",
        inputRequests: { who: { method: "elicitation/create", params: question } }
      })
      const inputResponses = { who: { action: "accept", content: { name: "cem" } } }
      assert.include(yield* result("tasks/update", { taskId, inputResponses }), { resultType: "complete" })
      const task = yield* settled(taskId)
      assert.nestedInclude(task, { status: "completed", "result.content[0].text": "accept cem" })
    }), 30_000)

  it.live("find their tasks at every gateway with the key", () =>
    Effect.gen(function*() {
      const fresh = statelessTasks()
      const options = { sessionKey: Redacted.make("a key of several gateways") }
      const one = statelessClient(yield* gateway({ fresh }, options))
      const other = statelessClient(yield* gateway({ fresh }, options))
      const { taskId } = yield* one.result("tools/call", { name: "fresh__research", arguments: {} })
      assert.nestedInclude(yield* other.settled(taskId), { taskId, "result.content[0].text": "done" })
      const stranger = statelessClient(yield* gateway({ fresh }))
      assert.strictEqual((yield* stranger.request("tasks/get", { taskId })).error?.code, -32602)
    }), 30_000)

  it.live("don't find the tasks of others", () =>
    Effect.gen(function*() {
      const fresh = statelessTasks()
      const url = yield* gateway({ fresh }, { principal: ({ headers }) => String(headers["x-who"]) })
      const ann = statelessClient(url, { "x-who": "ann" })
      const bob = statelessClient(url, { "x-who": "bob" })
      const { taskId } = yield* ann.result("tools/call", { name: "fresh__research", arguments: {} })
      assert.include(yield* ann.result("tasks/get", { taskId }), { taskId })
      for (const method of ["tasks/get", "tasks/update", "tasks/cancel"]) {
        assert.strictEqual((yield* bob.request(method, { taskId, inputResponses: {} })).error?.code, -32602)
      }
      // Nor those that the gateway keeps.
      const params = { name: "fresh__research", arguments: { how: "now" }, task: {} }
      const old = yield* sdk1(url, undefined, { "x-who": "ann" })
      const { task } = yield* promise(() => old.request({ method: "tools/call", params }, CreateTaskResultSchema))
      const find = (who: string) =>
        Effect.flatMap(sdk1(url, undefined, { "x-who": who }), (client) =>
          promise(() =>
            client.experimental.tasks.getTask(task.taskId).then(({ status }) =>
              status, (error: Error) => error.message)
          ))
      assert.strictEqual(yield* find("ann"), "completed")
      assert.include(yield* find("bob"), "-32602")
    }), 30_000)
})

describe("clients of the stateless era, servers of the handshake era", () => {
  it.live("run tasks to their end", () =>
    Effect.gen(function*() {
      const old = handshakeTasks()
      const { request, result, settled } = statelessClient(yield* gateway({ old }))
      const call = (how: string) => result("tools/call", { name: "old__research", arguments: { how } })
      const created = yield* call("run")
      assert.include(created, { resultType: "task", ttlMs: 60_000, pollIntervalMs: 20 })
      hides(old.figures, created)
      const task = yield* settled(created["taskId"])
      assert.nestedInclude(task, { status: "completed", "result.content[0].text": "done", ttlMs: 60_000 })
      hides(old.figures, task)
      // A failed call is the result of a completed task here.
      const failed = yield* settled((yield* call("fail"))["taskId"])
      assert.nestedInclude(failed, { status: "completed", "result.isError": true })
      const { taskId } = yield* call("wait")
      assert.include(yield* result("tasks/cancel", { taskId }), { resultType: "complete" })
      assert.include(yield* result("tasks/get", { taskId }), { status: "cancelled" })
      // A second time is no error in the extension.
      assert.include(yield* result("tasks/cancel", { taskId }), { resultType: "complete" })
      const undeclared = yield* request("tools/call", { name: "old__research", arguments: {} }, {})
      assert.strictEqual(undeclared.error?.code, -32021)
      assert.strictEqual(old.figures.calls, 3)
    }), 30_000)

  it.live("give input to tasks", () =>
    Effect.gen(function*() {
      const old = handshakeTasks()
      const { result, settled } = statelessClient(yield* gateway({ old }))
      const { taskId } = yield* result("tools/call", { name: "old__research", arguments: { how: "ask" } })
      const asks = yield* settled(taskId)
      assert.include(asks, { taskId, status: "input_required", statusMessage: "I need a name" })
      const [key, ...others] = Object.keys(Object(asks["inputRequests"]))
      assert.isEmpty(others)
      assert.deepStrictEqual(Object(asks["inputRequests"])[key ?? ""], {
        method: "elicitation/create",
        params: question
      })
      // The same question until it is answered.
      assert.deepStrictEqual((yield* result("tasks/get", { taskId }))["inputRequests"], asks["inputRequests"])
      yield* result("tasks/update", { taskId, inputResponses: { unknown: {} } })
      assert.deepStrictEqual((yield* result("tasks/get", { taskId }))["inputRequests"], asks["inputRequests"])
      const inputResponses = { [key ?? ""]: { action: "accept", content: { name: "dua" } } }
      yield* result("tasks/update", { taskId, inputResponses })
      const task = yield* settled(taskId)
      assert.nestedInclude(task, { status: "completed", "result.content[0].text": "accept dua" })
      hides(old.figures, [asks, task])
    }), 30_000)
})

describe("the reference server, over a pipe", () => {
  it.live("runs its task for clients of both eras, and asks them", () =>
    Effect.gen(function*() {
      const url = yield* gateway({}, {}, [ServiceInstance.make({
        id: "everything",
        service: "everything",
        endpoint: {
          transport: "stdio",
          command: process.execPath,
          args: [fileURLToPath(import.meta.resolve("@modelcontextprotocol/server-everything/dist/index.js"))]
        }
      })])
      const name = "everything__simulate-research-query"
      const args = { topic: "python", ambiguous: true }
      // Its process begins in its own time.
      yield* statelessClient(url).result("tools/list", {}).pipe(
        Effect.repeat({ until: (list) => Effect.as(Effect.sleep(50), JSON.stringify(list).includes(name)) }),
        Effect.timeout("20 seconds")
      )
      const ofOld = Effect.gen(function*() {
        const client = yield* sdk1(url, () => ({ content: { interpretation: "snake" } }))
        assert.strictEqual((yield* support(client))[name], "required")
        const seen = yield* driven(client, name, args)
        assert.deepStrictEqual(seen.slice(0, 3), ["created", "working", "input_required"])
        assert.include(seen.at(-1), "Research Report: python (snake)")
      })
      const ofNew = Effect.gen(function*() {
        const { result, settled } = statelessClient(url)
        const { taskId } = yield* result("tools/call", { name, arguments: args })
        // Another task of the same kind of client goes on meanwhile.
        const other = yield* result("tools/call", { name, arguments: { topic: "java" } })
        const asks = yield* settled(taskId)
        const [key, ...others] = Object.keys(Object(asks["inputRequests"]))
        assert.isEmpty(others)
        assert.include(JSON.stringify(asks["inputRequests"]), "python")
        const answer = { action: "accept", content: { interpretation: "comedy" } }
        yield* result("tasks/update", { taskId, inputResponses: { [key ?? ""]: answer } })
        const text = (yield* settled(taskId))["result"]
        assert.include(JSON.stringify(text), "Research Report: python (comedy)")
        assert.include(JSON.stringify((yield* settled(other["taskId"]))["result"]), "Research Report: java")
      })
      yield* Effect.all([ofOld, ofNew], { concurrency: "unbounded" })
    }), 40_000)
})

describe("notifications/tasks", () => {
  it.live("tell of the tasks that a stream names, whatever their servers are", () =>
    Effect.gen(function*() {
      const old = handshakeTasks()
      const url = yield* gateway({ old, fresh: statelessTasks() })
      const { request, result } = statelessClient(url)
      const ids: Array<unknown> = []
      for (const [service, how] of [["old", "later"], ["old", "ask"], ["fresh", "run"], ["fresh", "ask"]] as const) {
        ids.push((yield* result("tools/call", { name: `${service}__research`, arguments: { how } }))["taskId"])
      }
      const listen = (taskIds: unknown, meta: Fields) =>
        JSON.stringify({
          jsonrpc: "2.0",
          id: 7,
          method: "subscriptions/listen",
          params: { notifications: { taskIds }, _meta: envelope(meta) }
        })
      const stream = yield* Effect.acquireRelease(
        openRequest(url, "POST", modern("subscriptions/listen"), listen([...ids, "nonsense"], declaring)),
        ({ close }) => Effect.sync(close)
      )
      const told = (id: unknown) => {
        const seen: Array<string> = []
        for (const { method, params = {} } of stream.messages()) {
          if (method !== "notifications/tasks" || params["taskId"] !== id) continue
          assert.deepInclude(params["_meta"], { "io.modelcontextprotocol/subscriptionId": 7 })
          assert.notProperty(params, "resultType")
          seen.push(`${String(params["status"])} ${params["result"] === undefined ? 0 : 1}`)
        }
        return seen
      }
      const [later, oldAsks, run, freshAsks] = ids
      yield* eventually("its beginning", () => told(later).length > 0 || undefined)
      old.finish()
      yield* eventually("the ends", () => [later, run].every((id) => told(id).at(-1) === "completed 1") || undefined)
      const asks = (id: unknown) => told(id).at(-1) === "input_required 0"
      yield* eventually("the questions", () => [oldAsks, freshAsks].every(asks) || undefined)
      assert.deepNestedInclude(stream.messages()[0], {
        method: "notifications/subscriptions/acknowledged",
        "params.notifications": { taskIds: ids }
      })
      for (const id of ids) assert.strictEqual(new Set(told(id)).size, told(id).length)
      const undeclared = yield* send(url, "POST", modern("subscriptions/listen"), listen(ids, {}))
      assert.strictEqual(undeclared.messages[0]?.error?.code, -32021)
      for (const wrong of ["x", [1], Array.from({ length: 101 }, (_, index) => String(index))]) {
        const refused = yield* send(url, "POST", modern("subscriptions/listen"), listen(wrong, declaring))
        assert.strictEqual(refused.messages[0]?.error?.code, -32602)
      }
      assert.strictEqual((yield* request("tasks/get", { taskId: later })).result?.["status"], "completed")
    }), 30_000)
})
