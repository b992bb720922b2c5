/**
 * What a server of the stateless era wants to know before it answers: `inputRequests` of a result of type `input_required`,
 * and `inputResponses` of the request that comes after it.
 *
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import { randomUUID } from "node:crypto"
import { Code, type Fields, isFields, type JsonRpcErrorObject, type Reply } from "../../JsonRpc.ts"
import * as Meta from "../Meta.ts"
import * as Questions from "../sessions/Questions.ts"
import type { Client, Exchange } from "./Exchange.ts"
import { MaxOwn } from "./RequestState.ts"

/**
 * One thing that a server asks of the client.
 *
 * @category models
 * @since 0.2.0
 */
export interface InputRequest {
  readonly method: string
  readonly params: Fields | undefined
}

/**
 * A result of type `input_required`.
 *
 * @category models
 * @since 0.2.0
 */
export interface InputRequired {
  readonly requests: ReadonlyArray<readonly [key: string, request: InputRequest]>
  /** The server's own state. */
  readonly state: string | undefined
}

/**
 * The methods that a server may answer like that.
 *
 * @category constants
 * @since 0.2.0
 */
export const methods: ReadonlySet<string> = new Set(["tools/call", "prompts/get", "resources/read"])

/** Things that one result may ask for. */
const MaxRequests = 64

/**
 * Reads a result of type `input_required`. Gives what is wrong with it, as a part of a sentence, where something is.
 *
 * @category decoding
 * @since 0.2.0
 */
export const read = (result: Fields): InputRequired | string => {
  const { inputRequests = {}, requestState } = result
  if (!isFields(inputRequests)) return "inputRequests is not an object"
  if (requestState !== undefined && typeof requestState !== "string") return "requestState is not a string"
  if (requestState !== undefined && Buffer.byteLength(JSON.stringify(requestState)) > MaxOwn) {
    return `requestState has more than ${MaxOwn} bytes`
  }
  const requests: Array<readonly [string, InputRequest]> = []
  for (const [key, request] of Object.entries(inputRequests)) {
    const method = isFields(request) ? request["method"] : undefined
    const params = isFields(request) ? request["params"] : undefined
    if (typeof method !== "string" || (params !== undefined && !isFields(params))) {
      return `inputRequests.${key} is not a request`
    }
    requests.push([key, { method, params: params === undefined ? undefined : Meta.onward(params) }])
  }
  if (requests.length > MaxRequests) return `it asks for more than ${MaxRequests} things at once`
  return requests.length === 0 && requestState === undefined
    ? "there are neither inputRequests nor a requestState"
    : { requests, state: requestState }
}

/**
 * Why a client can't answer something, as one line: it did not declare that it can. `undefined` where it can.
 *
 * @category guards
 * @since 0.2.0
 */
export const unanswerable = (client: Client, { method, params }: InputRequest): string | undefined => {
  const refusal = Questions.undeclared(client, method, params)
  return refusal !== undefined && "error" in refusal ? refusal.error.message : undefined
}

/**
 * Why a client of the stateless era can't be asked what a server of the handshake era asks, as one line. `undefined` where
 * it can.
 *
 * @category guards
 * @since 0.2.0
 */
export const unaskable = (client: Client, request: InputRequest): string | undefined =>
  Object.hasOwn(Questions.needs, request.method)
    ? unanswerable(client, request)
    : `${request.method} is nothing that a client of protocol version ${client.protocolVersion} is asked`

/**
 * Gives what a server of the handshake era asks as clients of the stateless era read it.
 *
 * @category combinators
 * @since 0.2.0
 */
export const ofHandshake = ({ method, params }: InputRequest): InputRequest => {
  if (params === undefined) return { method, params }
  const own = Meta.onward(params)
  if (method !== "elicitation/create" || own["elicitationId"] === undefined) return { method, params: own }
  // It ties a later notice to the elicitation, which this era doesn't have.
  const { elicitationId: _, ...rest } = own
  return { method, params: rest }
}

/** The same as clients of the handshake era read it: where they go to a URL, that has a name. */
const forHandshake = ({ method, params }: InputRequest): Fields | undefined =>
  method === "elicitation/create" && params?.["mode"] === "url" && params["elicitationId"] === undefined
    ? { ...params, elicitationId: randomUUID() }
    : params

/**
 * Writes `inputRequests`.
 *
 * @category encoding
 * @since 0.2.0
 */
export const write = (requests: InputRequired["requests"]): Fields =>
  Object.fromEntries(requests.map(([key, { method, params }]) => [
    key,
    params === undefined ? { method } : { method, params }
  ]))

/**
 * Gives the answer to a request among `inputResponses`, where there is one.
 *
 * @category decoding
 * @since 0.2.0
 */
export const responseTo = (responses: unknown, key: string): Fields | undefined => {
  const response = isFields(responses) && Object.hasOwn(responses, key) ? responses[key] : undefined
  return isFields(response) ? Meta.onward(response) : undefined
}

/**
 * Gives `inputResponses` for the next hop.
 *
 * @category combinators
 * @since 0.2.0
 */
export const onward = (responses: Fields): Fields =>
  Object.fromEntries(
    Object.entries(responses).map(([key, response]) => [key, isFields(response) ? Meta.onward(response) : response])
  )

/**
 * Asks a client of the handshake era everything at once, and gives `inputResponses`. Fails with what the caller is told where
 * the client gives one of the answers not; the other questions are withdrawn.
 *
 * @category combinators
 * @since 0.2.0
 */
export const ask = (
  ask: NonNullable<Exchange["ask"]>,
  requests: InputRequired["requests"]
): Effect.Effect<Fields, JsonRpcErrorObject> =>
  Effect.forEach(
    requests,
    ([key, request]) =>
      Effect.flatMap(
        ask(request.method, forHandshake(request)),
        (reply): Effect.Effect<readonly [string, Fields], JsonRpcErrorObject> =>
          "error" in reply
            ? Effect.fail(unanswered(request.method, reply.error))
            : Effect.succeed([key, reply.result])
      ),
    { concurrency: "unbounded" }
  ).pipe(Effect.map((answers) => Object.fromEntries(answers)))

const unanswered = (method: string, { code, message }: JsonRpcErrorObject): JsonRpcErrorObject => ({
  code: Code.internalError,
  message: `the server asked for ${method}, and the client answered with error ${code}: ${message}`,
  data: { reason: "inputRefused", method, error: { code, message } }
})

/** "URL elicitation required" of 2025-11-25: the server wants to be called again once the user has been there. */
const urlRequired = -32042

/**
 * Reads the error with which a server of the handshake era sends the user elsewhere first, if it is that one.
 *
 * @category decoding
 * @since 0.2.0
 */
export const elsewhere = (error: JsonRpcErrorObject): InputRequired["requests"] | undefined => {
  const elicitations = error.code === urlRequired && isFields(error.data) ? error.data["elicitations"] : undefined
  if (!Array.isArray(elicitations) || elicitations.length === 0 || elicitations.length > MaxRequests) return undefined
  const all: ReadonlyArray<unknown> = elicitations
  return all.every(isFields)
    ? all.map((params, index) => [`url-${index + 1}`, ofHandshake({ method: "elicitation/create", params })])
    : undefined
}

/**
 * Refuses what a server asks of the client.
 *
 * @category constructors
 * @since 0.2.0
 */
export const refusal = (message: string): Reply => ({ error: { code: Code.methodNotFound, message } })
