/**
 * Tasks that a server of the stateless era runs for clients of version 2025-11-25: the gateway looks at the task until it is
 * over, and asks the client what the server wants to know.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Record from "effect/Record"
import * as Schedule from "effect/Schedule"
import * as TaskSupport from "../../catalog/TaskSupport.ts"
import { Code, type Fields, isFields, type JsonRpcErrorObject, type Reply } from "../../JsonRpc.ts"
import type { Client, Exchange } from "../calls/Exchange.ts"
import * as Inputs from "../calls/Inputs.ts"
import * as TaskIds from "./TaskIds.ts"
import * as TaskServers from "./TaskServers.ts"
import type { Task } from "./TaskServers.ts"
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
  /** The task once it is over; the client is asked meanwhile. `heard` gets what it is before that; plain. */
  readonly conclude: (
    task: Task,
    params: Fields,
    exchange: Exchange,
    heard?: (state: Fields) => void
  ) => Effect.Effect<Fields, JsonRpcErrorObject>
  /** Asks the server to cancel it. */
  readonly giveUp: (task: Task, params: Fields, exchange: Exchange) => Effect.Effect<void, JsonRpcErrorObject>
  /** The same; gives what came of that, within a moment. */
  readonly cancel: (task: Task, params: Fields, exchange: Exchange) => Effect.Effect<Fields, JsonRpcErrorObject>
}

/** ms between two looks: where the server doesn't say, and what it may say. */
const DefaultPause = 1_000
const ShortestPause = 50
const LongestPause = 30_000
/** Looks whether a task was cancelled, and the ms between them. */
const CancelLooks = 5
const CancelPause = 100
/** Looks in vain at a server that can't be reached, and the ms between them. */
const LostLooks = 5
const LostPause = 1_000

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

const wrong = (message: string): JsonRpcErrorObject => ({ code: Code.internalError, message })

/**
 * Gives the ms before a task is looked at again.
 *
 * @category accessors
 * @since 0.2.0
 */
export const pauseOf = ({ pollIntervalMs }: Fields): number =>
  typeof pollIntervalMs === "number" && pollIntervalMs >= 0
    ? Math.min(Math.max(pollIntervalMs, ShortestPause), LongestPause)
    : DefaultPause

/**
 * Makes it.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (servers: TaskServers.TaskServers): TaskRounds => {
  /** Questions that a client is being asked: it may wait for one result twice. */
  const asking = new Set<string>()

  const send = (task: Task, method: string, params: Fields, client: Client) =>
    Effect.flatMap(
      servers.send(task, method, params, client, { capabilities: capabilities(client.caller.capabilities) }),
      TaskServers.resultOf
    )

  const look: TaskRounds["look"] = (task, params, { client }) => send(task, "tasks/get", params, client)

  /** One round: all that isn't asked or answered yet, together. */
  const round = (
    task: Task,
    state: Fields,
    answered: Set<string>,
    { ask, client }: Exchange
  ): Effect.Effect<Fields, JsonRpcErrorObject> => {
    const input = Inputs.read(state)
    if (typeof input === "string") return Effect.fail(wrong(`${task.server.service} wants to know more, but ${input}`))
    const nameOf = (key: string): string => `${task.upstream.key} ${task.server.id} ${key}`
    const mine = input.requests.filter(([key]) => !answered.has(key) && !asking.has(nameOf(key)))
    if (mine.length === 0) return Effect.succeed({})
    if (ask === undefined) {
      return Effect.fail(wrong(`${task.server.service} wants to know more, and this client can't be asked`))
    }
    // A client that was given no task is asked for its call.
    const related = task.id === "" ?
      mine :
      mine.map(([key, { method, params }]) => [key, { method, params: TaskIds.relatedTo(params, task.id) }] as const)
    for (const [key] of mine) asking.add(nameOf(key))
    return Inputs.ask(ask, related).pipe(
      Effect.flatMap((responses) => {
        const inputResponses = Record.map(responses, (each) => isFields(each) ? TaskIds.unrelated(each) : each)
        return send(task, "tasks/update", { inputResponses }, client)
      }),
      Effect.tap(() =>
        Effect.sync(() => {
          for (const [key] of mine) answered.add(key)
        })
      ),
      Effect.ensuring(Effect.sync(() => {
        for (const [key] of mine) asking.delete(nameOf(key))
      }))
    )
  }

  const conclude: TaskRounds["conclude"] = Effect.fnUntraced(function*(task, params, exchange, heard) {
    const answered = new Set<string>()
    for (;;) {
      const state = yield* look(task, params, exchange).pipe(
        // The task may go on all the same.
        Effect.retry({
          times: LostLooks,
          schedule: Schedule.spaced(LostPause),
          while: ({ code }) => code === Code.unavailable
        })
      )
      if (TaskShape.isOver(state)) return state
      heard?.(state)
      const asks = Object.keys(Object(state["inputRequests"])).length > 0
      if (state["status"] === "input_required" && asks) yield* round(task, state, answered, exchange)
      yield* Effect.sleep(pauseOf(state))
    }
  })

  const giveUp: TaskRounds["giveUp"] = (task, params, { client }) =>
    Effect.asVoid(send(task, "tasks/cancel", params, client))

  const cancel: TaskRounds["cancel"] = Effect.fnUntraced(function*(task, params, exchange) {
    yield* giveUp(task, params, exchange)
    for (let looks = 1;; looks++) {
      const state = yield* look(task, {}, exchange)
      if (TaskShape.isOver(state) || looks === CancelLooks) return state
      yield* Effect.sleep(CancelPause)
    }
  })

  return { look, conclude, giveUp, cancel }
}

/**
 * What the result of a task that was cancelled is.
 *
 * @category constants
 * @since 0.2.0
 */
export const cancelled = wrong("The task was cancelled")

/**
 * Gives what the call comes to whose task is over.
 *
 * @category accessors
 * @since 0.2.0
 */
export const outcome = ({ error, result, status }: Fields): Reply => {
  if (status === "completed" && isFields(result)) return { result }
  if (status === "cancelled") return { error: cancelled }
  const code = isFields(error) ? error["code"] : undefined
  const message = isFields(error) ? error["message"] : undefined
  return {
    error: {
      code: typeof code === "number" ? code : Code.internalError,
      message: typeof message === "string" ? message : "The task failed without saying why",
      ...(isFields(error) && error["data"] !== undefined ? { data: error["data"] } : undefined)
    }
  }
}
