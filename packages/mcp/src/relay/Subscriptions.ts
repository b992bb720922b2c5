/**
 * What clients ask to be told of: changes of lists, and of resources.
 *
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/subscriptions
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import { Code, type Fields, isFields, type JsonRpcRequest, type Reply } from "../JsonRpc.ts"
import type { Exchange } from "./Forwarding.ts"
import * as Meta from "./Meta.ts"
import { failure, type Part } from "./Method.ts"
import * as Notices from "./Notices.ts"

/**
 * Makes the part. `identity` is the `_meta` with which the gateway says who it is.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (notices: Notices.Notices, identity: Fields): Part => {
  const listening = new Set<() => void>()

  const listen = (request: JsonRpcRequest, exchange: Exchange): Effect.Effect<Reply> => {
    const filter = request.params?.["notifications"]
    if (!isFields(filter)) {
      return Effect.succeed(failure(Code.invalidParams, "notifications is required and must be an object"))
    }
    for (const kind of Notices.listKinds) {
      const wanted = filter[`${kind}ListChanged`]
      if (wanted !== undefined && typeof wanted !== "boolean") {
        return Effect.succeed(failure(Code.invalidParams, `notifications.${kind}ListChanged must be a boolean`))
      }
    }
    if (!exchange.streams) {
      return Effect.succeed(failure(Code.invalidRequest, "subscriptions/listen needs a reply by event stream"))
    }
    const kinds = new Set(Notices.listKinds.filter((kind) => filter[`${kind}ListChanged`] === true))
    const _meta = { [Meta.Key.subscriptionId]: request.id }
    const notify = (method: string, params: Fields) =>
      exchange.notify({ jsonrpc: "2.0", method, params: { ...params, _meta } })
    return Effect.callback<Reply>((resume) => {
      notify("notifications/subscriptions/acknowledged", {
        notifications: Object.fromEntries(Array.from(kinds, (kind) => [`${kind}ListChanged`, true]))
      })
      const remove = notices.add({
        kinds,
        known: Notices.makeKnown(),
        notify: (kind) => notify(`notifications/${kind}/list_changed`, {})
      })
      const end = () => {
        remove()
        listening.delete(end)
        resume(Effect.succeed({ result: { resultType: "complete", _meta: { ..._meta, ...identity } } }))
      }
      listening.add(end)
      return Effect.sync(() => {
        remove()
        listening.delete(end)
      })
    })
  }

  return {
    methods: { "subscriptions/listen": { eras: ["stateless"], answer: listen } },
    close: () => {
      for (const end of Array.from(listening)) end()
    }
  }
}
