import type { ToolView } from "@portolan/gateway/rest/Representations"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { table } from "../table.ts"
import { note } from "../terminal.ts"
import { type Conditions, nothingFound, parseConditions, queryArgument } from "./query.ts"
import { asking, gatewayFlags, print, printJson } from "./root.ts"

const toolTable = (tools: ReadonlyArray<ToolView>): string =>
  table<ToolView>([
    { title: "TOOL", text: (tool) => tool.name },
    { title: "INSTANCES", text: (tool) => String(tool.instances.length), align: "right" },
    { title: "HINT", text: (tool) => tool.readOnly ? "read-only" : tool.repeatable ? "repeatable" : "" },
    {
      title: "DESCRIPTION",
      text: (tool) => typeof tool["description"] === "string" ? tool["description"] : "",
      gives: true
    }
  ], tools)

/** Conditions are on instances; words are about tools, and nothing that an instance says of itself. */
const pathWithoutWords = (conditions: Conditions | undefined): Effect.Effect<string> =>
  Effect.gen(function*() {
    const Query = yield* Effect.promise(() => import("@portolan/core/Query"))
    const { search: _, ...others } = conditions?.query ?? {}
    const parameters = Query.toUrlParameters(others)
    return `/api/v1/tools${parameters.size === 0 ? "" : `?${parameters}`}`
  })

export const tools = Command.make(
  "tools",
  {
    target: gatewayFlags,
    query: queryArgument("tools with these words in their name or description, of instances that meet the conditions"),
    service: Flag.String("service").pipe(Flag.withDescription("Only tools of this service"), Flag.optional)
  },
  Effect.fnUntraced(function*({ query, service, target }) {
    const { client, gateway, json } = yield* asking(target)
    const views = yield* Effect.promise(() => import("@portolan/gateway/rest/Representations"))
    const conditions = yield* parseConditions([
      ...query,
      ...Option.match(service, { onNone: () => [], onSome: (name) => [`service=${JSON.stringify(name)}`] })
    ])
    const offered = yield* client.list(gateway, yield* pathWithoutWords(conditions), views.ToolView)
    const words = conditions?.query.search?.toLowerCase().split(/\s+/) ?? []
    const found = offered.filter((tool) => {
      const said = [tool.name, tool["title"], tool["description"]].join("\n").toLowerCase()
      return words.every((word) => said.includes(word))
    })
    if (json) return yield* printJson(found)
    if (found.length === 0) return yield* note(yield* nothingFound(gateway, "tool", conditions))
    yield* print(toolTable(found))
  })
).pipe(
  Command.withDescription("List the tools under the names that clients use"),
  Command.withExamples([
    { command: "portolan tools forecast", description: "Tools that speak of forecasts" },
    { command: "portolan tools service=weather region=eu" }
  ])
)
