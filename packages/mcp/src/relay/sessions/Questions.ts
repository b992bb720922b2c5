/**
 * What the gateway asks a client of the handshake era, for the servers behind it.
 *
 * **Mental model**: a question goes out on one of the client's streams, and its answer comes back as a message of its own.
 * Ids are the gateway's: what a server called its request never leaves the gateway.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/client
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import { randomBytes } from "node:crypto"
import {
  Code,
  type Fields,
  isFields,
  type JsonRpcNotification,
  type JsonRpcRequest,
  type Reply,
  type RequestId
} from "../../JsonRpc.ts"
import * as Meta from "../Meta.ts"
import { failure } from "../Method.ts"
import { overloaded } from "../Refusals.ts"

/**
 * A way on which messages reach the client. Plain; must not throw.
 *
 * @category models
 * @since 0.2.0
 */
export interface Way {
  readonly request: (request: JsonRpcRequest) => void
  readonly notify: (notification: JsonRpcNotification) => void
  /** Whether the client can be thought to read it. Default yes. */
  readonly isOpen?: (() => boolean) | undefined
  /** Whether what is sent meanwhile is kept for a client that comes back. Default no. */
  readonly keeps?: (() => boolean) | undefined
}

/**
 * Whether a client can be thought to read what is sent on a way. Plain.
 *
 * @category guards
 * @since 0.2.0
 */
export const isOpen = (way: Way): boolean => way.isOpen?.() !== false

/**
 * Settings. Read for each question, so that whoever holds them may change them.
 *
 * @category models
 * @since 0.2.0
 */
export interface QuestionsOptions {
  /** What the client has to answer, ms. */
  readonly inputTimeout: number
  /** What a client without any stream has to open one, ms. */
  readonly reachTimeout: number
  /** Questions of one session that wait for their answer. */
  readonly maxQuestions: number
}

/**
 * The client that is asked.
 *
 * @category models
 * @since 0.2.0
 */
export interface Asked {
  readonly protocolVersion: string
  readonly capabilities: Fields
  /** The ways of its session that belong to no request; the last that is open is used. */
  readonly outlets: ReadonlyArray<Way>
}

/**
 * What became of an answer: it was waited for; it came late, or twice; or nobody asked.
 *
 * @category models
 * @since 0.2.0
 */
export type Answered = "taken" | "late" | "unasked"

/**
 * The questions of one session.
 *
 * @category models
 * @since 0.2.0
 */
export interface Questions {
  /**
   * Asks on a way, or on another one of the session where that is closed. Always replies: with an error where the client
   * did not declare that it can be asked this, can't be reached, or doesn't answer in time. Interruption withdraws it.
   * `progress`, where given, hears how far the client is.
   */
  readonly ask: (
    method: string,
    params: Fields | undefined,
    way?: Way | undefined,
    progress?: ((params: Fields) => void) | undefined
  ) => Effect.Effect<Reply>
  /** Takes a notification of progress; one that belongs to no question is dropped. Plain. */
  readonly progress: (params: Fields) => void
  /** Takes an answer. Plain. */
  readonly answer: (id: RequestId, reply: Reply) => Answered
  /** A way was opened: what could not be asked so far is asked now. Plain. */
  readonly opened: () => void
  readonly pending: () => number
  /** The session is over. Plain. */
  readonly close: () => void
}

interface Question {
  readonly message: JsonRpcRequest
  readonly done: (reply: Reply) => void
  readonly progress: ((params: Fields) => void) | undefined
  /** Where it was sent. */
  way: Way | undefined
}

/** Of this process: an answer to what another replica asked is not taken for one of ours. */
const ours = `portolan-${randomBytes(6).toString("base64url")}-`

/**
 * The capability that a client declares where it can be asked something, by method.
 *
 * @category constants
 * @since 0.2.0
 */
export const needs: Readonly<Record<string, string>> = {
  "sampling/createMessage": "sampling",
  "elicitation/create": "elicitation",
  "roots/list": "roots"
}

/** Versions that came before there was elicitation, and before it had modes. */
const withoutElicitation: ReadonlyArray<string> = ["2024-11-05", "2025-03-26"]
const withoutModes: ReadonlyArray<string> = [...withoutElicitation, "2025-06-18"]

/** Whether a client takes elicitation in a mode. One that declares no mode takes forms. */
const takes = (declared: Fields, mode: unknown): boolean =>
  mode === "url" ? isFields(declared["url"]) : isFields(declared["form"]) || !isFields(declared["url"])

