/**
 * One `subscriptions/listen` for resources at a server of the stateless era.
 *
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/subscriptions
 * @since 0.2.0
 */
import { isFields, type JsonRpcNotification, type Reply } from "../../JsonRpc.ts"
import type { Link } from "../Link.ts"
import type { Failure } from "../transports/Connection.ts"

/**
 * What a stream needs.
 *
 * @category models
 * @since 0.2.0
 */
export interface Options {
  readonly link: Link
  readonly uris: ReadonlySet<string>
  /** Calls back after so many ms. */
  readonly later: (ms: number, act: () => void) => void
  /** The server took it, and tells of these from now on. Called once at most. Plain. */
  readonly onTaken: (uris: ReadonlySet<unknown>) => void
  /** It is over, and was not stopped. Called once at most. Plain. */
  readonly onEnded: (outcome: Reply | Failure) => void
}

/**
 * A stream; its notices come by the connection's own way.
 *
 * @category models
 * @since 0.2.0
 */
export interface ResourceStream {
  readonly uris: ReadonlySet<string>
  /** Asks for it. Plain. */
  readonly start: () => void
  /** Plain. */
  readonly stop: () => void
}

/** ms that a server has to take it. */
const AnswerTime = 30_000

/**
 * Makes one, which is yet to be started.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = ({ later, link, onEnded, onTaken, uris }: Options): ResourceStream => {
  let taken = false
  let over = false
  let cancel: () => void = () => {}

  const end = (outcome: Reply | Failure) => {
    if (over) return
    over = true
    onEnded(outcome)
  }

  const take = ({ method, params }: JsonRpcNotification) => {
    if (method !== "notifications/subscriptions/acknowledged" || taken || over) return
    taken = true
    const honored = params?.["notifications"]
    const given = isFields(honored) ? honored["resourceSubscriptions"] : undefined
    onTaken(new Set(Array.isArray(given) ? given : []))
  }

  return {
    uris,
    start: () => {
      const params = { notifications: { resourceSubscriptions: [...uris] } }
      cancel = link.request({ method: "subscriptions/listen", params, onNotification: take }, end, end)
      later(AnswerTime, () => {
        if (taken || over) return
        cancel()
        end({ phase: "mayHaveRun", reason: `subscriptions/listen was not answered within ${AnswerTime} ms` })
      })
    },
    stop: () => {
      over = true
      cancel()
    }
  }
}
