/**
 * Answers how calls are routed, and what became of them.
 */
import { Discovery } from "@portolan/core/Discovery"
import { Health } from "@portolan/core/Health"
import * as NearestName from "@portolan/core/NearestName"
import { pattern } from "@portolan/core/Query"
import { type Caller, Router, type RouteRequest } from "@portolan/core/Router"
import { ToolCatalog } from "@portolan/mcp/catalog/ToolCatalog"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { Api } from "../rest/Api.ts"
import * as ExplanationView from "../rest/ExplanationView.ts"
import * as FleetHealth from "../rest/FleetHealth.ts"
import { type BadRequest, mistaken, NotFound } from "../rest/Problems.ts"
import * as ReportView from "../rest/ReportView.ts"
import { Views } from "../rest/Views.ts"

const callerOf = (text: string | undefined): Effect.Effect<Caller | undefined, BadRequest> => {
  if (text === undefined) return Effect.succeed(undefined)
  const [, kind, name] = /^(tenant|principal):(.+)$/.exec(text) ?? []
  return kind === undefined || name === undefined
    ? Effect.fail(mistaken([{ path: "caller", message: "expected tenant:<name> or principal:<name>" }]))
    : Effect.succeed({ [kind]: name })
}

export const layer = HttpApiBuilder.group(
  Api,
  "calls",
  Effect.fnUntraced(function*(handlers) {
    const router = yield* Router
    const catalog = yield* ToolCatalog
    const discovery = yield* Discovery
    const health = yield* Health
    const views = yield* Views

    const services = () => Array.from(HashMap.keys(discovery.catalog().services))

    /** What goes by this name, first as clients call it: a tool, then a service, then a capability. */
    const requestOf = (name: string): Pick<RouteRequest, "target" | "name" | "repeatable"> | undefined => {
      const offer = catalog.find("tools", name)
      if (offer !== undefined) {
        return { target: offer.target, name: offer.publicName, repeatable: offer.repeatable }
      }
      if (HashMap.has(discovery.catalog().services, name)) return { target: { service: name }, name, repeatable: true }
      const offers = pattern(name)
      return views.entries().some(({ instance }) => instance.capabilities.some(offers))
        ? { target: { capabilities: [name] }, name, repeatable: true }
        : undefined
    }

    const noSuch = (name: string): NotFound => {
      const known = [...catalog.list("tools").map(({ publicName }) => publicName), ...services()]
      return new NotFound({ detail: `no tool or service is called ${name}${NearestName.hint(name, known)}` })
    }

    return handlers.handleAll({
      report: ({ query }) =>
        Effect.suspend(() => {
          const { service, top } = query
          const report = router.report({ service, top })
          if (
            service !== undefined && report.total.calls === 0 && !HashMap.has(discovery.catalog().services, service)
          ) {
            const detail = `no service is called ${service}${NearestName.hint(service, services())}`
            return Effect.fail(new NotFound({ detail }))
          }
          return Effect.succeed(ReportView.of(report))
        }),
      health: ({ query }) =>
        Effect.sync(() =>
          FleetHealth.of(
            Array.from(HashMap.values(discovery.catalog().entries), (entry): FleetHealth.Member => {
              const status = health.status(entry.key)
              return {
                service: entry.instance.service,
                status,
                ejected: status === "unhealthy" && health.circuit(entry.key) !== undefined,
                detail: () => views.health(entry)
              }
            }),
            query.top ?? 20
          )
        ),
      explain: Effect.fnUntraced(function*({ query: { caller, hashKey, strategy, tool, top } }) {
        const asking = yield* callerOf(caller)
        const request = requestOf(tool)
        if (request === undefined) return yield* noSuch(tool)
        return ExplanationView.of(
          router.explain(
            // As a client's call is routed.
            { ...request, caller: asking, hashKey: hashKey ?? asking?.principal, strategy },
            { most: top }
          )
        )
      })
    })
  })
)
