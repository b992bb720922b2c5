/**
 * A server of the handshake era in memory, whose every connection is at hand.
 */
import { type Fields, isFields, type JsonRpcRequest } from "../../src/JsonRpc.ts"
import type { Transport } from "../../src/upstream/Link.ts"
import type { Connection, Exchange, Failure, Inbound } from "../../src/upstream/transports/Connection.ts"

/** A connection that was opened. */
export interface Opened {
  /** What the client said that it can do. */
  declared: Fields
  readonly sent: Array<JsonRpcRequest>
  readonly posted: Array<Fields>
  readonly say: (message: Inbound) => void
  readonly lose: (failure: Failure) => void
  /** Calls of tools that are under way; `who` is what they were given. */
  readonly calls: Array<{ readonly who: unknown; readonly exchange: Exchange }>
  closed: boolean
  /** Opens the stream of what the server says of itself, once that is asked for. */
  stream?: () => void
}

interface Options {
  /** How one fails whose client declares anything. */
  readonly refuses?: Failure | undefined
  /** Whether one whose client declares anything opens only at `answer`. */
  readonly slow?: boolean | undefined
  /** Whether one whose client declares anything has a stream of what it says of itself; `stream` opens it. */
  readonly listens?: boolean | undefined
  /** Whether it speaks the stateless era. */
  readonly modern?: (() => boolean) | undefined
  /** Whether the first one is lost as soon as it is open. */
  readonly losesFirst?: boolean | undefined
}

/** It answers everything at once but calls of tools, which `finish` answers. */
export const make = (kind: Transport["kind"], { listens, losesFirst, modern, refuses, slow }: Options = {}) => {
  const all: Array<Opened> = []
  const opening: Array<(failure: Failure | undefined) => void> = []

  const initialize = (one: Opened, { params }: JsonRpcRequest, exchange: Exchange) => {
    const capabilities = params?.["capabilities"]
    if (isFields(capabilities)) one.declared = capabilities
    const plain = Object.keys(one.declared).length === 0
    const answer = (failure: Failure | undefined) =>
      failure === undefined
        ? exchange.onReply({
          result: { protocolVersion: "2025-11-25", capabilities: { logging: {} }, serverInfo: {} }
        })
        : exchange.onFailure(failure)
    if (slow === true && !plain) opening.push(answer)
    else answer(plain ? undefined : refuses)
  }

  const transport: Transport = {
    kind,
    open: (_, listener): Connection => {
      const one: Opened = {
        declared: {},
        sent: [],
        posted: [],
        calls: [],
        say: listener.onMessage,
        lose: listener.onLost,
        closed: false
      }
      all.push(one)
      return {
        send: (request, exchange) => {
          one.sent.push(request)
          if (request.method === "initialize") initialize(one, request, exchange)
          else if (request.method === "server/discover" && modern?.() === true) {
            exchange.onReply({ result: { supportedVersions: ["2026-07-28"], capabilities: {} } })
          } else if (request.method !== "tools/call") exchange.onReply({ result: {} })
          else {
            const call = { who: request.params?.["who"], exchange }
            one.calls.push(call)
            return () => {
              const index = one.calls.indexOf(call)
              if (index >= 0) one.calls.splice(index, 1)
            }
          }
          return () => {}
        },
        post: (message, done) => {
          one.posted.push({ ...message })
          done?.(undefined)
          if (losesFirst === true && one === all[0]) {
            one.lose({ phase: "notSent", reason: "gone", connectionLost: true })
          }
        },
        negotiated: () => {},
        listen: listens !== true ? undefined : (onEnd, onOpen) => {
          if (Object.keys(one.declared).length === 0) onEnd({ _tag: "absent" })
          one.stream = onOpen
          return () => {}
        },
        cancelsByClosing: false,
        close: () => {
          one.closed = true
          one.calls.length = 0
          return Promise.resolve()
        }
      }
    }
  }
  return {
    transport,
    all,
    /** Those of single callers that are not closed. */
    own: () => all.slice(1).filter(({ closed }) => !closed),
    /** Answers the calls that are under way. */
    finish: (one: Opened | undefined) => {
      for (const { exchange } of one?.calls.splice(0) ?? []) exchange.onReply({ result: {} })
    },
    /** Opens the connections that wait for it, or fails them. */
    answer: (failure?: Failure) => opening.splice(0).forEach((answer) => answer(failure))
  }
}
