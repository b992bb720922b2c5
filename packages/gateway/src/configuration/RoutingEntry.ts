/**
 * An entry of `routing` in the configuration: a rule for the calls that it matches.
 *
 * @since 0.1.0
 */
import { strategyNames } from "@portolan/core/Balancer"
import * as Query from "@portolan/core/Query"
import type { RoutingRule } from "@portolan/core/RoutingRule"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { count, duration, number, optional } from "../internal/fields.ts"

/**
 * Schema of an entry. The first entry that matches a call holds for it.
 *
 * @category schemas
 * @since 0.1.0
 */
export const RoutingEntry = Schema.Struct({
  name: optional(Schema.NonEmptyString, "What the rule is called in reports; its patterns by default"),
  match: Schema.Struct({
    tool: optional(
      Schema.NonEmptyString,
      "Tools, prompts and resources as service.name, or by the name that the server gives; * stands for any text"
    ),
    service: optional(Schema.NonEmptyString, "Services; * stands for any text"),
    capability: optional(Schema.NonEmptyString, "Capabilities that a call asks for; * stands for any text")
  }).annotate({ description: "What the rule holds for: all that is given must match" }),
  preferRegions: optional(Schema.Array(Schema.NonEmptyString), "Regions that come first, the best one first"),
  minHealthScore: optional(
    number(0, 1),
    "Instances with a lower health score are taken only where there is no other"
  ),
  require: optional(
    Schema.Record(Schema.String, Schema.Unknown),
    "A query that an instance must meet to get these calls, such as { metadata.gpu: true }"
  ),
  timeout: Schema.optionalKey(duration({ description: "Whole time of a call" })),
  retries: optional(count(0, 10), "Attempts after the first one, where those are safe"),
  hedging: optional(
    Schema.Boolean,
    "Whether read-only calls get a second attempt elsewhere where the first takes long; as calls.hedging by default"
  ),
  strategy: optional(Schema.Literals(strategyNames), "How an instance is chosen among several")
})
export type RoutingEntry = typeof RoutingEntry.Type

/**
 * Makes the rule. `timeout` reads the text of a duration. The failure names the key of `require` that is wrong.
 *
 * @category converting
 * @since 0.1.0
 */
export const toRule = (
  entry: RoutingEntry,
  timeout: (text: string) => RoutingRule["timeout"]
): Result.Result<RoutingRule, { readonly path: ReadonlyArray<string>; readonly message: string }> => {
  const { match, retries, ...rest } = entry
  const required = entry.require === undefined ? Result.succeed(undefined) : Query.decode(entry.require)
  const compiled = Result.flatMap(required, (query) => {
    if (query === undefined) return Result.succeed(undefined)
    return Result.map(Query.compile(query), () => query)
  })
  return Result.mapBoth(compiled, {
    onFailure: ({ path, reason }) => ({
      // The condition's own key where the path begins with it; keys of metadata hold dots.
      path: [
        "require",
        ...Object.keys(entry.require ?? {}).filter((key) => path === key || path.startsWith(`${key}.`))
      ],
      message: reason
    }),
    onSuccess: (query): RoutingRule => ({
      ...rest,
      require: query,
      match: { name: match.tool, service: match.service, capability: match.capability },
      timeout: entry.timeout === undefined ? undefined : timeout(entry.timeout),
      attempts: retries === undefined ? undefined : retries + 1
    })
  })
}
