/**
 * Tells clients of the stateless era of their tasks, on the streams that they listen on.
 *
 * **Details**: the gateway looks at the tasks itself, as often as their servers say. What servers tell by themselves comes
 * on other connections, or not at all; in either era nobody may rely on it.
 *
 * @see https://modelcontextprotocol.io/extensions/tasks/overview#notifications
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as TaskSupport from "../../catalog/TaskSupport.ts"
import { Code, type Fields, isFields, type JsonRpcErrorObject, type Reply } from "../../JsonRpc.ts"
import type { Exchange } from "../calls/Exchange.ts"
import { failure } from "../Method.ts"
import * as TaskCalls from "./TaskCalls.ts"
import * as TaskShape from "./TaskShape.ts"

/**
 * Follows tasks.
 *
 * @category models
 * @since 0.2.0
 */
export interface TaskFollowing {
  /** The tasks that the filter of a `subscriptions/listen` names and that its client has, or why it is refused. Plain. */
  readonly named: (filter: Fields, exchange: Exchange) => { readonly taskIds: ReadonlyArray<string> } | Reply
  /** Tells of tasks until all of them are over: how each stands now, and whenever that changes. `tell` is plain. */
  readonly follow: (
    taskIds: ReadonlyArray<string>,
    exchange: Exchange,
    tell: (task: Fields) => void
  ) => Effect.Effect<void>
}

/** Tasks that one stream may tell of. */
const MaxTasks = 100
/** ms between two looks: where the server doesn't say, and what it may say. */
const DefaultPause = 1_000
const ShortestPause = 500
const LongestPause = 30_000

const pauseOf = (task: Fields | undefined): number => {
  const pause = task?.["pollIntervalMs"]
  return typeof pause === "number" ? Math.min(Math.max(pause, ShortestPause), LongestPause) : DefaultPause
}

/** What a client sees change. */
const sight = ({ inputRequests, lastUpdatedAt, status, statusMessage, ttlMs }: Fields): string =>
  JSON.stringify([
    status,
    statusMessage,
    lastUpdatedAt,
    ttlMs,
    isFields(inputRequests) ? Object.keys(inputRequests) : 0
  ])

/**
 * Makes it. `get` gives a task as `tasks/get` does; `has` tells whether an id is one of a client's.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  get: (params: Fields, exchange: Exchange) => Effect.Effect<Fields, JsonRpcErrorObject>,
  has: (id: string, exchange: Exchange) => boolean
): TaskFollowing => ({
  named: ({ taskIds }, exchange) => {
    if (taskIds === undefined) return { taskIds: [] }
    if (!TaskSupport.declares(exchange.client.capabilities)) return { error: TaskCalls.missing }
    if (!Array.isArray(taskIds) || !taskIds.every((id) => typeof id === "string")) {
      return failure(Code.invalidParams, "notifications.taskIds must be an array of strings")
    }
    const ids = Array.from(new Set<string>(taskIds))
    return ids.length <= MaxTasks
      ? { taskIds: ids.filter((id) => has(id, exchange)) }
      : failure(Code.invalidParams, `notifications.taskIds names ${ids.length} tasks; ${MaxTasks} may be`)
  },

  follow: (taskIds, exchange, tell) => {
    const one = Effect.fnUntraced(function*(taskId: string) {
      let seen = ""
      for (;;) {
        const task = yield* get({ taskId }, exchange).pipe(
          // One that can't be reached now may be later; one that isn't known will never be.
          Effect.catch((error) => error.code === Code.invalidParams ? Effect.succeed(null) : Effect.succeed(undefined))
        )
        if (task === null) return
        if (task !== undefined && sight(task) !== seen) {
          seen = sight(task)
          const { resultType: _, ...told } = task
          tell(told)
          if (TaskShape.isOver(task)) return
        }
        yield* Effect.sleep(pauseOf(task))
      }
    })
    return Effect.forEach(taskIds, one, { concurrency: "unbounded", discard: true })
  }
})
