/**
 * How calls of tools become tasks.
 *
 * @since 0.2.0
 */
import * as Catalog from "@portolan/core/Catalog"
import type { Routing } from "@portolan/core/Router"
import { randomUUID } from "node:crypto"
import type { Offer } from "../../catalog/Offer.ts"
import * as TaskSupport from "../../catalog/TaskSupport.ts"
import { Code, type Fields, isFields, type JsonRpcErrorObject, type Reply } from "../../JsonRpc.ts"
import type { Client } from "../calls/Exchange.ts"
import * as Hearing from "../calls/Hearing.ts"
import type { Call } from "../calls/RoutedRequest.ts"
import * as Meta from "../Meta.ts"
import { failure } from "../Method.ts"
import * as KeptTasks from "./KeptTasks.ts"
import type * as TaskCallers from "./TaskCallers.ts"
import * as TaskIds from "./TaskIds.ts"
import type * as TaskOwners from "./TaskOwners.ts"
import * as TaskRounds from "./TaskRounds.ts"
import * as TaskShape from "./TaskShape.ts"

/**
 * A call that may become a task: what is another than with any other call.
 *
 * @category models
 * @since 0.2.0
 */
export interface TaskCall extends Pick<Call, "answer" | "caller" | "capabilities" | "goOn" | "late"> {
  /** Parameters beside those of any call. */
  readonly params: Fields
}

type Answer = NonNullable<Call["answer"]>

/**
 * The calls.
 *
 * @category models
 * @since 0.2.0
 */
export interface TaskCalls {
  /** `undefined` where no task can come of a call; an error where the tool can't be called like this. Plain. */
  readonly call: (
    offer: Offer,
    params: Fields,
    client: Client
  ) => TaskCall | { readonly error: JsonRpcErrorObject } | undefined
}

/**
 * What they are made of.
 *
 * @category models
 * @since 0.2.0
 */
export interface TaskCallsOptions {
  readonly callers: TaskCallers.TaskCallers
  readonly ids: TaskIds.TaskIds
  readonly kept: KeptTasks.KeptTasks
  readonly owners: TaskOwners.TaskOwners
  /** Epoch ms. */
  readonly now: () => number
  /** Whether a server runs tasks, so that clients are told of them. */
  readonly runsTasks: () => boolean
  /** How calls go on that want no task. */
  readonly waits: Call["goOn"]
}

/**
 * The error for a client that did not declare the extension.
 *
 * @category constants
 * @since 0.2.0
 */
export const missing: JsonRpcErrorObject = {
  code: Code.missingClientCapability,
  message: `Missing required client capability: extensions["${TaskSupport.extension}"]`,
  data: { requiredCapabilities: { extensions: { [TaskSupport.extension]: {} } } }
}

const wrongTask = ({ instance, service }: Routing): Reply =>
  failure(Code.internalError, `${service} answered with a task that has no usable id (instance ${instance})`)

