import type { InstanceView } from "@portolan/gateway/rest/Representations"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { age, stateStyle, table } from "../table.ts"
import { note } from "../terminal.ts"
import { instancesOf, nothingFound, parseConditions, queryArgument } from "./query.ts"
import { asking, gatewayFlags, print, printJson } from "./root.ts"

/** Of a record without a version what the server says of itself tells more. */
const versionOf = (instance: InstanceView): string => {
  const announced = String(instance["version"] ?? "")
  const said = instance.upstream?.server?.["version"]
  return announced === "0.0.0" && typeof said === "string" ? said : announced
}

const instanceTable = (instances: ReadonlyArray<InstanceView>, now: number): string =>
  table<InstanceView>([
    { title: "INSTANCE", text: (instance) => instance.id },
    { title: "SERVICE", text: (instance) => instance.service },
    { title: "VERSION", text: versionOf, spare: true },
    { title: "HEALTH", text: ({ health }) => health.status, style: ({ health }) => stateStyle[health.status] },
    { title: "SCORE", text: ({ health }) => health.score.toFixed(2), align: "right", spare: true },
    { title: "FOR", text: ({ health }) => age(now - Date.parse(health.changedAt)), spare: true },
    {
      title: "SOURCE",
      text: (instance) => [instance.source, ...instance.alsoIn].join(", ") + (instance.stale ? " (stale)" : "")
    },
    {
      title: "NOTE",
      text: ({ health, upstream }) => upstream?.error ?? (health.status === "healthy" ? "" : health.reason),
      gives: true
    }
  ], instances)

export const instances = Command.make(
  "instances",
  { target: gatewayFlags, query: queryArgument("instances that meet these conditions") },
  Effect.fnUntraced(function*({ query, target }) {
    const { gateway, json } = yield* asking(target)
    const conditions = yield* parseConditions(query)
    const found = yield* instancesOf(gateway, conditions)
    if (json) return yield* printJson(found)
    if (found.length === 0) return yield* note(yield* nothingFound(gateway, "instance", conditions))
    yield* print(instanceTable(found, Date.now()))
  })
).pipe(
  Command.withDescription("List the instances, all or those that meet the conditions"),
  Command.withExamples([
    { command: "portolan instances service=weather available=true" },
    { command: "portolan instances tag=prod 'region!=us-*' 'version=^1.2'" }
  ])
)
