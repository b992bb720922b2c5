/**
 * Answers what there is.
 */
import { Balancer } from "@portolan/core/Balancer"
import * as Catalog from "@portolan/core/Catalog"
import { Discovery } from "@portolan/core/Discovery"
import { Health } from "@portolan/core/Health"
import * as NearestName from "@portolan/core/NearestName"
import type * as Query from "@portolan/core/Query"
import { Router } from "@portolan/core/Router"
import type { Offer } from "@portolan/mcp/catalog/ToolCatalog"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import { About } from "../About.ts"
import { ConfigurationState, type ConfigurationStatus } from "../configuration/ConfigurationState.ts"
import { Api } from "../rest/Api.ts"
import * as InstanceHealth from "../rest/InstanceHealth.ts"
import { NotFound } from "../rest/Problems.ts"
import type { ConfigurationStatusView, StatusView } from "../rest/Representations.ts"
import { Views } from "../rest/Views.ts"
import { writerOf, Writers } from "../rest/WriteAccess.ts"
import * as etag from "./etag.ts"
import { asked, compile, paginate } from "./lists.ts"

const iso = (time: number): string => new Date(time).toISOString()

/** What happened so long ago still happens, ms. */
const recently = 60_000

const entryKey = (entry: Catalog.CatalogEntry): string =>
  `${entry.instance.service}\u0000${entry.instance.id}\u0000${entry.source}`

/** An answer with the tag that `If-Match` takes: of what is written, the record of an instance or its mark. */
export const tagged = (
  written: unknown,
  view: Record<string, unknown>,
  options?: { readonly status?: number; readonly location?: string }
): HttpServerResponse.HttpServerResponse => {
  const text = JSON.stringify(view)
  return HttpServerResponse.text(text, {
    status: options?.status ?? 200,
    contentType: "application/json",
    headers: {
      etag: etag.ofRecord(written, text),
      ...options?.location === undefined ? {} : { location: options.location }
    }
  })
}

export const noInstance = (views: Views["Service"], id: string, source: string | undefined): NotFound => {
  const ids = new Set(views.entries().map((entry) => entry.instance.id))
  return new NotFound({
    detail: source === undefined || !ids.has(id)
      ? `no instance has the id ${id}${NearestName.hint(id, ids)}`
      : `no instance of ${source} has the id ${id}`
  })
}

export const noConfiguration = Effect.suspend(() =>
  Effect.fail(new NotFound({ detail: "the gateway was started without a configuration file" }))
)