/**
 * Makes them.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = ({ callers, ids, kept, now, owners, runsTasks, waits }: TaskCallsOptions): TaskCalls => {
  /** A task was begun; the id that its client gets. */
  const begun = (client: Client, task: Fields, { instance, service, source }: Routing): string | undefined => {
    const own = TaskShape.idOf(task)
    const id = own === undefined ? undefined : ids.seal({ service, source, instance, id: own }, client.principal)
    if (own === undefined || id === undefined) return undefined
    if (client.era === "handshake") owners.note(client, id, Catalog.key(source, instance), own)
    // Of a server of the handshake era.
    if (task["resultType"] !== "task") callers.begun(client, id, task["ttlMs"])
    return id
  }

  /** The task in a result, in the form of the extension. */
  const taskOf = (result: Fields): Fields | undefined => {
    const { task, ...rest } = result
    if (result["resultType"] === "task") return result
    return isFields(task) && TaskShape.idOf(task) !== undefined && result["content"] === undefined
      ? { ...TaskShape.toStateless(task, ""), ...rest, taskId: task["taskId"] }
      : undefined
  }

  const forStateless = (client: Client): Answer => (result, routing, ordinary) => {
    const task = taskOf(result)
    if (task === undefined) return ordinary(result)
    const taskId = begun(client, task, routing)
    if (taskId === undefined) return wrongTask(routing)
    const reply = ordinary({ ...task, taskId })
    return "error" in reply ? reply : { result: { ...reply.result, resultType: "task" } }
  }

  /** The task of a server that answered at once. */
  const finished = (client: Client, wanted: Fields, result: Fields, ordinary: (result: Fields) => Reply): Reply => {
    const id = ids.seal({ service: "", source: "", instance: "", id: randomUUID() }, client.principal)
    if (id === undefined) throw new Error("the id of a kept task is short")
    const time = new Date(now()).toISOString()
    const ttl = KeptTasks.timeOf(wanted["ttl"])
    const task = {
      taskId: id,
      status: result["isError"] === true ? "failed" : "completed",
      createdAt: time,
      lastUpdatedAt: time,
      ttl
    }
    kept.keep(id, { task, reply: ordinary(result) }, ttl)
    owners.note(client, id, undefined, id)
    return { result: { task } }
  }

  const forHandshake = (client: Client, wanted: Fields): Answer => (result, routing, ordinary) => {
    const task = taskOf(result)
    if (task === undefined) return finished(client, wanted, result, ordinary)
    const id = begun(client, task, routing)
    if (id === undefined) return wrongTask(routing)
    return ordinary({ task: TaskShape.toHandshake(task, id), _meta: result["_meta"] })
  }

  /** Progress that the server tells of once the call has become a task: its client hears that until the task is over. */
  const late = (params: Fields): TaskCall["late"] => {
    const token = Hearing.tokenOf(Meta.of(params))
    if (token === undefined) return undefined
    return ({ key }, reply) => {
      const task = "result" in reply ? TaskShape.idOf(reply.result["task"]) : undefined
      if (task === undefined) return undefined
      return ({ method, params = {} }) => {
        const owner = owners.find(key, task)
        if (owner === undefined) return
        const carried = TaskIds.renamed(Meta.onward(params), task, owner.id)
        owner.client.tell?.({ jsonrpc: "2.0", method, params: { ...carried, progressToken: token } })
      }
    }
  }

  /** Of a client that wants no task. */
  const ordinary: TaskCall = { params: {}, goOn: waits }

  return {
    call: ({ definition, publicName }, params, client) => {
      const support = TaskSupport.of(definition)
      if (client.era === "stateless") {
        const declared = TaskSupport.declares(client.capabilities)
        if (support !== "required") return declared ? { params: {}, answer: forStateless(client) } : undefined
        return declared
          ? { params: { task: {} }, caller: callers.of(client), answer: forStateless(client) }
          : { error: missing }
      }
      const task = client.protocolVersion === "2025-11-25" ? params["task"] : undefined
      if (!isFields(task)) {
        if (support !== "required") return support === "optional" ? ordinary : undefined
        // A client that can't know of tasks waits for the result; one that can has been told.
        if (client.protocolVersion !== "2025-11-25") {
          return { params: { task: {} }, caller: callers.of(client), goOn: waits }
        }
        const message =
          `${publicName} runs as a task only: it must be called with "task", of protocol version 2025-11-25`
        return { error: { code: Code.methodNotFound, message } }
      }
      // A client that was told of no tasks is to be answered as if it had not asked.
      if (support === undefined) {
        return runsTasks()
          ? { error: { code: Code.methodNotFound, message: `${publicName} does not run as a task` } }
          : undefined
      }
      return {
        params: { task },
        capabilities: TaskRounds.capabilities(client.caller.capabilities),
        caller: callers.of(client),
        answer: forHandshake(client, task),
        late: late(params)
      }
    }
  }
}
