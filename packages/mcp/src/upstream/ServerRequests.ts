/**
 * The requests of a server of the handshake era over one connection, until they are answered or withdrawn.
 *
 * @since 0.2.0
 */
import { InFlight } from "../internal/InFlight.ts"
import {
  type Fields,
  isFields,
  type JsonRpcNotification,
  type JsonRpcRequest,
  type Reply,
  type RequestId
} from "../JsonRpc.ts"
import type { ServerRequest } from "./Upstream.ts"

/**
 * Those of one connection. Plain.
 *
 * @category models
 * @since 0.2.0
 */
export interface ServerRequests {
  /**
   * Hands one to whoever asks the client, and its answer to the server. `owner` is the request that it belongs to, if any.
   * Tells whether there was room for it.
   */
  readonly ask: (request: JsonRpcRequest, owner: object | undefined, to: (request: ServerRequest) => void) => boolean
  /** The server wants no answer to one any more. */
  readonly withdraw: (id: unknown) => void
  /** The request that they belonged to is over: the server waits for no answer. */
  readonly abandon: (owner: object | undefined) => void
  /** The connection is over. */
  readonly end: () => void
}

interface Open {
  readonly id: RequestId
  readonly owner: object | undefined
  readonly withdrawn: AbortController
  readonly land: () => boolean
}

/**
 * Requests that belong to one of ours, or of those outside any, that may be open at once.
 *
 * @category constants
 * @since 0.2.0
 */
export const MaxOpen = 32

const capabilityOf: Readonly<Record<string, string>> = {
  "roots/list": "roots",
  "sampling/createMessage": "sampling",
  "elicitation/create": "elicitation",
  "tasks/get": "tasks",
  "tasks/result": "tasks",
  "tasks/list": "tasks",
  "tasks/cancel": "tasks"
}

/**
 * Whether a server that was told these capabilities may ask anything by itself.
 *
 * @category guards
 * @since 0.2.0
 */
export const askable = (capabilities: Fields): boolean =>
  Object.hasOwn(capabilities, "elicitation") || Object.hasOwn(capabilities, "sampling") ||
  Object.hasOwn(capabilities, "roots")

/**
 * Whether a server that was told these capabilities may ask this; a method that none of them stands for only where
 * extensions were declared.
 *
 * @category guards
 * @since 0.2.0
 */
export const allowed = (capabilities: Fields, method: string): boolean =>
  Object.hasOwn(capabilities, Object.hasOwn(capabilityOf, method) ? capabilityOf[method] ?? method : "extensions")

/**
 * Makes those of a connection. `post` sends a reply to the server, `tell` a notification; it says when that was sent.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  post: (id: RequestId, reply: Reply) => void,
  tell: (notification: JsonRpcNotification, sent: () => void) => void
): ServerRequests => {
  const open = new InFlight<Open>()

  /** One at a time: what comes meanwhile is left out, save the last. */
  const progressTo = (progressToken: string | number, isOpen: () => boolean) => {
    let busy = false
    let latest: Fields | undefined
    const next = () => {
      const params = latest
      latest = undefined
      busy = params !== undefined && isOpen()
      if (!busy) return
      tell({ jsonrpc: "2.0", method: "notifications/progress", params: { ...params, progressToken } }, next)
    }
    return (params: Fields) => {
      latest = params
      if (!busy) next()
    }
  }

  const drop = (one: Open) => {
    if (one.land()) one.withdrawn.abort()
  }

  return {
    ask: ({ id, method, params }, owner, to) => {
      if (open.all().filter((one) => one.owner === owner).length >= MaxOpen) return false
      const withdrawn = new AbortController()
      const one: Open = { id, owner, withdrawn, land: () => land() }
      let isOpen = true
      const remove = open.add(one)
      const land = () => {
        isOpen = false
        return remove()
      }
      const meta = params?.["_meta"]
      const token = isFields(meta) ? meta["progressToken"] : undefined
      to({
        method,
        params,
        withdrawn: withdrawn.signal,
        progress: typeof token === "string" || typeof token === "number" ? progressTo(token, () => isOpen) : undefined,
        reply: (reply) => {
          if (land()) post(id, reply)
        }
      })
      return true
    },
    withdraw: (id) => {
      const found = open.find((one) => one.id === id)
      if (found !== undefined) drop(found)
    },
    abandon: (owner) => {
      for (const one of open.all()) if (one.owner === owner) drop(one)
    },
    end: () => {
      for (const one of open.all()) drop(one)
    }
  }
}
