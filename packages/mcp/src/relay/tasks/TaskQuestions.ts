/**
 * Tasks that a server of the handshake era runs for clients of the stateless era.
 *
 * **Mental model**: what the server asks comes only while somebody waits for the task's result. So the gateway waits for it
 * as soon as the task wants input, keeps the questions for `tasks/get`, and answers them with what `tasks/update` brings. A
 * task that wants nothing is looked at when the client looks, and nothing of it is kept here.
 *
 * @since 0.2.0
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import type * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import { Code, type Fields, isFields, type JsonRpcErrorObject } from "../../JsonRpc.ts"
import type { ServerRequest, Upstream } from "../../upstream/Upstream.ts"
import type { Client, Exchange } from "../calls/Exchange.ts"
import * as Inputs from "../calls/Inputs.ts"
import * as Meta from "../Meta.ts"
import { failure } from "../Method.ts"
import { overloaded } from "../Refusals.ts"
import * as TaskIds from "./TaskIds.ts"
import * as TaskServers from "./TaskServers.ts"
import type { Task } from "./TaskServers.ts"
import * as TaskShape from "./TaskShape.ts"

/**
 * Answers the methods of the extension. Each fails with the error that the client gets.
 *
 * @category models
 * @since 0.2.0
 */
export interface TaskQuestions {
  /** Gives the task with its questions or its result. */
  readonly get: (task: Task, params: Fields, exchange: Exchange) => Effect.Effect<Fields, JsonRpcErrorObject>
  readonly update: (task: Task, params: Fields, client: Client) => Effect.Effect<void, JsonRpcErrorObject>
  readonly cancel: (task: Task, params: Fields, client: Client) => Effect.Effect<void, JsonRpcErrorObject>
  /** The server asks something on a connection for tasks, outside of any request. Plain. */
  readonly asked: (upstream: Upstream, request: ServerRequest) => void
}

/**
 * Settings. Read for each task, so that whoever holds them may change them.
 *
 * @category models
 * @since 0.2.0
 */
export interface TaskQuestionsOptions {
  /** How long a client has to answer what a server asks, ms. */
  readonly inputTimeout: number
  /** Tasks that want input at the same time. */
  readonly maxParked: number
  /** Those of one principal, or of one address where there are none. */
  readonly maxParkedPerClient: number
}

/** The wait for the result of a task that wants input. */
interface Conversation {
  readonly task: Task
  readonly client: Client
  /** Whose limit it counts against. */
  readonly owner: string | undefined
  /** What the server asks now, by the keys that the client has. */
  readonly open: Map<string, ServerRequest>
  /** As the server told it last. */
  state: Fields
  /** Done with the next question, or the end. */
  changed: Deferred.Deferred<void>
  /** ms, when something was asked or answered last. */
  since: number
}

/** ms that a server has to say what it wants, once it says that it wants something. */
const AskTime = 2_000

