import type { ServiceView } from "@portolan/gateway/rest/Representations"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { table } from "../table.ts"
import { note } from "../terminal.ts"
import { nothingFound, parseConditions, pathOf, queryArgument } from "./query.ts"
import { asking, gatewayFlags, print, printJson } from "./root.ts"

const serviceTable = (services: ReadonlyArray<ServiceView>): string =>
  table<ServiceView>([
    { title: "SERVICE", text: (service) => service.name },
    { title: "VERSION", text: (service) => service.versions.join(", ") },
    { title: "INSTANCES", text: (service) => String(service.instances), align: "right" },
    {
      title: "AVAILABLE",
      text: (service) => String(service.available),
      align: "right",
      style: (service) => service.available === 0 ? "red" : service.available < service.instances ? "yellow" : "green"
    },
    { title: "TOOLS", text: (service) => String(service.tools), align: "right" },
    { title: "SOURCE", text: (service) => service.sources.join(", ") },
    { title: "CAPABILITIES", text: (service) => service.capabilities.join(", "), gives: true }
  ], services)

export const services = Command.make(
  "services",
  { target: gatewayFlags, query: queryArgument("services with an instance that meets these conditions") },
  Effect.fnUntraced(function*({ query, target }) {
    const { client, gateway, json } = yield* asking(target)
    const views = yield* Effect.promise(() => import("@portolan/gateway/rest/Representations"))
    const conditions = yield* parseConditions(query)
    const found = yield* client.list(gateway, pathOf("services", conditions), views.ServiceView)
    if (json) return yield* printJson(found)
    if (found.length === 0) return yield* note(yield* nothingFound(gateway, "service", conditions))
    yield* print(serviceTable(found))
  })
).pipe(Command.withDescription("List the services, all or those with an instance that meets the conditions"))
