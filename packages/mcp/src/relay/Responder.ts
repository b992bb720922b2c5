/**
 * The way of replies back to the client, whatever it speaks.
 *
 * @since 0.1.0
 */
import { Code, type Reply, type RequestId } from "../JsonRpc.ts"
import type { Hop } from "../telemetry/Serving.ts"
import type { Way } from "./sessions/Questions.ts"

/**
 * The way back for one request, or for those of one batch.
 *
 * @category models
 * @since 0.1.0
 */
export interface Responder extends Way {
  /** Whether messages can reach the client before the reply. */
  readonly streams: boolean
  /** What the requests came by. Default: HTTP without trace context. */
  readonly hop?: Hop | undefined
  /** The reply to a request. `status` is one of HTTP, and counts where nothing was written yet. */
  readonly reply: (id: RequestId, reply: Reply, status?: number) => void
  /** A request that was cancelled: it gets no reply. */
  readonly skip: () => void
}

/**
 * Writes a reply as JSON.
 *
 * @category constructors
 * @since 0.1.0
 */
export const encode = (id: RequestId | null, reply: Reply): string => {
  try {
    return JSON.stringify({ jsonrpc: "2.0", id, ...reply })
  } catch {
    // Deeper than the stack, or longer than a string can be.
    const error = { code: Code.internalError, message: "The result can't be written as JSON" }
    return JSON.stringify({ jsonrpc: "2.0", id, error })
  }
}
