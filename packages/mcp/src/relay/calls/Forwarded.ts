/**
 * The methods that go to one server, which the request names: calls, reads, prompts and completions.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import type { OfferKind } from "../../catalog/ToolCatalog.ts"
import { Code, type Fields, isFields, type Reply } from "../../JsonRpc.ts"
import * as Destination from "../Destination.ts"
import * as Meta from "../Meta.ts"
import { everyEra, failure, type Method, type Part } from "../Method.ts"
import type { TaskCalls } from "../tasks/TaskCalls.ts"
import type { Exchange, Forwarding } from "./Forwarding.ts"
import * as ParamHeaders from "./ParamHeaders.ts"

/** What of the catalog they name, and where. */
const named: Readonly<Record<string, { readonly kind: OfferKind; readonly field: "name" | "uri" }>> = {
  "tools/call": { kind: "tools", field: "name" },
  "prompts/get": { kind: "prompts", field: "name" },
  "resources/read": { kind: "resources", field: "uri" }
}

/**
 * Makes them.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  destination: Destination.Destination,
  { close, forward }: Forwarding,
  tasks: Pick<TaskCalls, "call">
): Part => {
  const complete = (params: Fields, exchange: Exchange): Effect.Effect<Reply> => {
    const ref = params["ref"]
    if (!isFields(ref)) return Effect.succeed(failure(Code.invalidParams, "ref must be an object"))
    const prompt = ref["type"] === "ref/prompt"
    if (!prompt && ref["type"] !== "ref/resource") {
      return Effect.succeed(failure(Code.invalidParams, "ref.type must be ref/prompt or ref/resource"))
    }
    const name = ref[prompt ? "name" : "uri"]
    if (typeof name !== "string") {
      return Effect.succeed(failure(Code.invalidParams, `ref.${prompt ? "name" : "uri"} must be a string`))
    }
    const kind = prompt ? "prompts" : "resourceTemplates"
    return destination.find(kind, name, exchange.client, (offer) => {
      const target = offer ??
        (prompt ? undefined : destination.offersFor(exchange.client).find("resources", name))
      if (target === undefined) return Effect.succeed(destination.unknown(kind, name, exchange.client))
      const changed = prompt ? { ref: { ...ref, name: target.name } } : {}
      return forward({
        method: "completion/complete",
        offer: target,
        params: Destination.outgoing(params, changed),
        meta: Meta.of(params),
        exchange
      })
    })
  }

  const methods: Record<string, Method> = {
    "completion/complete": {
      eras: everyEra,
      answer: ({ params = {} }, exchange) => complete(params, exchange)
    }
  }
  for (const [method, { field, kind }] of Object.entries(named)) {
    methods[method] = {
      eras: everyEra,
      answer: ({ params = {} }, exchange) => {
        const name = params[field]
        if (typeof name !== "string") {
          return Effect.succeed(failure(Code.invalidParams, `params.${field} must be a string`))
        }
        return destination.find(kind, name, exchange.client, (offer) => {
          if (offer === undefined) return Effect.succeed(destination.unknown(kind, name, exchange.client))
          const task = kind === "tools" ? tasks.call(offer, params, exchange.client) : undefined
          if (task !== undefined && "error" in task) return Effect.succeed(task)
          const renamed = field === "name" ? { name: offer.name } : {}
          const changed = task === undefined ? renamed : { ...renamed, ...task.params }
          const headers = kind === "tools" ? ParamHeaders.make(offer.definition, params["arguments"]) : undefined
          return forward({
            method,
            offer,
            params: Destination.outgoing(params, changed),
            meta: Meta.of(params),
            exchange,
            headers,
            capabilities: task?.capabilities,
            caller: task?.caller,
            answer: task?.answer,
            goOn: task?.goOn,
            late: task?.late
          })
        })
      }
    }
  }
  return { methods, close }
}
