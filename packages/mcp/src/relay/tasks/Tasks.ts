/**
 * Tasks of both eras: those of version 2025-11-25, and the extension `io.modelcontextprotocol/tasks` of the stateless era.
 *
 * **Mental model**: a client names a task by an id that only the gateway can read. It leads to the instance that runs the
 * task, whose era says how it is asked; what comes back is given the form of the client's era.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks
 * @see https://modelcontextprotocol.io/extensions/tasks/overview
 * @since 0.2.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TaskSupport from "../../catalog/TaskSupport.ts"
import type { Era } from "../../Era.ts"
import {
  Code,
  type Fields,
  isFields,
  type JsonRpcErrorObject,
  type JsonRpcNotification,
  type Reply
} from "../../JsonRpc.ts"
import * as TraceContext from "../../telemetry/TraceContext.ts"
import type { ServerRequest, Upstream } from "../../upstream/Upstream.ts"
import { Upstreams } from "../../upstream/Upstreams.ts"
import type { Client, Exchange } from "../calls/Exchange.ts"
import * as Translation from "../calls/Translation.ts"
import type { Logging } from "../Logging.ts"
import * as Meta from "../Meta.ts"
import { everyEra, type Method, notFound, type Part } from "../Method.ts"
import type * as Seal from "../Seal.ts"
import * as KeptTasks from "./KeptTasks.ts"
import * as TaskCallers from "./TaskCallers.ts"
import * as TaskCalls from "./TaskCalls.ts"
import * as TaskFollowing from "./TaskFollowing.ts"
import * as TaskIds from "./TaskIds.ts"
import * as TaskOwners from "./TaskOwners.ts"
import * as TaskQuestions from "./TaskQuestions.ts"
import * as TaskResults from "./TaskResults.ts"
import * as TaskRounds from "./TaskRounds.ts"
import * as TaskServers from "./TaskServers.ts"
import type { Task } from "./TaskServers.ts"
import * as TaskShape from "./TaskShape.ts"
import * as TaskWaits from "./TaskWaits.ts"

/**
 * Settings.
 *
 * @category models
 * @since 0.2.0
 */
export interface TasksOptions extends TaskQuestions.TaskQuestionsOptions {
  readonly seals: Seal.Seals
  readonly serverInfo: Fields
  readonly timeout: number | undefined
}

/**
 * The part, and how calls of tools become tasks.
 *
 * @category models
 * @since 0.2.0
 */
export interface Tasks extends Part {
  readonly call: TaskCalls.TaskCalls["call"]
  readonly following: TaskFollowing.TaskFollowing
  /** Passes on what a server says of a task by itself, to the client that it runs for. Plain. */
  readonly tell: (upstream: Upstream, notification: JsonRpcNotification) => void
  /** What a server asks a client outside any call, with the task that it may be for as the client has it. Plain. */
  readonly asClient: (upstream: Upstream, client: Client, request: ServerRequest) => ServerRequest
}

/** Answers a method, as the era of its client has it; fails with the error of the reply. */
type TaskMethod = (params: Fields, exchange: Exchange) => Effect.Effect<Fields, JsonRpcErrorObject>

/** The one version of the handshake era that has tasks. */
const version = "2025-11-25"
/** What servers tell by themselves. */
const status = "notifications/tasks/status"
/** Tasks in one page of a list. */
const PageSize = 50

