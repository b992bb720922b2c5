/**
 * The methods of tasks in the four pairings of eras.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import { Code, type Fields, isFields, type JsonRpcErrorObject, type Reply } from "../JsonRpc.ts"
import type { Client, Exchange } from "./Exchange.ts"
import * as KeptTasks from "./KeptTasks.ts"
import * as Meta from "./Meta.ts"
import type { TaskCallers } from "./TaskCallers.ts"
import * as TaskIds from "./TaskIds.ts"
import type { TaskOwners } from "./TaskOwners.ts"
import type { TaskQuestions } from "./TaskQuestions.ts"
import * as TaskResults from "./TaskResults.ts"
import type { TaskRounds } from "./TaskRounds.ts"
import type { Task, TaskServers } from "./TaskServers.ts"
import * as TaskShape from "./TaskShape.ts"

/**
 * Answers a method, as the era of its client has it; fails with the error of the reply.
 *
 * @category models
 * @since 0.2.0
 */
export type TaskMethod = (params: Fields, exchange: Exchange) => Effect.Effect<Fields, JsonRpcErrorObject>

/**
 * The methods. `result` and `list` are those of the handshake era, `update` is of the stateless era.
 *
 * @category models
 * @since 0.2.0
 */
export interface TaskMethods {
  readonly get: TaskMethod
  readonly result: TaskMethod
  readonly update: TaskMethod
  readonly cancel: TaskMethod
  readonly list: TaskMethod
}

/**
 * What they are made of.
 *
 * @category models
 * @since 0.2.0
 */
export interface TaskMethodsOptions {
  readonly callers: TaskCallers
  readonly kept: KeptTasks.KeptTasks
  /** Epoch ms. */
  readonly now: () => number
  readonly owners: TaskOwners
  readonly questions: TaskQuestions
  readonly results: ReturnType<typeof TaskResults.make>
  readonly rounds: TaskRounds
  readonly servers: TaskServers
}

/** Tasks in one page of a list. */
const PageSize = 50

/**
 * Makes them.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  { callers, kept, now, owners, questions, results, rounds, servers }: TaskMethodsOptions
): TaskMethods => {
  /** The server's own words in the era of the client. */
  const passed = ({ id }: Task, reply: Reply): Effect.Effect<Fields, JsonRpcErrorObject> => {
    if ("error" in reply) return Effect.fail(reply.error)
    const result = Meta.onward(reply.result)
    return Effect.succeed(TaskShape.idOf(result) === undefined ? result : { ...result, taskId: id })
  }

  const find = (method: string, params: Fields, client: Client) =>
    Effect.tap(servers.find(method, params, client), (task) =>
      Effect.sync(() => {
        if (!("kept" in task) && task.profile.era === "handshake") callers.seen(client, task.id)
        if (client.era === "stateless") return
        if ("kept" in task) owners.note(client, task.id, undefined, task.id)
        else owners.note(client, task.id, TaskIds.instanceOf(task.server), task.server.id)
      }))

  /** What a kept task is to a client of the extension. */
  const keptTask = (id: string, { reply, task }: KeptTasks.KeptTask): Fields => {
    const shown = TaskShape.toStateless(task, id)
    return task["status"] === "cancelled" ? shown : TaskShape.concluded(shown, reply)
  }

  const get: TaskMethod = (params, exchange) =>
    Effect.flatMap(find("tasks/get", params, exchange.client), (task) => {
      const { client } = exchange
      if ("kept" in task) {
        return Effect.succeed(client.era === "stateless" ? keptTask(task.id, task.kept) : task.kept.task)
      }
      if (task.profile.era === client.era) {
        return Effect.flatMap(servers.send(task, "tasks/get", params, client), (reply) => passed(task, reply))
      }
      return client.era === "stateless"
        ? questions.get(task, params, exchange)
        : Effect.map(rounds.look(task, params, exchange), (state) => TaskShape.toHandshake(state, task.id))
    })

  const result: TaskMethod = (params, exchange) =>
    Effect.flatMap(
      find("tasks/result", params, exchange.client),
      (task) => "kept" in task ? TaskResults.kept(task.id, task.kept.reply) : results(task, params, exchange)
    )

  const update: TaskMethod = (params, { client }) =>
    Effect.flatMap(find("tasks/update", params, client), (task) => {
      // It wants nothing any more.
      if ("kept" in task) return Effect.succeed({})
      return task.profile.era === "handshake"
        ? Effect.as(questions.update(task, params, client), {})
        : Effect.flatMap(servers.send(task, "tasks/update", params, client), (reply) => passed(task, reply))
    })

  /** The version 2025-11-25 has a task cancelled at once, and for good; a server of the stateless era takes its time. */
  const cancelled = (task: Task, state: Fields): Fields => {
    const shown = TaskShape.toHandshake(state, task.id)
    if (TaskShape.isOver(state)) return shown
    const over = { ...shown, status: "cancelled", lastUpdatedAt: new Date(now()).toISOString() }
    kept.keep(task.id, { task: over, reply: { error: TaskResults.cancelled } }, KeptTasks.timeOf(shown["ttl"]))
    return over
  }

  const isOver = ({ status }: Fields): JsonRpcErrorObject => ({
    code: Code.invalidParams,
    message: `Cannot cancel task: already in terminal status '${String(status)}'`
  })

  const cancel: TaskMethod = (params, exchange) =>
    Effect.flatMap(find("tasks/cancel", params, exchange.client), (task) => {
      const { client } = exchange
      if (client.era === "stateless") {
        if ("kept" in task) return Effect.succeed({})
        return task.profile.era === "handshake"
          ? Effect.as(questions.cancel(task, params, client), {})
          : Effect.flatMap(servers.send(task, "tasks/cancel", params, client), (reply) => passed(task, reply))
      }
      if ("kept" in task) return Effect.fail(isOver(task.kept.task))
      if (task.profile.era === "handshake") {
        return Effect.flatMap(
          servers.send(task, "tasks/cancel", params, client),
          (reply) => passed(task, reply)
        )
      }
      return Effect.flatMap(rounds.look(task, {}, exchange), (state) =>
        TaskShape.isOver(state)
          ? Effect.fail(isOver(TaskShape.toHandshake(state, task.id)))
          : Effect.map(rounds.cancel(task, params, exchange), (state) => cancelled(task, state)))
    })

  const list: TaskMethod = ({ cursor }, exchange) =>
    Effect.suspend(() => {
      const all = owners.of(exchange.client)
      const after = cursor === undefined ? -1 : all.findIndex((id) => id === cursor)
      if (cursor !== undefined && after < 0) {
        return Effect.fail({ code: Code.invalidParams, message: "Invalid cursor: it is not one of this server's" })
      }
      const page = all.slice(after + 1, after + 1 + PageSize)
      const last = page.at(-1)
      const nextCursor = all.length > after + 1 + PageSize && last !== undefined ? { nextCursor: last } : undefined
      // One that its server doesn't know any more is none.
      return Effect.map(
        Effect.forEach(page, (taskId) => Effect.orElseSucceed(get({ taskId }, exchange), () => undefined), {
          concurrency: 8
        }),
        (tasks) => ({ tasks: tasks.filter(isFields), ...nextCursor })
      )
    })

  return { get, result, update, cancel, list }
}
