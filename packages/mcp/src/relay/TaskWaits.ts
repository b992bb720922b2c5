/**
 * Calls of clients that know no tasks, or want none, of tools that a server of the stateless era runs as tasks only: the
 * gateway has it run one, and answers the call once that is over.
 *
 * **Details**: the server first says that it wants the extension, and has run nothing then. Only that server is told of it,
 * as it is the gateway that follows the task; whom it asks is the client.
 *
 * @see https://modelcontextprotocol.io/extensions/tasks/overview
 * @since 0.2.0
 */
import * as Catalog from "@portolan/core/Catalog"
import type { Attempt } from "@portolan/core/Router"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import * as TaskSupport from "../catalog/TaskSupport.ts"
import { Code, type Fields, isFields, type JsonRpcErrorObject, type Reply } from "../JsonRpc.ts"
import type { Exchange } from "./Exchange.ts"
import type * as Hearing from "./Hearing.ts"
import type { Call, Underway } from "./RoutedRequest.ts"
import * as TaskRounds from "./TaskRounds.ts"
import type { Task } from "./TaskServers.ts"
import * as TaskShape from "./TaskShape.ts"

/** ms between two signs of life, so that no deadline cuts a call whose task lives. */
const AliveTime = 500

/** Whether a server does something as a task only. */
const insists = (reply: Reply): boolean => {
  if (!("error" in reply) || reply.error.code !== Code.missingClientCapability) return false
  const { data } = reply.error
  const required = isFields(data) ? data["requiredCapabilities"] : undefined
  return isFields(required) && TaskSupport.declares(required)
}

/** The task that a server of the stateless era answered with. */
const taskOf = ({ upstream }: Underway, reply: Reply): Task | undefined => {
  const id = "result" in reply && reply.result["resultType"] === "task" ? TaskShape.idOf(reply.result) : undefined
  const { profile } = upstream.state()
  if (id === undefined || profile === undefined) return undefined
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
const tell = (hearing: Hearing.Hearing, state: Fields): void => {
  const { exchange, token } = hearing
  if (token === undefined || exchange === undefined) return
  hearing.highest = Math.max(hearing.highest, 0) + 1
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
  rounds: TaskRounds.TaskRounds
): Effect.Effect<NonNullable<Call["goOn"]>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const run = yield* FiberSet.makeRuntime<never, void, never>()

    const outcome = (task: Task, { attempt, hearing }: Underway, exchange: Exchange): Effect.Effect<Reply> => {
      // It runs, and its client may hear of it: none is begun elsewhere.
      attempt.commit()
      let over = false
      const alive = Effect.forever(Effect.andThen(Effect.sleep(AliveTime), Effect.sync(attempt.extend)))
      const heard = (state: Fields) => {
        if (attempt.isHeard()) tell(hearing, state)
      }
      return rounds.conclude(task, {}, asking(exchange, attempt), heard).pipe(
        Effect.raceFirst(alive),
        Effect.match({
          onSuccess: (state) => {
            over = true
            return TaskRounds.outcome(state)
          },
          onFailure: (error: JsonRpcErrorObject): Reply => ({ error })
        }),
        // Nobody else can come back for it.
        Effect.ensuring(Effect.sync(() => {
          if (!over) run(Effect.ignore(rounds.giveUp(task, {}, exchange)))
        }))
      )
    }

    return (reply, request, at) => {
      const { exchange } = at.hearing
      if (exchange === undefined || !insists(reply)) return undefined
      const capabilities = TaskRounds.capabilities(exchange.client.caller.capabilities)
      return Effect.flatMap(at.upstream.request({ ...request, capabilities }), (reply) => {
        const task = taskOf(at, reply)
        return task === undefined ? Effect.succeed(reply) : outcome(task, at, exchange)
      })
    }
  })
