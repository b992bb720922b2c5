/**
 * The conditions that lists take, as a person types them.
 */
import type { Query } from "@portolan/core/Query"
import type { InstanceView } from "@portolan/gateway/rest/Representations"
import * as Argument from "effect/cli/Argument"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { GatewayAddress } from "../client.ts"
import { type Failure, wrong } from "../Failure.ts"

export const queryArgument = (what: string) =>
  Argument.String("query").pipe(
    Argument.withDescription(`Only ${what}: service=weather, tag=prod, region!=us-*, version=^1.2, or words`),
    Argument.variadic()
  )

/** Conditions as they were typed, and what they say. */
export interface Conditions {
  readonly text: string
  readonly query: Query
}

/** Reads conditions; `undefined` where there are none. */
export const parseConditions = (words: ReadonlyArray<string>): Effect.Effect<Conditions | undefined, Failure> =>
  words.length === 0 ? Effect.succeed(undefined) : Effect.gen(function*() {
    const Query = yield* Effect.promise(() => import("@portolan/core/Query"))
    // What the shell took the quotes of is still one value.
    const text = words.map(requote).join(" ")
    const parsed = Query.parse(text)
    return Result.isSuccess(parsed) ? { text, query: parsed.success } : yield* wrong(parsed.failure.message)
  })

const requote = (word: string): string => {
  if (!/\s/.test(word) || word.includes("\"")) return word
  const [, head = "", value = word] = /^([\w$][^=!<>~"\s]*?(?:!=|>=|<=|=|>|<|~))([^]*)$/.exec(word) ?? []
  return head === "" ? word : `${head}${JSON.stringify(value)}`
}

/** Path of a list, of what meets the conditions. */
export const pathOf = (list: "services" | "instances", conditions: Conditions | undefined): string =>
  `/api/v1/${list}${conditions === undefined ? "" : `?${new URLSearchParams({ q: conditions.text })}`}`

/** The instances that meet the conditions. */
export const instancesOf = (
  gateway: GatewayAddress,
  conditions: Conditions | undefined
): Effect.Effect<ReadonlyArray<InstanceView>, Failure> =>
  Effect.gen(function*() {
    const client = yield* Effect.promise(() => import("../client.ts"))
    const views = yield* Effect.promise(() => import("@portolan/gateway/rest/Representations"))
    return yield* client.list(gateway, pathOf("instances", conditions), views.InstanceView)
  })

/**
 * What is said in place of a list without items: how to see more, and which name may have been meant.
 */
export const nothingFound = (
  gateway: GatewayAddress,
  what: "service" | "instance" | "tool",
  conditions: Conditions | undefined
): Effect.Effect<string, Failure> =>
  Effect.gen(function*() {
    const all = yield* instancesOf(gateway, undefined)
    if (conditions === undefined) {
      if (what === "tool" && all.length > 0) {
        return `no tools: none of ${all.length} instances lists any; \`portolan status\` tells why`
      }
      return `no ${what}s: nothing is announced; see \`portolan status\`, and name registries or servers in portolan.yaml`
    }
    const { hint } = yield* Effect.promise(() => import("@portolan/core/NearestName"))
    const hints = (["id", "service", "name", "source"] as const).flatMap((key) => {
      const wanted = conditions.query[key]
      if (typeof wanted !== "string") return []
      const names = Array.from(new Set(all.map((instance) => key === "name" ? instance.service : instance[key])))
      return names.includes(wanted) ? [] : [hint(wanted, names)]
    })
    return `no ${what} meets these conditions${
      hints.find((text) => text !== "") ?? `; \`portolan ${what}s\` lists all`
    }`
  })
