/**
 * `tasks/result` of version 2025-11-25: waits until a task is over, while its client is asked what the server wants to know.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import { Code, type Fields, type JsonRpcErrorObject, type JsonRpcNotification, type Reply } from "../../JsonRpc.ts"
import type { ServerRequest } from "../../upstream/Upstream.ts"
import type { Exchange } from "../calls/Exchange.ts"
import * as Hearing from "../calls/Hearing.ts"
import * as Translation from "../calls/Translation.ts"
import type { Logging } from "../Logging.ts"
import * as Meta from "../Meta.ts"
import { failure } from "../Method.ts"
import * as TaskIds from "./TaskIds.ts"
import * as TaskRounds from "./TaskRounds.ts"
import * as TaskServers from "./TaskServers.ts"
import type { Task } from "./TaskServers.ts"

/**
 * Gives the result of a task that the gateway keeps.
 *
 * @category combinators
 * @since 0.2.0
 */
export const kept = (id: string, reply: Reply): Effect.Effect<Fields, JsonRpcErrorObject> =>
  Effect.map(TaskServers.resultOf(reply), (result) => TaskIds.relatedTo(result, id))

/**
 * What a server asks for a task, with the id that the client has in place of the server's own.
 *
 * @category combinators
 * @since 0.2.0
 */
export const asClient = (request: ServerRequest, own: string, id: string): ServerRequest => ({
  ...request,
  params: TaskIds.renamed(request.params, own, id),
  reply: (reply) =>
    request.reply("error" in reply ? reply : { result: TaskIds.renamed(reply.result, id, own) ?? reply.result })
})

/**
 * Makes the function that waits for the result of a task of a server.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  servers: TaskServers.TaskServers,
  rounds: TaskRounds.TaskRounds,
  logging: Pick<Logging, "passes">
) => {
  const shown = (task: Task, result: Fields): Fields =>
    TaskIds.relatedTo(
      Translation.result("handshake", "tools/call", result, Meta.withoutHop(Meta.of(result))),
      task.id
    )

  const withdrawn = ({ withdrawn }: ServerRequest) =>
    Effect.callback<void>((resume) => {
      const done = () => resume(Effect.void)
      if (withdrawn.aborted) return done()
      withdrawn.addEventListener("abort", done)
      return Effect.sync(() => withdrawn.removeEventListener("abort", done))
    })

  /** Asks the client what the server asks for the task. */
  const relayed = (task: Task, request: ServerRequest, { ask }: Exchange): Effect.Effect<void> => {
    const { method, params, progress, reply } = asClient(request, task.server.id, task.id)
    if (ask === undefined) {
      return Effect.sync(() => reply(failure(Code.methodNotFound, `${method}: this client can't be asked`)))
    }
    return Effect.raceFirst(Effect.map(ask(method, params, progress), reply), withdrawn(request))
  }

  /** What the server says of the task meanwhile. */
  const told = (
    task: Task,
    token: string | number | undefined,
    { logLevel, notify }: Exchange,
    { method, params = {} }: JsonRpcNotification
  ): void => {
    const progress = method === "notifications/progress" && token !== undefined
    if (!progress && method !== "notifications/message") return
    if (!progress && !logging.passes(task.upstream.key, params["level"], logLevel)) return
    const carried = TaskIds.renamed(Meta.onward(params), task.server.id, task.id)
    notify({ jsonrpc: "2.0", method, params: progress ? { ...carried, progressToken: token } : carried })
  }

  const ofHandshake = (task: Task, params: Fields, exchange: Exchange) =>
    Effect.scoped(Effect.gen(function*() {
      const run = yield* FiberSet.makeRuntime()
      const token = Hearing.tokenOf(Meta.of(params))
      const reply = yield* servers.send(task, "tasks/result", params, exchange.client, {
        timeout: Infinity,
        progress: token !== undefined,
        onNotification: (notification) => told(task, token, exchange, notification),
        onRequest: (request) => void run(relayed(task, request, exchange))
      })
      return yield* TaskServers.resultOf(reply)
    }))

  const ofStateless = (task: Task, params: Fields, exchange: Exchange) =>
    Effect.flatMap(rounds.conclude(task, params, exchange), (state) => TaskServers.resultOf(TaskRounds.outcome(state)))

  return (task: Task, params: Fields, exchange: Exchange): Effect.Effect<Fields, JsonRpcErrorObject> =>
    Effect.map(
      task.profile.era === "handshake" ? ofHandshake(task, params, exchange) : ofStateless(task, params, exchange),
      (result) => shown(task, result)
    )
}