/**
 * Why a client can't be asked something: it did not declare that it can. `undefined` where it can. A method that isn't known
 * is asked: the client says itself what it thinks of it.
 *
 * @category guards
 * @since 0.2.0
 */
export const undeclared = (
  { capabilities, protocolVersion }: Pick<Asked, "capabilities" | "protocolVersion">,
  method: string,
  params: Fields | undefined
): Reply | undefined => {
  const name = Object.hasOwn(needs, method) ? needs[method] : undefined
  if (name === undefined) return undefined
  const declared = capabilities[name]
  if (!isFields(declared) || (name === "elicitation" && withoutElicitation.includes(protocolVersion))) {
    return failure(Code.methodNotFound, `${method}: the client did not declare the capability ${name}`)
  }
  if (name !== "elicitation") return undefined
  const mode = params?.["mode"] === "url" ? "url" : "form"
  return takes(declared, mode) && (mode === "form" || !withoutModes.includes(protocolVersion))
    ? undefined
    : failure(Code.invalidParams, `${method}: the client did not declare elicitation of mode ${mode}`)
}

/**
 * Makes those of a session.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (client: Asked, options: QuestionsOptions): Questions => {
  // Most sessions are never asked anything.
  let pending: Map<RequestId, Question> | undefined
  let count = 0
  let closed = false

  const wayFrom = (wanted: Way | undefined): Way | undefined =>
    wanted !== undefined && isOpen(wanted)
      ? wanted
      : client.outlets.findLast(isOpen) ?? (wanted?.keeps?.() === true ? wanted : undefined)

  const send = (question: Question, wanted?: Way): void => {
    const way = wayFrom(wanted)
    if (way === undefined) return
    question.way = way
    way.request(question.message)
  }

  const withdraw = ({ message, way }: Question, reason: string): void => {
    if (way === undefined) return
    wayFrom(way)?.notify({
      jsonrpc: "2.0",
      method: "notifications/cancelled",
      params: { requestId: message.id, reason }
    })
  }

  return {
    ask: (method, params, way, progress) =>
      Effect.suspend(() => {
        if (closed) return Effect.succeed(failure(Code.unavailable, `${method}: the client's session is over`))
        const refusal = undeclared(client, method, params)
        if (refusal !== undefined) return Effect.succeed(refusal)
        const waiting = pending ??= new Map()
        if (waiting.size >= options.maxQuestions) {
          return Effect.succeed({ error: overloaded("Too many questions wait for this client") })
        }
        const id = `${ours}${++count}`
        const carried = params === undefined ? undefined : Meta.onward(params)
        const message: JsonRpcRequest = {
          jsonrpc: "2.0",
          id,
          method,
          ...(carried === undefined
            ? undefined
            : { params: progress === undefined ? carried : Meta.withProgress(carried, id) })
        }
        let question: Question | undefined
        const answered = Effect.callback<Reply>((resume) => {
          question = { message, done: (reply) => resume(Effect.succeed(reply)), progress, way: undefined }
          waiting.set(id, question)
          send(question, way)
          return Effect.sync(() => {
            if (question !== undefined && waiting.delete(id)) withdraw(question, "no longer needed")
          })
        })
        const unreachable = Effect.flatMap(Effect.sleep(options.reachTimeout), () =>
          question?.way === undefined
            ? Effect.succeed(failure(Code.unavailable, `${method}: the client has no stream open to be asked on`))
            : Effect.never)
        return Effect.raceFirst(answered, unreachable).pipe(
          Effect.timeoutOrElse({
            duration: options.inputTimeout,
            orElse: () =>
              Effect.succeed(
                failure(Code.unavailable, `${method}: the client did not answer within ${options.inputTimeout} ms`)
              )
          })
        )
      }),

    answer: (id, reply) => {
      const question = pending?.get(id)
      if (question === undefined) return typeof id === "string" && id.startsWith(ours) ? "late" : "unasked"
      pending?.delete(id)
      question.done("error" in reply ? reply : { result: Meta.onward(reply.result) })
      return "taken"
    },

    progress: (params) => {
      const { progressToken, ...rest } = params
      if (typeof progressToken === "string") pending?.get(progressToken)?.progress?.(Meta.onward(rest))
    },

    opened: () => {
      for (const question of pending?.values() ?? []) {
        if (question.way === undefined) send(question)
      }
    },

    pending: () => pending?.size ?? 0,

    close: () => {
      closed = true
      const left = Array.from(pending?.values() ?? [])
      pending?.clear()
      for (const { done, message } of left) {
        done(failure(Code.unavailable, `${message.method}: the client's session is over`))
      }
    }
  }
}
