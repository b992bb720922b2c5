/**
 * Tasks that a server of the stateless era runs for clients of version 2025-11-25: the gateway looks at the task until it is
 * over, and asks the client what the server wants to know.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as TaskSupport from "../catalog/TaskSupport.ts"
import { Code, type Fields, isFields, type JsonRpcErrorObject } from "../JsonRpc.ts"
import type { Exchange } from "./Exchange.ts"
import * as TaskIds from "./TaskIds.ts"
import type { Task, TaskServers } from "./TaskServers.ts"
import * as TaskShape from "./TaskShape.ts"

/**
 * Looks at tasks. Each fails with the error that the client gets.
 *
 * @category models
 * @since 0.2.0
 */
export interface TaskRounds {
  /** The task as the server has it. */
  readonly look: (task: Task, params: Fields, exchange: Exchange) => Effect.Effect<Fields, JsonRpcErrorObject>
  /** The task once it is over; the client is asked meanwhile. */
  readonly conclude: (task: Task, params: Fields, exchange: Exchange) => Effect.Effect<Fields, JsonRpcErrorObject>
  /** Asks the server to cancel it; gives what came of that, within a moment. */
  readonly cancel: (task: Task, params: Fields, exchange: Exchange) => Effect.Effect<Fields, JsonRpcErrorObject>
}

/** ms between two looks: where the server doesn't say, and what it may say. */
const DefaultPause = 1_000
const ShortestPause = 50
const LongestPause = 30_000
/** Looks whether a task was cancelled, and the ms between them. */
const CancelLooks = 5
const CancelPause = 100

/**
 * What a server is told that a client can do that wants a task of it.
 *
 * @category combinators
 * @since 0.2.0
 */
export const capabilities = (declared: Fields): Fields => {
  // Those of version 2025-11-25 say something else.
  const { extensions, tasks: _tasks, ...rest } = declared
  return { ...rest, extensions: { ...(isFields(extensions) ? extensions : undefined), [TaskSupport.extension]: {} } }
}

const pauseOf = ({ pollIntervalMs }: Fields): number =>
  typeof pollIntervalMs === "number" && pollIntervalMs >= 0
    ? Math.min(Math.max(pollIntervalMs, ShortestPause), LongestPause)
    : DefaultPause

/**
 * Makes it.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (servers: TaskServers): TaskRounds => {
  /** Questions that a client is being asked: it may wait for one result twice. */
  const asking = new Set<string>()

  const send = (task: Task, method: string, params: Fields, { client }: Exchange) =>
    Effect.flatMap(
      servers.send(task, method, params, client, { capabilities: capabilities(client.caller.capabilities) }),
      (reply) => "error" in reply ? Effect.fail(reply.error) : Effect.succeed(reply.result)
    )

  const look: TaskRounds["look"] = (task, params, exchange) => send(task, "tasks/get", params, exchange)

  const ask = (task: Task, request: unknown, { ask }: Exchange): Effect.Effect<Fields, JsonRpcErrorObject> => {
    const method = isFields(request) ? request["method"] : undefined
    if (!isFields(request) || typeof method !== "string") {
      return Effect.fail({ code: Code.internalError, message: "The server asks for input without saying which" })
    }
    if (ask === undefined) {
      return Effect.fail({ code: Code.internalError, message: `${method}: this client can't be asked` })
    }
    const params = isFields(request["params"]) ? request["params"] : undefined
    return Effect.flatMap(ask(method, TaskIds.relatedTo(params, task.id)), (reply) => {
      if ("error" in reply) return Effect.fail(reply.error)
      const { _meta, ...result } = reply.result
      return Effect.succeed(result)
    })
  }

  /** One round: all that isn't asked or answered yet, together. */
  const round = (
    task: Task,
    requests: Fields,
    answered: Set<string>,
    exchange: Exchange
  ): Effect.Effect<void, JsonRpcErrorObject> => {
    const mine = Object.entries(requests).filter(([key]) => !answered.has(key) && !asking.has(`${task.id} ${key}`))
    if (mine.length === 0) return Effect.void
    for (const [key] of mine) asking.add(`${task.id} ${key}`)
    return Effect.forEach(
      mine,
      ([key, request]) => Effect.map(ask(task, request, exchange), (response) => [key, response] as const),
      { concurrency: "unbounded" }
    )
      .pipe(
        Effect.flatMap((responses) =>
          send(task, "tasks/update", { inputResponses: Object.fromEntries(responses) }, exchange)
        ),
        Effect.andThen(Effect.sync(() => {
          for (const [key] of mine) answered.add(key)
        })),
        Effect.ensuring(Effect.sync(() => {
          for (const [key] of mine) asking.delete(`${task.id} ${key}`)
        }))
      )
  }

  const conclude = Effect.fnUntraced(function*(task: Task, params: Fields, exchange: Exchange) {
    const answered = new Set<string>()
    for (;;) {
      const state = yield* look(task, params, exchange)
      if (TaskShape.isOver(state)) return state
      const requests = state["inputRequests"]
      if (state["status"] === "input_required" && isFields(requests)) yield* round(task, requests, answered, exchange)
      yield* Effect.sleep(pauseOf(state))
    }
  })

  const cancel = Effect.fnUntraced(function*(task: Task, params: Fields, exchange: Exchange) {
    yield* send(task, "tasks/cancel", params, exchange)
    for (let looks = 1;; looks++) {
      const state = yield* look(task, {}, exchange)
      if (TaskShape.isOver(state) || looks === CancelLooks) return state
      yield* Effect.sleep(CancelPause)
    }
  })

  return { look, conclude, cancel }
}
