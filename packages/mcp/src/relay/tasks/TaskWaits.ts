/**
 * Calls of clients that know no tasks, or want none, of tools that a server runs as tasks only: the gateway has it run one,
 * and answers the call once that is over.
 *
 * **Details**: a server of the stateless era first says that it wants the extension, and has run nothing then. Only that
 * server is told of it, as it is the gateway that follows the task; whom it asks is the client. Of tools of the handshake
 * era it is known before.
 *
 * @see https://modelcontextprotocol.io/extensions/tasks/overview
 * @since 0.2.0
 */
import * as Catalog from "@portolan/core/Catalog"
import type { Attempt } from "@portolan/core/Router"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import * as TaskSupport from "../../catalog/TaskSupport.ts"
import { Code, type Fields, isFields, type JsonRpcErrorObject, type Reply } from "../../JsonRpc.ts"
import type { UpstreamRequest } from "../../upstream/Upstream.ts"
import type { Exchange } from "../calls/Exchange.ts"
import type { Call, Underway } from "../calls/RoutedRequest.ts"
import * as TaskIds from "./TaskIds.ts"
import * as TaskRounds from "./TaskRounds.ts"
import type { Task, TaskServers } from "./TaskServers.ts"
import * as TaskShape from "./TaskShape.ts"

/** What progress grows by at a look: at servers of the handshake era, which tell of progress too, by hardly anything. */
const Step = { handshake: 0.001, stateless: 1 } as const
/** ms between two signs of life, so that no deadline cuts a call whose task lives. */
const AliveTime = 500

/** Whether a server does something as a task only. */
const insists = (reply: Reply): boolean => {
  if (!("error" in reply) || reply.error.code !== Code.missingClientCapability) return false
  const { data } = reply.error
  const required = isFields(data) ? data["requiredCapabilities"] : undefined
  return isFields(required) && TaskSupport.declares(required)
}

/** The task that a server answered with. */
const taskOf = ({ upstream }: Underway, reply: Reply): Task | undefined => {
  const { profile } = upstream.state()
  if ("error" in reply || profile === undefined) return undefined
  const { result } = reply
  const isTask = result["resultType"] === "task"
  const id = TaskShape.idOf(profile.era === "handshake" ? result["task"] : isTask ? result : undefined)
  if (id === undefined) return undefined
  const { id: instance, service } = upstream.instance()
  return { id: "", server: { service, source: Catalog.sourceOf(upstream.key), instance, id }, upstream, profile }
}

/** The client's side of the call: while it is asked, the clock of the attempt stands still. */
const asking = (exchange: Exchange, attempt: Attempt): Exchange => {
  const { ask } = exchange
  if (ask === undefined) return exchange
  return {
    ...exchange,
    ask: (method, params) =>
      Effect.suspend(() => {
        const resume = attempt.pause()
        return Effect.ensuring(ask(method, params), Effect.sync(resume))
      })
  }
}

/** What the client hears of a task that goes on: progress, if it wants that, so that it goes on waiting. */
const tell = ({ profile }: Task, { attempt, hearing }: Underway, state: Fields): void => {
  const { exchange, token } = hearing
  if (token === undefined || exchange === undefined || !attempt.isHeard()) return
  hearing.highest = Math.max(hearing.highest, 0) + Step[profile.era]
  const message = state["statusMessage"]
  exchange.notify({
    jsonrpc: "2.0",
    method: "notifications/progress",
    params: {
      progressToken: token,
      progress: hearing.highest,
      ...(typeof message === "string" ? { message } : undefined)
    }
  })
}

/**
 * Makes what goes on with the replies to such calls.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  servers: Pick<TaskServers, "send">,
  rounds: TaskRounds.TaskRounds
): Effect.Effect<NonNullable<Call["goOn"]>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const run = yield* FiberSet.makeRuntime<never, void, never>()

    /** Waits for the result as for the answer of the call itself: what the server says and asks takes the same ways. */
    const ofHandshake = (task: Task, { onNotification, onRequest, progress }: UpstreamRequest, { client }: Exchange) =>
      servers.send(task, "tasks/result", {}, client, {
        timeout: Infinity,
        progress,
        onNotification,
        onRequest: onRequest === undefined ? undefined : (request) =>
          onRequest({
            ...request,
            params: request.params === undefined ? undefined : TaskIds.unrelated(request.params),
            reply: (reply) =>
              request.reply("error" in reply ? reply : { result: TaskIds.relatedTo(reply.result, task.server.id) })
          })
      }).pipe(
        Effect.map((reply) => "error" in reply ? reply : { result: TaskIds.unrelated(reply.result) })
      )

    /** Looks at the task meanwhile, for a client that wants to hear that it goes on. */
    const looks = (task: Task, at: Underway, { client }: Exchange) =>
      Effect.gen(function*() {
        let state: Fields = {}
        for (;;) {
          yield* Effect.sleep(TaskRounds.pauseOf(state))
          const reply = yield* Effect.orElseSucceed(servers.send(task, "tasks/get", {}, client), () => undefined)
          if (reply === undefined || "error" in reply) continue
          state = TaskShape.toStateless(reply.result, "")
          if (!TaskShape.isOver(state)) tell(task, at, state)
        }
      })

    const outcome = (task: Task, request: UpstreamRequest, at: Underway, exchange: Exchange): Effect.Effect<Reply> => {
      const { attempt } = at
      // It runs, and its client may hear of it: none is begun elsewhere.
      attempt.commit()
      const old = task.profile.era === "handshake"
      let over = false
      const alive = Effect.forever(Effect.andThen(Effect.sleep(AliveTime), Effect.sync(attempt.extend)))
      const reply = old
        ? Effect.raceFirst(
          ofHandshake(task, request, exchange),
          at.hearing.token === undefined ? Effect.never : looks(task, at, exchange)
        )
        : Effect.map(
          rounds.conclude(task, {}, asking(exchange, attempt), (state) => tell(task, at, state)),
          TaskRounds.outcome
        )
      return reply.pipe(
        Effect.raceFirst(alive),
        Effect.tap(() => Effect.sync(() => over = true)),
        Effect.catch((error: JsonRpcErrorObject) => Effect.succeed<Reply>({ error })),
        // Nobody else can come back for it.
        Effect.ensuring(Effect.sync(() => {
          if (over) return
          const given = old
            ? servers.send(task, "tasks/cancel", {}, exchange.client)
            : rounds.giveUp(task, {}, exchange)
          run(Effect.ignore(given))
        }))
      )
    }

    return (reply, request, at) => {
      const { exchange } = at.hearing
      if (exchange === undefined) return undefined
      const task = taskOf(at, reply)
      if (task !== undefined) return outcome(task, request, at, exchange)
      if (!insists(reply)) return undefined
      const capabilities = TaskRounds.capabilities(exchange.client.caller.capabilities)
      return Effect.flatMap(at.upstream.request({ ...request, capabilities }), (reply) => {
        const task = taskOf(at, reply)
        return task === undefined ? Effect.succeed(reply) : outcome(task, request, at, exchange)
      })
    }
  })
