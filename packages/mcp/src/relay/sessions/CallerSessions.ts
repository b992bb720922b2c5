/**
 * Sessions of clients as servers see them, outside any call: what a server asks or says by itself goes to the client, and
 * what the client says of itself goes to the servers that know it.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { isFields, type JsonRpcNotification } from "../../JsonRpc.ts"
import type { CallerSession, Upstream } from "../../upstream/Upstream.ts"
import type { Upstreams } from "../../upstream/Upstreams.ts"
import type { Logging } from "../Logging.ts"
import * as Meta from "../Meta.ts"
import type { Tasks } from "../tasks/Tasks.ts"
import * as Questions from "./Questions.ts"
import type { Session } from "./Sessions.ts"

/**
 * Settings.
 *
 * @category models
 * @since 0.2.0
 */
export interface CallerSessionsOptions {
  readonly runFork: <A>(effect: Effect.Effect<A>) => Fiber.Fiber<A>
  readonly upstreams: Pick<Upstreams["Service"], "all" | "forget">
  readonly logging: Pick<Logging, "passes">
  readonly tasks: Pick<Tasks, "tell" | "asClient">
}

/**
 * Makes them, and carries what clients say of themselves. Plain.
 *
 * @category models
 * @since 0.2.0
 */
export interface CallerSessions {
  /** Makes that of a session. */
  readonly make: (session: () => Session) => CallerSession
  /** The roots of a session's client changed: tells the servers that may have asked for them. */
  readonly rootsChanged: (session: Session) => void
  /** A session is over. */
  readonly forget: (session: Session) => void
}

/** No server is waited for longer before the next change is told, ms. */
const TellTimeout = 10_000

const rootsChanged = "notifications/roots/list_changed"

/**
 * Sends a notification to a client: on its newest stream, else on one that it may come back for. Plain.
 *
 * @category combinators
 * @since 0.2.0
 */
export const notify = (session: Session, notification: JsonRpcNotification): void =>
  (session.outlets.findLast(Questions.isOpen) ?? session.replay.waiting())?.notify(notification)

/**
 * Makes it.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = ({ logging, runFork, tasks, upstreams }: CallerSessionsOptions): CallerSessions => {
  /** Sessions whose servers are being told; true where there is something new to tell already. */
  const telling = new Map<CallerSession, boolean>()

  const carried = ({ method, params = {} }: JsonRpcNotification): JsonRpcNotification => ({
    jsonrpc: "2.0",
    method,
    params: Meta.onward(params)
  })

  const passes = (session: Session, { key }: Upstream, { method, params }: JsonRpcNotification): boolean => {
    if (method === "notifications/message") return logging.passes(key, params?.["level"], session.logLevel)
    // Lists are followed on the gateway's own connection, and resources by whoever subscribed to them.
    return method === "notifications/elicitation/complete"
  }

  const tellRoots = (session: Session, servers: CallerSession): void => {
    telling.set(servers, false)
    const told = Effect.forEach(
      upstreams.all().filter((each) => each.state().profile?.era === "handshake"),
      (each) =>
        Effect.ignore(Effect.timeoutOption(each.notify(rootsChanged, undefined, session.client.caller), TellTimeout)),
      { concurrency: "unbounded", discard: true }
    )
    runFork(told).addObserver(() => {
      const again = telling.get(servers) === true
      telling.delete(servers)
      if (again) tellRoots(session, servers)
    })
  }

  return {
    make: (session) => ({
      onRequest: (upstream, request) => {
        const { method, params, progress, reply, withdrawn } = tasks.asClient(upstream, session().client, request)
        if (withdrawn.aborted) return
        const fiber = runFork(Effect.map(session().questions.ask(method, params, undefined, progress), reply))
        withdrawn.addEventListener("abort", () => fiber.interruptUnsafe(), { once: true })
      },
      onNotification: (upstream, notification) => {
        tasks.tell(upstream, notification)
        if (passes(session(), upstream, notification)) notify(session(), carried(notification))
      }
    }),
    rootsChanged: (session) => {
      const { capabilities, session: servers } = session.client.caller
      const roots = capabilities["roots"]
      if (servers === undefined || !isFields(roots) || roots["listChanged"] !== true) return
      if (telling.has(servers)) telling.set(servers, true)
      else tellRoots(session, servers)
    },
    forget: ({ client: { caller } }) => {
      if (caller.session === undefined) return
      telling.delete(caller.session)
      upstreams.forget(caller.session)
    }
  }
}
