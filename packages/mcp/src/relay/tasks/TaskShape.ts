/**
 * Tasks of version 2025-11-25 and those of the extension, as the other one has them. Unknown fields stay.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#data-types
 * @see https://modelcontextprotocol.io/extensions/tasks/overview
 * @since 0.2.0
 */
import { type Fields, isFields, type Reply } from "../../JsonRpc.ts"

/** What a task of the extension holds beside the state of its work. */
const payload: ReadonlySet<string> = new Set(["resultType", "_meta", "result", "error", "inputRequests"])

/**
 * Gives the id of a task, whatever its version; `undefined` for what is no task.
 *
 * @category accessors
 * @since 0.2.0
 */
export const idOf = (task: unknown): string | undefined => {
  const id = isFields(task) ? task["taskId"] : undefined
  return typeof id === "string" && id !== "" ? id : undefined
}

/**
 * Tells whether a task is over: its state doesn't change any more.
 *
 * @category guards
 * @since 0.2.0
 */
export const isOver = ({ status }: Fields): boolean =>
  status === "completed" || status === "failed" || status === "cancelled"

/** A failed call of a tool is a failed task in version 2025-11-25, and one that was completed in the extension. */
const failed = (result: unknown): boolean => isFields(result) && result["isError"] === true

/**
 * Gives a task of the extension in the form of version 2025-11-25, which has neither results nor questions in it.
 *
 * @category combinators
 * @since 0.2.0
 */
export const toHandshake = (task: Fields, id: string): Fields => {
  const made: Record<string, unknown> = {}
  for (const name of Object.keys(task)) {
    if (!payload.has(name) && name !== "ttlMs" && name !== "pollIntervalMs") made[name] = task[name]
  }
  made["taskId"] = id
  made["ttl"] = task["ttlMs"] ?? null
  if (task["pollIntervalMs"] !== undefined) made["pollInterval"] = task["pollIntervalMs"]
  if (task["status"] === "completed" && failed(task["result"])) made["status"] = "failed"
  return made
}

/**
 * Gives a task of version 2025-11-25 in the form of the extension.
 *
 * @category combinators
 * @since 0.2.0
 */
export const toStateless = (task: Fields, id: string): Record<string, unknown> => {
  const { _meta, pollInterval, ttl, ...rest } = task
  const made: Record<string, unknown> = { ...rest, taskId: id, ttlMs: ttl ?? null }
  if (pollInterval !== undefined) made["pollIntervalMs"] = pollInterval
  return made
}

/**
 * Gives a task of the extension that is over with what came of it: a failed call of a tool is completed there.
 *
 * @category combinators
 * @since 0.2.0
 */
export const concluded = (task: Fields, outcome: Reply): Fields =>
  "error" in outcome
    ? { ...task, status: "failed", error: outcome.error }
    : { ...task, status: "completed", result: outcome.result }
