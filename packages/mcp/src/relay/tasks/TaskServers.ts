/**
 * The way to the servers that run tasks: straight to the instance that an id names, as no other one knows the task.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import { Code, type Fields, type JsonRpcErrorObject, type Reply } from "../../JsonRpc.ts"
import * as TraceContext from "../../telemetry/TraceContext.ts"
import type { ServerProfile, Upstream, UpstreamRequest } from "../../upstream/Upstream.ts"
import type { Upstreams } from "../../upstream/Upstreams.ts"
import type { Client } from "../calls/Exchange.ts"
import * as Destination from "../Destination.ts"
import * as Meta from "../Meta.ts"
import type { TaskCallers } from "./TaskCallers.ts"
import * as TaskIds from "./TaskIds.ts"

/**
 * A task that a client names, and the server that runs it.
 *
 * @category models
 * @since 0.2.0
 */
export interface Task {
  /** As the client has it. */
  readonly id: string
  readonly server: TaskIds.ServerTask
  readonly upstream: Upstream
  readonly profile: ServerProfile
}

/**
 * The servers.
 *
 * @category models
 * @since 0.2.0
 */
export interface TaskServers {
  /** Finds the task that parameters name. Fails where there is none, or its server can't be reached. */
  readonly find: (method: string, params: Fields, client: Client) => Effect.Effect<Task, JsonRpcErrorObject>
  /** Sends a request for a task. Fails where its server can't be reached, or doesn't answer in time. */
  readonly send: (
    task: Task,
    method: string,
    params: Fields,
    client: Client,
    more?: Pick<UpstreamRequest, "capabilities" | "onRequest" | "onNotification" | "progress"> & {
      /** ms; `Infinity` for what takes as long as the task. */
      readonly timeout?: number | undefined
    }
  ) => Effect.Effect<Reply, JsonRpcErrorObject>
}

/** ms for a request that the server answers at once, where nothing is configured. */
const DefaultTimeout = 60_000

const unreachable = (method: string, instance: string, reason: string): JsonRpcErrorObject => ({
  code: Code.unavailable,
  message: `${method}: ${reason} (instance ${instance}, which runs the task)`,
  data: { reason: "unavailable", instance }
})

/**
 * Makes it.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  upstreams: Pick<Upstreams["Service"], "all" | "get">,
  ids: TaskIds.TaskIds,
  callers: TaskCallers,
  options: { readonly timeout: number | undefined }
): TaskServers => {
  /** Another registry may announce the instance by now. */
  const upstreamOf = (task: TaskIds.ServerTask): Upstream | undefined =>
    upstreams.get(TaskIds.instanceOf(task)) ??
      upstreams.all().find((upstream) => {
        const { id, service } = upstream.instance()
        return id === task.instance && service === task.service
      })

  return {
    find: (method, params, { principal }) =>
      Effect.suspend((): Effect.Effect<Task, JsonRpcErrorObject> => {
        const id = params["taskId"]
        if (typeof id !== "string") {
          return Effect.fail({ code: Code.invalidParams, message: "params.taskId must be a string" })
        }
        const server = ids.open(id, principal)
        // The gateway's own have no instance; one that is looked for here is kept no more.
        if (server === undefined || server.instance === "") return Effect.fail(notFound)
        const upstream = upstreamOf(server)
        if (upstream === undefined) {
          return Effect.fail(unreachable(method, server.instance, "it is not announced any more"))
        }
        const { profile } = upstream.state()
        if (profile !== undefined) return Effect.succeed({ id, server, upstream, profile })
        return Effect.mapBoth(upstream.connect, {
          onFailure: ({ reason }) => unreachable(method, server.instance, reason),
          onSuccess: (profile) => ({ id, server, upstream, profile })
        })
      }),

    send: (task, method, params, client, { timeout = options.timeout ?? DefaultTimeout, ...more } = {}) => {
      const { id, instance } = task.server
      const caller = task.profile.era === "handshake" ? callers.of(client, task.id) : client.caller
      const trace = TraceContext.read(Meta.of(params))
      const headers = trace === undefined ? undefined : TraceContext.write<string>(trace, undefined)
      const request = { method, params: Destination.outgoing(params, { taskId: id }), headers, caller, ...more }
      const sent = Effect.mapError(
        task.upstream.request(request),
        ({ reason }) => unreachable(method, instance, reason)
      )
      return timeout === Infinity ? sent : Effect.timeoutOrElse(sent, {
        duration: timeout,
        orElse: () => Effect.fail(unreachable(method, instance, `no answer within ${timeout} ms`))
      })
    }
  }
}

/**
 * The error for an id that isn't one of ours, or another client's, or of a task that is no longer kept.
 *
 * @category constants
 * @since 0.2.0
 */
export const notFound: JsonRpcErrorObject = {
  code: Code.invalidParams,
  message: "Failed to retrieve task: Task not found"
}

/**
 * Gives the result of a reply; fails with its error.
 *
 * @category accessors
 * @since 0.2.0
 */
export const resultOf = (reply: Reply): Effect.Effect<Fields, JsonRpcErrorObject> =>
  "error" in reply ? Effect.fail(reply.error) : Effect.succeed(reply.result)