/**
 * Makes it.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  servers: TaskServers.TaskServers,
  options: TaskQuestionsOptions
): Effect.Effect<TaskQuestions, never, Scope.Scope> =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const now = () => clock.currentTimeMillisUnsafe()
    const waiting = yield* FiberMap.make<string>()
    const conversations = new Map<string, Conversation>()

    const change = (conversation: Conversation): void => {
      const { changed } = conversation
      conversation.changed = Deferred.makeUnsafe()
      Deferred.doneUnsafe(changed, Effect.void)
    }

    /** A question of the server: kept until it is answered or withdrawn. */
    const take = (conversation: Conversation, request: ServerRequest): void => {
      const reason = Inputs.unaskable(conversation.client, request)
      if (reason !== undefined) return request.reply(Inputs.refusal(reason))
      // None twice for one task, whatever becomes of this conversation.
      const key = randomBytes(6).toString("base64url")
      conversation.open.set(key, request)
      conversation.since = now()
      request.withdrawn.addEventListener("abort", () => conversation.open.delete(key))
      change(conversation)
    }

    /** Over a pipe, or outside of any request, the question says which task it is for. */
    const asked = (upstream: Upstream, request: ServerRequest, waits?: Conversation): void => {
      const own = TaskIds.relatedOf(request.params)
      const conversation = own === undefined || own === waits?.task.server.id
        ? waits
        : conversations.values().find(({ task }) => task.upstream === upstream && task.server.id === own)
      if (conversation !== undefined) return take(conversation, request)
      request.reply(failure(Code.methodNotFound, `${request.method}: no client waits for the task that this is for`))
    }

    /** Done once nothing was asked or answered for too long. */
    const abandoned = (conversation: Conversation) =>
      Effect.suspend(() => {
        const left = conversation.since + options.inputTimeout - now()
        return left > 0 ? Effect.as(Effect.sleep(left), true) : Effect.succeed(false)
      }).pipe(Effect.repeat({ while: (waits) => waits }), Effect.asVoid)

    /** Waits for the result in the background, so that the server can ask. Whoever wants the result asks for it again. */
    const begin = (
      task: Task,
      state: Fields,
      { address, client }: Exchange
    ): Effect.Effect<Conversation, JsonRpcErrorObject> =>
      Effect.suspend(() => {
        if (conversations.size >= options.maxParked) {
          return Effect.fail(overloaded("Too many tasks wait for the answers of clients"))
        }
        const owner = client.principal === undefined ? address?.() : `principal ${client.principal}`
        const own = conversations.values().filter((one) => owner !== undefined && one.owner === owner).toArray()
        if (own.length >= options.maxParkedPerClient) {
          return Effect.fail(overloaded("Too many tasks wait for the answers of this client"))
        }
        const conversation: Conversation = {
          task,
          client,
          owner,
          open: new Map(),
          state,
          changed: Deferred.makeUnsafe(),
          since: now()
        }
        conversations.set(task.id, conversation)
        const result = servers.send(task, "tasks/result", {}, client, {
          timeout: Infinity,
          onRequest: (request) => asked(task.upstream, request, conversation)
        })
        const waits = Effect.raceFirst(Effect.ignore(result), abandoned(conversation)).pipe(
          Effect.ensuring(Effect.sync(() => {
            conversations.delete(task.id)
            for (const request of conversation.open.values()) {
              request.reply(failure(Code.unavailable, "The client gave no answer"))
            }
            conversation.open.clear()
            change(conversation)
          }))
        )
        return Effect.as(FiberMap.run(waiting, task.id, waits, { startImmediately: true }), conversation)
      })

    const look = (task: Task, params: Fields, client: Client): Effect.Effect<Fields, JsonRpcErrorObject> =>
      Effect.flatMap(
        servers.send(task, "tasks/get", params, client),
        TaskServers.resultOf
      )

    const shown = (task: Task, state: Fields): Record<string, unknown> => TaskShape.toStateless(state, task.id)

    const questions = (task: Task, { open, state }: Conversation): Fields => ({
      ...shown(task, state),
      status: "input_required",
      inputRequests: Object.fromEntries(
        Array.from(open, ([key, request]) => {
          const { method, params } = Inputs.ofHandshake(request)
          return [key, { method, params: asClient(params) }]
        })
      )
    })

    /** What belongs to the task says so by where it stands; the server's id of the task is its own. */
    const asClient = (fields: Fields = {}): Fields => TaskIds.unrelated(Meta.onward(fields))

    const ofOne = (task: Task, params: Fields, exchange: Exchange): Effect.Effect<Fields, JsonRpcErrorObject> =>
      Effect.flatMap(look(task, params, exchange.client), (state): Effect.Effect<Fields, JsonRpcErrorObject> => {
        const told = shown(task, state)
        switch (state["status"]) {
          case "completed":
          case "failed":
            return Effect.map(servers.send(task, "tasks/result", {}, exchange.client), (outcome) =>
              TaskShape.concluded(told, "error" in outcome ? outcome : { result: asClient(outcome.result) }))
          case "input_required":
            return Effect.flatMap(conversing(task, state, exchange), (conversation) =>
              next(task, conversation))
          default:
            return Effect.succeed(told)
        }
      })

    const conversing = (task: Task, state: Fields, exchange: Exchange) =>
      Effect.suspend(() => {
        const known = conversations.get(task.id)
        if (known === undefined) return begin(task, state, exchange)
        known.state = state
        return Effect.succeed(known)
      })

    /** The task after what comes next in a conversation, or after a moment. */
    const next = (task: Task, conversation: Conversation): Effect.Effect<Fields> =>
      (conversation.open.size > 0 ? Effect.void : Effect.timeoutOption(Deferred.await(conversation.changed), AskTime))
        .pipe(
          Effect.andThen(Effect.sync(() =>
            conversation.open.size > 0
              ? questions(task, conversation)
              // Nothing to be asked for yet, or any more.
              : { ...shown(task, conversation.state), status: "working" }
          ))
        )

    const get: TaskQuestions["get"] = (task, params, exchange) =>
      Effect.suspend(() => {
        const conversation = conversations.get(task.id)
        if (conversation === undefined) return ofOne(task, params, exchange)
        if (conversation.open.size > 0) return Effect.succeed(questions(task, conversation))
        // Over a pipe that carries one call at a time the look waits until the result is there.
        return Effect.raceFirst(ofOne(task, params, exchange), next(task, conversation))
      })

    return {
      asked,
      get,

      update: (task, params, client) =>
        Effect.suspend(() => {
          const responses = params["inputResponses"]
          if (!isFields(responses)) {
            return Effect.fail({ code: Code.invalidParams, message: "inputResponses must be an object" })
          }
          const conversation = conversations.get(task.id)
          if (conversation === undefined) return Effect.asVoid(look(task, {}, client))
          for (const key of Object.keys(responses)) {
            const request = conversation.open.get(key)
            const response = Inputs.responseTo(responses, key)
            if (request === undefined || response === undefined) continue
            conversation.open.delete(key)
            conversation.since = now()
            request.reply({ result: TaskIds.relatedTo(response, task.server.id) })
          }
          return Effect.void
        }),

      cancel: (task, params, client) =>
        Effect.gen(function*() {
          const reply = yield* servers.send(task, "tasks/cancel", params, client)
          // One that is over already is no error in the extension.
          if ("error" in reply) yield* look(task, {}, client)
          yield* FiberMap.remove(waiting, task.id)
        })
    }
  })
