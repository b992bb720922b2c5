/**
 * The parts of a gateway that take new settings while it runs, for a live configuration.
 *
 * @since 0.1.0
 */
import { Balancer } from "@portolan/core/Balancer"
import { Health } from "@portolan/core/Health"
import { Router } from "@portolan/core/Router"
import { ToolCatalog } from "@portolan/mcp/catalog/ToolCatalog"
import { McpEndpoint } from "@portolan/mcp/relay/McpEndpoint"
import { Upstreams } from "@portolan/mcp/upstream/Upstreams"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Gateway } from "../Gateway.ts"
import { liveOptionsOf } from "../internal/endpoint.ts"
import type { Configuration } from "./Configuration.ts"
import { ConfiguredRegistries } from "./ConfiguredRegistries.ts"
import type { Part } from "./LiveConfiguration.ts"

const part = <A>(
  select: (configuration: Configuration) => A,
  reconfigure: (settings: A) => Effect.Effect<void>
): Part => ({
  select,
  apply: (configuration) => Effect.as(reconfigure(select(configuration)), [])
})

/** Codes that speak of the address. */
const wrongHost = new Set(["EADDRNOTAVAIL", "ENOTFOUND"])

/**
 * Finds the parts. The listener is one of them where there is one; `dashboard` is the folder that it serves where the
 * configuration says so.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: { readonly version: string; readonly dashboard?: string }): Effect.Effect<
  ReadonlyArray<Part>,
  never,
  ConfiguredRegistries | Health | Balancer | Router | ToolCatalog | McpEndpoint | Upstreams
> =>
  Effect.gen(function*() {
    const registries = yield* ConfiguredRegistries
    const health = yield* Health
    const balancer = yield* Balancer
    const router = yield* Router
    const catalog = yield* ToolCatalog
    const endpoint = yield* McpEndpoint
    const upstreams = yield* Upstreams
    const gateway = yield* Effect.serviceOption(Gateway)

    const listener = Option.map(gateway, ({ reconfigure }): Part => ({
      select: ({ dashboard, gateway, webhooks }) => {
        const {
          allowedHosts,
          allowedOrigins,
          bodyLimit,
          documents,
          host,
          port,
          publicUrl,
          sse,
          tls,
          token
        } = gateway
        return [
          [host, port, publicUrl, tls],
          [allowedHosts, allowedOrigins, token, sse, documents, dashboard, bodyLimit, gateway.shutdownTimeout],
          webhooks
        ]
      },
      apply: (configuration) =>
        reconfigure({
          ...configuration.gateway,
          dashboard: configuration.dashboard ? options.dashboard : undefined,
          webhooks: configuration.webhooks,
          version: options.version
        }).pipe(
          Effect.as([]),
          Effect.catch((error) => {
            const key = error.code === "TLS" ? "tls" : wrongHost.has(error.code) ? "host" : "port"
            return Effect.succeed([configuration.source.mistakeAt(["gateway", key], error.message)])
          })
        )
    }))
    return [
      part((configuration) => configuration.health, health.reconfigure),
      part((configuration) => configuration.balancing, balancer.reconfigure),
      part((configuration) => configuration.routing, router.reconfigure),
      part(
        ({ catalog, gateway: { naming, separator } }) => ({ ...catalog, naming: { naming, separator } }),
        catalog.reconfigure
      ),
      part(({ gateway }) => liveOptionsOf(gateway), endpoint.reconfigure),
      part(({ upstreams }) => upstreams, upstreams.reconfigure),
      {
        select: ({ registries, servers }) => [
          registries.map(({ allow, name, options, trust, type }) => ({ allow, name, options, trust, type })),
          servers
        ],
        apply: registries.apply
      },
      ...Option.toArray(listener)
    ]
  })