export const layer = HttpApiBuilder.group(
  Api,
  "fleet",
  Effect.fnUntraced(function*(handlers) {
    const views = yield* Views
    const discovery = yield* Discovery
    const health = yield* Health
    const about = yield* About
    const configuration = yield* ConfigurationState
    const router = yield* Router
    const balancer = yield* Balancer
    const writers = yield* Writers

    const tester = Effect.fnUntraced(function*(request: HttpServerRequest.HttpServerRequest) {
      const { conditions, query, words } = yield* asked(request)
      return { test: yield* testOf(query), meets: yield* testOf(conditions), words }
    })

    const testOf = Effect.fnUntraced(function*(query: Query.Query | undefined) {
      if (query === undefined) return undefined
      const matches = yield* compile(query)
      const catalog = discovery.catalog()
      return (entry: Catalog.CatalogEntry): boolean => {
        const { score, status } = health.get(entry.key)
        return matches({ entry, health: status, score, stale: Option.isSome(Catalog.staleSince(catalog, entry)) })
      }
    })

    /** Whether a tool is offered by an instance that matches. Its service may be a group of differently named ones. */
    const offeredBy = (test: ((entry: Catalog.CatalogEntry) => boolean) | undefined, offer: Offer): boolean =>
      test === undefined || offer.instances().some((key) => {
        const entry = views.entry(key)
        if (entry === undefined) return false
        return test(entry) || entry.instance.service !== offer.service &&
            test({ ...entry, instance: { ...entry.instance, service: offer.service } })
      })

    const says = (offer: Offer, words: ReadonlyArray<string>): boolean => {
      const { description, title } = offer.definition
      const text = [offer.publicName, offer.service, description, title].filter((part) => typeof part === "string")
        .join("\n").toLowerCase()
      return words.length > 0 && words.every((word) => text.includes(word))
    }

    const tools = Effect.fnUntraced(function*(
      request: HttpServerRequest.HttpServerRequest,
      page: { readonly limit?: number; readonly cursor?: string },
      service?: string
    ) {
      const { meets, test, words } = yield* tester(request)
      const found = views.tools((offer) =>
        (service === undefined || views.servicesOf(offer).includes(service)) &&
        // The words may be its own; the rest is asked of who offers it.
        (offeredBy(test, offer) || says(offer, words) && offeredBy(meets, offer))
      )
      return yield* paginate(found, (tool) => tool.name, page)
    })

    const noService = (name: string) => {
      const names = views.services().map((service) => service.name)
      return new NotFound({ detail: `no service is called ${name}${NearestName.hint(name, names)}` })
    }

    const one = <A>(value: A | undefined, problem: () => NotFound): Effect.Effect<A, NotFound> =>
      value === undefined ? Effect.fail(problem()) : Effect.succeed(value)

    const configured = (
      { error, file, loadedAt, pending, revision }: ConfigurationStatus
    ): ConfigurationStatusView => ({
      file,
      loadedAt: iso(loadedAt),
      revision,
      ...error === undefined ? {} : { error: { at: iso(error.at), mistakes: error.mistakes } },
      pending
    })

    /** Services whose calls suffer, and from what. */
    const strained = (): StatusView["strained"] => {
      const { at, services } = router.report({ top: 1_000 })
      const efforts = new Map(services.top.map((each) => [each.service, each]))
      return views.available().flatMap(({ available, service }) => {
        const { ejected = 0, queue, retries } = efforts.get(service) ?? {}
        const waiting = queue?.waiting ?? 0
        const shedding = queue?.shedAt !== undefined && at - queue.shedAt < recently
        const budgetSpent = retries?.balance !== undefined && retries.balance < 1 && retries.denied > 0
        return available > 0 && ejected === 0 && waiting === 0 && !shedding && !budgetSpent
          ? []
          : [{ service, available, ejected, waiting, shedding, budgetSpent }]
      })
    }

    return handlers.handleAll({
      status: () =>
        Effect.sync(() => {
          const state = configuration.current()
          return {
            version: about.version,
            ready: about.ready(),
            ...views.status(),
            strained: strained(),
            ...state === undefined ? {} : { configuration: configured(state) }
          }
        }),
      access: ({ query, request }) =>
        Effect.sync(() => {
          const [, token] = /^bearer +(\S+)$/i.exec(request.headers["authorization"]?.trim() ?? "") ?? []
          return writers.access(writerOf(request, token, query.origin))
        }),
      configuration: () =>
        Effect.suspend(() => {
          const state = configuration.current()
          return state === undefined
            ? noConfiguration
            : Effect.succeed({ ...configured(state), settings: state.settings })
        }),
      services: Effect.fnUntraced(function*({ query, request }) {
        const { test } = yield* tester(request)
        const all = views.services()
        if (test === undefined) return yield* paginate(all, (service) => service.name, query)
        const names = new Set(views.entries().filter(test).map((entry) => entry.instance.service))
        return yield* paginate(all.filter(({ name }) => names.has(name)), (service) => service.name, query)
      }),
      service: ({ params }) =>
        Effect.suspend(() => one(views.service(params.service), () => noService(params.service))),
      serviceHealth: ({ params }) =>
        Effect.suspend(() => one(views.serviceHealth(params.service), () => noService(params.service))),
      serviceTools: Effect.fnUntraced(function*({ params, query, request }) {
        const found = yield* tools(request, query, params.service)
        const known = found.items.length > 0 ||
          HashMap.has(discovery.catalog().services, params.service) ||
          views.tools((offer) => views.servicesOf(offer).includes(params.service)).length > 0
        return known ? found : yield* noService(params.service)
      }),
      instances: Effect.fnUntraced(function*({ query, request }) {
        const { test } = yield* tester(request)
        const all = views.entries()
        const page = yield* paginate(test === undefined ? all : all.filter(test), entryKey, query)
        return { ...page, items: page.items.map(views.instance) }
      }),
      instance: ({ params, query }) =>
        Effect.map(
          Effect.suspend(() =>
            one(
              views.withId(params.id, query.source)[0],
              () => noInstance(views, params.id, query.source)
            )
          ),
          (entry) => tagged(entry.instance, views.instance(entry))
        ),
      instanceHealth: ({ params, query }) =>
        Effect.map(
          Effect.suspend(() =>
            one(
              views.withId(params.id, query.source)[0],
              () => noInstance(views, params.id, query.source)
            )
          ),
          (entry) => {
            const now = balancer.now()
            const view = InstanceHealth.of(views.health(entry), {
              circuit: health.circuit(entry.key),
              admits: health.admits(entry.key, now),
              ejections: health.ejections(entry.key),
              history: health.history(entry.key),
              now,
              timeOf: views.timeOf
            })
            return tagged(view.mark, view)
          }
        ),
      tools: ({ query, request }) => tools(request, query),
      tool: ({ params }) =>
        Effect.suspend(() =>
          one(views.tool(params.name), () => {
            const names = views.tools().map((tool) => tool.name)
            return new NotFound({ detail: `no tool is called ${params.name}${NearestName.hint(params.name, names)}` })
          })
        ),
      sources: Effect.fnUntraced(function*({ query, request }) {
        const { test } = yield* tester(request)
        const all = views.sources().toSorted((a, b) => a.name < b.name ? -1 : 1)
        if (test === undefined) return yield* paginate(all, (source) => source.name, query)
        const names = new Set(views.entries().filter(test).map((entry) => entry.source))
        return yield* paginate(all.filter(({ name }) => names.has(name)), (source) => source.name, query)
      })
    })
  })
)