/**
 * Makes the part.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  options: TasksOptions,
  logging: Pick<Logging, "passes">
): Effect.Effect<Tasks, never, Scope.Scope | Upstreams> =>
  Effect.gen(function*() {
    const upstreams = yield* Upstreams
    const clock = yield* Clock.Clock
    const now = () => clock.currentTimeMillisUnsafe()
    const ids = TaskIds.make(options.seals)
    const kept = KeptTasks.make(now)
    const owners = TaskOwners.make()
    const callers = yield* TaskCallers.make(upstreams, {
      onRequest: (upstream, request) => questions.asked(upstream, request),
      onNotification: (upstream, notification) => tell(upstream, notification)
    })
    const servers = TaskServers.make(upstreams, ids, callers, options)
    const questions = yield* TaskQuestions.make(servers, options)
    const rounds = TaskRounds.make(servers)
    const results = TaskResults.make(servers, rounds, logging)
    const runsTasks = () =>
      upstreams.all().some((upstream) => {
        const { profile } = upstream.state()
        return profile !== undefined && TaskSupport.runsTasks(profile)
      })

    /** The server's own words in the era of the client. */
    const passed = ({ id }: Task, reply: Reply) =>
      Effect.map(TaskServers.resultOf(reply), (given) => {
        const result = Meta.onward(given)
        return TaskShape.idOf(result) === undefined ? result : { ...result, taskId: id }
      })

    const find = (name: string, params: Fields, client: Client) =>
      Effect.tap(servers.find(name, params, client), ({ id, profile, server }) =>
        Effect.sync(() => {
          if (profile.era === "handshake") callers.seen(client, id)
          if (client.era === "handshake") owners.note(client, id, TaskIds.instanceOf(server), server.id)
        }))

    /** A task of a client of the handshake era that the gateway keeps, by its id. */
    const keptBy = ({ taskId }: Fields, client: Client): KeptTasks.KeptTask | undefined => {
      if (client.era === "stateless" || typeof taskId !== "string") return undefined
      if (ids.open(taskId, client.principal) === undefined) return undefined
      const found = kept.find(taskId)
      if (found !== undefined) owners.note(client, taskId, undefined, taskId)
      return found
    }

    const get: TaskMethod = (params, exchange) =>
      Effect.suspend(() => {
        const { client } = exchange
        const known = keptBy(params, client)
        if (known !== undefined) return Effect.succeed(known.task)
        return Effect.flatMap(find("tasks/get", params, client), (task) => {
          if (task.profile.era === client.era) {
            return Effect.flatMap(servers.send(task, "tasks/get", params, client), (reply) => passed(task, reply))
          }
          return client.era === "stateless"
            ? questions.get(task, params, exchange)
            : Effect.map(rounds.look(task, params, exchange), (state) => TaskShape.toHandshake(state, task.id))
        })
      })

    const result: TaskMethod = (params, exchange) =>
      Effect.suspend(() => {
        const known = keptBy(params, exchange.client)
        return known === undefined
          ? Effect.flatMap(find("tasks/result", params, exchange.client), (task) => results(task, params, exchange))
          : TaskResults.kept(String(params["taskId"]), known.reply)
      })

    const update: TaskMethod = (params, { client }) =>
      Effect.flatMap(find("tasks/update", params, client), (task) =>
        task.profile.era === "handshake"
          ? Effect.as(questions.update(task, params, client), {})
          : Effect.flatMap(servers.send(task, "tasks/update", params, client), (reply) => passed(task, reply)))

    /** The version 2025-11-25 has a task cancelled at once, and for good; a server of the stateless era takes its time. */
    const cancelled = (task: Task, state: Fields): Fields => {
      const shown = TaskShape.toHandshake(state, task.id)
      if (TaskShape.isOver(state)) return shown
      const over = { ...shown, status: "cancelled", lastUpdatedAt: new Date(now()).toISOString() }
      kept.keep(task.id, { task: over, reply: { error: TaskRounds.cancelled } }, KeptTasks.timeOf(shown["ttl"]))
      return over
    }

    const isOver = ({ status }: Fields) =>
      Effect.fail<JsonRpcErrorObject>({
        code: Code.invalidParams,
        message: `Cannot cancel task: already in terminal status '${String(status)}'`
      })

    const cancel: TaskMethod = (params, exchange) =>
      Effect.suspend(() => {
        const { client } = exchange
        const known = keptBy(params, client)
        if (known !== undefined) return isOver(known.task)
        return Effect.flatMap(find("tasks/cancel", params, client), (task) => {
          if (task.profile.era === client.era) {
            return Effect.flatMap(servers.send(task, "tasks/cancel", params, client), (reply) => passed(task, reply))
          }
          if (client.era === "stateless") return Effect.as(questions.cancel(task, params, client), {})
          return Effect.flatMap(rounds.look(task, {}, exchange), (state) =>
            TaskShape.isOver(state)
              ? isOver(TaskShape.toHandshake(state, task.id))
              : Effect.map(rounds.cancel(task, params, exchange), (state) => cancelled(task, state)))
        })
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
            concurrency: "unbounded"
          }),
          (tasks) => ({ tasks: tasks.filter(isFields), ...nextCursor })
        )
      })

    const tell: Tasks["tell"] = ({ key }, { method, params }) => {
      const own = TaskShape.idOf(params)
      if (method !== status || params === undefined || own === undefined) return
      const { client, id } = owners.find(key, own) ?? {}
      if (id === undefined) return
      client?.tell?.({ jsonrpc: "2.0", method, params: { ...Meta.onward(params), taskId: id } })
    }
    yield* upstreams.events.pipe(
      Stream.runForEach((event) =>
        Effect.sync(() => event._tag === "Notified" ? tell(event.upstream, event.notification) : undefined)
      ),
      Effect.forkScoped
    )

    const method = (
      name: string,
      eras: ReadonlyArray<Era>,
      answer: TaskMethod
    ): readonly [string, Method] => [name, {
      eras,
      answer: ({ params = {} }, exchange) => {
        const { client } = exchange
        if (client.era === "stateless") {
          if (!TaskSupport.declares(client.capabilities)) return Effect.succeed({ error: TaskCalls.missing })
        } else if (client.protocolVersion !== version || (name === "tasks/list" && !runsTasks())) {
          return Effect.succeed(notFound(name))
        }
        // Of the header and the message, the one that says it; it goes on in the message.
        const trace = TraceContext.orElse(TraceContext.read(Meta.of(params)), exchange.hop?.trace)
        const given = trace === undefined ? params : { ...params, _meta: TraceContext.write(trace, Meta.of(params)) }
        return Effect.match(answer(given, exchange), {
          onFailure: (error): Reply => ({ error: Translation.error(client.era, error) }),
          onSuccess: (result): Reply => ({
            result: client.era === "handshake" ? result : {
              ...result,
              resultType: "complete",
              _meta: { ...Meta.of(result), [Meta.Key.serverInfo]: options.serverInfo }
            }
          })
        })
      }
    }]

    return {
      methods: Object.fromEntries([
        method("tasks/get", everyEra, get),
        method("tasks/result", ["handshake"], result),
        method("tasks/update", ["stateless"], update),
        method("tasks/cancel", everyEra, cancel),
        method("tasks/list", ["handshake"], list)
      ]),
      capabilities: (era, protocolVersion): Fields => {
        if (!runsTasks()) return {}
        if (era === "stateless") return { extensions: { [TaskSupport.extension]: {} } }
        return protocolVersion === version
          ? { tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } }
          : {}
      },
      following: TaskFollowing.make(get, (id, { client }) => ids.open(id, client.principal) !== undefined),
      tell,
      asClient: ({ key }, client, request) => {
        const own = TaskIds.relatedOf(request.params)
        const owner = own === undefined ? undefined : owners.find(key, own)
        return own === undefined || owner?.client !== client ? request : TaskResults.asClient(request, own, owner.id)
      },
      call:
        TaskCalls.make({ callers, ids, kept, now, owners, runsTasks, waits: yield* TaskWaits.make(servers, rounds) })
          .call
    }
  })
