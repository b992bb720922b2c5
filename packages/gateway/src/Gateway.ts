/**
 * The gateway as a layer: one listener on which `/mcp` is answered by plain code, and the rest by routes.
 *
 * **Details**: `/healthz` says that the process lives; `/readyz` is 503 until each registry has given its first snapshot
 * or five seconds have passed, and again from the moment the layer is released. It never waits for upstreams. Releasing
 * the layer lets calls in flight finish within `shutdownTimeout`, then closes the listener.
 *
 * **Gotchas**: requests are answered only under the names of this host (loopback names, the address that was connected
 * to, `publicUrl`, `allowedHosts`); web pages only from this host, `publicUrl` and `allowedOrigins`.
 *
 * @since 0.1.0
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import type { Balancer } from "@portolan/core/Balancer"
import { Discovery } from "@portolan/core/Discovery"
import type { Health } from "@portolan/core/Health"
import type { Registries } from "@portolan/core/Registries"
import type { Router } from "@portolan/core/Router"
import type { NamingOptions } from "@portolan/mcp/catalog/Naming"
import * as ToolCatalog from "@portolan/mcp/catalog/ToolCatalog"
import * as McpEndpoint from "@portolan/mcp/relay/McpEndpoint"
import type { SessionMode } from "@portolan/mcp/relay/sessions/Bindings"
import * as McpHealthCheck from "@portolan/mcp/upstream/McpHealthCheck"
import * as Upstreams from "@portolan/mcp/upstream/Upstreams"
import * as ByteSize from "effect/ByteSize"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpRouter from "effect/http/HttpRouter"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import type { IncomingMessage } from "node:http"
import { About } from "./About.ts"
import * as SelfDescription from "./documents/SelfDescription.ts"
import * as access from "./internal/access.ts"
import * as Dashboard from "./internal/dashboard.ts"
import * as docs from "./internal/docs.ts"
import { liveOptionsOf } from "./internal/endpoint.ts"
import * as Listener from "./internal/listener.ts"
import type { TlsFiles } from "./internal/tls.ts"
import { ListenError } from "./ListenError.ts"
import * as Changes from "./rest/Changes.ts"
import * as Conduct from "./rest/Conduct.ts"
import * as EventFeed from "./rest/EventFeed.ts"
import * as Leases from "./rest/Leases.ts"
import * as Rest from "./rest/Rest.ts"
import * as Series from "./rest/Series.ts"
import { Views } from "./rest/Views.ts"
import * as Webhooks from "./rest/Webhooks.ts"
import * as WriteAccess from "./rest/WriteAccess.ts"
import * as Metrics from "./telemetry/Metrics.ts"

/**
 * Settings of the listener.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListenerOptions {
  /** Default `127.0.0.1`. */
  readonly host?: string | undefined
  /** Default 7420; 0 takes a free one. */
  readonly port?: number | undefined
  readonly publicUrl?: string | undefined
  readonly allowedHosts?: ReadonlyArray<string> | undefined
  readonly allowedOrigins?: ReadonlyArray<string> | undefined
  /** What writes through the REST API must carry; without one they come from this machine only. */
  readonly token?: string | Redacted.Redacted<string> | undefined
  /** Whether `/sse` and `/messages` serve clients of 2024-11-05. Default false. */
  readonly sse?: boolean | undefined
  /** Whether the gateway publishes what it is: server card, AI catalog, entry of an MCP registry. Default true. */
  readonly documents?: boolean | undefined
  /**
   * Folder of the built dashboard, which is served to browsers at `/` and wherever nothing else answers: `files` of
   * `@portolan/dashboard`. None by default.
   */
  readonly dashboard?: string | undefined
  /** Paths of PEM files. With `ca`, clients must have a certificate of these authorities. The files are watched. */
  readonly tls?: TlsFiles | undefined
  /** Largest body of a request, bytes. Default 4 MiB. */
  readonly bodyLimit?: number | undefined
  /** Longest wait for calls in flight when the layer is released. Default 10 s. */
  readonly shutdownTimeout?: Duration.Input | undefined
  /** Addresses that are told of changes. None by default. */
  readonly webhooks?: ReadonlyArray<Webhooks.Webhook> | undefined
  /** Shown to clients. */
  readonly version?: string | undefined
}

export { ListenError }

/**
 * Service that tells where the gateway listens, and lets that be changed.
 *
 * @category services
 * @since 0.1.0
 */
export class Gateway extends Context.Service<Gateway, {
  readonly host: string
  readonly port: number
  /** Address for clients, without a slash at its end. */
  readonly url: string
  readonly ready: () => boolean
  /**
   * Takes other settings from now on. Where host, port or `tls` differ the gateway listens there, and those who are
   * connected are served on. Failed, everything is as it was.
   */
  readonly reconfigure: (options: ListenerOptions) => Effect.Effect<void, ListenError>
}>()("@portolan/gateway/Gateway") {}

const readyTimeout = Duration.seconds(5)

const plain = (status: number, text: string) => HttpServerResponse.text(`${text}\n`, { status })

const routes = Layer.unwrap(Effect.gen(function*() {
  const about = yield* About
  const dashboard = yield* Dashboard.Dashboard
  /** The dashboard's answer, else this one. */
  const orElse =
    (other: (method: string, path: string) => HttpServerResponse.HttpServerResponse) =>
    (request: HttpServerRequest.HttpServerRequest) =>
      Effect.map(dashboard.answer(request), (answer) => answer ?? other(request.method, pathOf(request.url)))
  return Layer.mergeAll(
    docs.layer,
    HttpRouter.add("GET", "/", orElse(() => plain(200, "portolan: MCP at /mcp, REST at /api/docs"))),
    HttpRouter.add("GET", "/healthz", plain(200, "ok")),
    HttpRouter.add("GET", "/readyz", Effect.sync(() => about.ready() ? plain(200, "ready") : plain(503, "not ready"))),
    Metrics.layerRoutes,
    // Not HEAD: where that has no route of its own, the router answers it as GET.
    HttpRouter.addAll(
      (["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const).map((method) =>
        HttpRouter.route(method, "/*", orElse(unanswered))
      )
    ),
    Rest.layer
  )
}))

const unanswered = (method: string, path: string): HttpServerResponse.HttpServerResponse => {
  const methods = Rest.methods(path)
  const status = methods.length === 0 ? 404 : 405
  const [title, detail] = status === 404
    ? ["Not found", `nothing answers ${method} ${path}`]
    : ["Method not allowed", `${path} answers ${methods.join(", ")}, not ${method}`]
  return HttpServerResponse.jsonUnsafe({ type: "about:blank", status, title, detail }, {
    status,
    contentType: "application/problem+json",
    headers: status === 405 ? { allow: methods.join(", ") } : {}
  })
}

const pathOf = (url: string): string => {
  const mark = url.indexOf("?")
  return mark === -1 ? url : url.slice(0, mark)
}

/** What a request is looked at with. */
interface Settings {
  readonly refused: (request: IncomingMessage) => access.Refusal | undefined
  readonly sse: boolean
  /** Where clients of 2024-11-05 send their messages, as they see it. */
  readonly messages: string
  readonly publicUrl: string | undefined
  readonly bodyLimit: ByteSize.ByteSize
  readonly shutdownTimeout: Duration.Duration
  readonly writes: WriteAccess.WriteAccessOptions
  readonly documents: SelfDescription.SelfDescription["Service"]["documents"]
  readonly dashboard: Dashboard.Dashboard["Service"]["answer"]
}

const versionOf = ({ version = "0.1.0" }: ListenerOptions): string => version

const aboutOf = (options: ListenerOptions, ready: () => boolean) => About.of({ version: versionOf(options), ready })

const hostOf = (options: ListenerOptions): string => options.host ?? "127.0.0.1"

/** The settings of these options, which hold since an epoch in ms. */
const settingsOf = (options: ListenerOptions, since: number): Settings => {
  const publicUrl = options.publicUrl?.replace(/\/+$/, "")
  const scheme = options.tls === undefined ? "http" : "https"
  const sse = options.sse ?? false
  return {
    refused: access.make({ ...options, host: hostOf(options) }),
    sse,
    messages: `${publicUrl === undefined ? "" : new URL(publicUrl).pathname.replace(/\/$/, "")}/messages`,
    publicUrl,
    bodyLimit: ByteSize.bytes(options.bodyLimit ?? 4 * 1024 * 1024),
    shutdownTimeout: Duration.fromInputUnsafe(options.shutdownTimeout ?? Duration.seconds(10)),
    writes: {
      token: typeof options.token === "string" ? Redacted.make(options.token) : options.token,
      publicUrl: options.publicUrl,
      allowedOrigins: options.allowedOrigins
    },
    documents: (host) =>
      options.documents === false
        ? undefined
        : SelfDescription.describe({
          url: publicUrl ?? `${scheme}://${host}`,
          version: versionOf(options),
          sse,
          since
        }),
    dashboard: options.dashboard === undefined ? () => Effect.undefined : Dashboard.make(options.dashboard)
  }
}

const addressOf = (options: ListenerOptions): Listener.Address => ({
  host: hostOf(options),
  port: options.port ?? 7420,
  tls: options.tls
})

/**
 * Layer that serves an `McpEndpoint` and the HTTP surface around it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerListener = (
  options: ListenerOptions = {}
): Layer.Layer<
  Gateway,
  ListenError,
  | Balancer
  | Discovery
  | Health
  | Registries
  | Router
  | ToolCatalog.ToolCatalog
  | Upstreams.Upstreams
  | McpEndpoint.McpEndpoint
> =>
  Layer.effect(
    Gateway,
    Effect.gen(function*() {
      const endpoint = yield* McpEndpoint.McpEndpoint
      const discovery = yield* Discovery
      const clock = yield* Clock.Clock
      let settings = settingsOf(options, clock.currentTimeMillisUnsafe())
      let state: "starting" | "ready" | "draining" = "starting"
      const ended = Latch.makeUnsafe(false)

      yield* discovery.ready.pipe(
        Effect.timeoutOption(readyTimeout),
        Effect.andThen(Effect.sync(() => {
          if (state === "starting") state = "ready"
        })),
        Effect.forkScoped
      )

      const about = aboutOf(options, () => state === "ready")
      const events = yield* Layer.build(
        Webhooks.layer(options.webhooks).pipe(
          Layer.provideMerge(EventFeed.layer({ until: ended.await })),
          Layer.provide(Views.layer)
        )
      )
      const surface = yield* HttpRouter.toHttpEffect(
        routes.pipe(
          Layer.provide([
            Layer.succeedContext(events),
            Leases.layer({ protected: () => settings.writes.token !== undefined }),
            Series.layer(),
            Changes.layer(),
            WriteAccess.layer(() => settings.writes),
            Layer.succeed(SelfDescription.SelfDescription, { documents: (host) => settings.documents(host) }),
            Layer.succeed(Dashboard.Dashboard, { answer: (request) => settings.dashboard(request) })
          ]),
          Layer.provide(Views.layer),
          Layer.provide(Layer.succeed(About, about))
        )
        // Ids and names may be as long as an address: by default what is longer than 100 characters isn't found.
      ).pipe(Effect.provideService(HttpRouter.RouterConfig, { maxParamLength: 16_384 }))
      const handler = yield* NodeHttpServer.makeHandler(
        Effect.suspend(() =>
          Effect.provideService(Conduct.problems(surface), HttpIncomingMessage.MaxBodySize, settings.bodyLimit)
        ),
        // Its own, which ends after the listener: requests that are answered just now would be interrupted before it.
        { scope: yield* Scope.fork(yield* Effect.scope) }
      )

      const listener = yield* Listener.make(
        addressOf(options),
        (request, response) => {
          const { messages, refused, sse } = settings
          const refusal = refused(request)
          if (refusal !== undefined) return access.problem(response, 403, refusal.title, refusal.detail)
          if (access.share(request, response)) return
          const path = pathOf(request.url ?? "")
          if (path === "/mcp") endpoint.handle(request, response)
          else if (sse && path === "/sse") endpoint.sse.stream(request, response, messages)
          else if (sse && path === "/messages") endpoint.sse.message(request, response)
          else handler(request, response)
        },
        Effect.suspend(() => {
          state = "draining"
          return Effect.andThen(
            Effect.timeoutOption(endpoint.drain, settings.shutdownTimeout),
            // Watchers see the last calls end; then their streams end too, and are not cut.
            Effect.sync(() => ended.openUnsafe())
          )
        })
      )

      return Gateway.of({
        get host() {
          return listener.bound().host
        },
        get port() {
          return listener.bound().port
        },
        get url() {
          const { host, port, secure } = listener.bound()
          const name = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host
          return settings.publicUrl ?? `${secure ? "https" : "http"}://${name}:${port}`
        },
        ready: about.ready,
        reconfigure: (next) =>
          Effect.andThen(
            listener.move(addressOf(next)),
            Effect.suspend(() => {
              settings = settingsOf(next, clock.currentTimeMillisUnsafe())
              return Context.get(events, Webhooks.Webhooks).reconfigure(next.webhooks ?? [])
            })
          )
      })
    })
  ).pipe(Layer.provide(NodeHttpServer.layerHttpServices))

/**
 * Settings of the whole gateway.
 *
 * @category models
 * @since 0.1.0
 */
export interface GatewayOptions extends ListenerOptions {
  /** Whether it listens. Without, clients are served by a `StdioEndpoint` alone. Default true. */
  readonly listen?: boolean | undefined
  /** How public names are made. Default `prefix`. */
  readonly naming?: NamingOptions["naming"] | undefined
  /** Between service and name. Default `__`. */
  readonly separator?: string | undefined
  /** Services that are one to clients, tools that stand for capabilities, and how old lists may be. */
  readonly catalog?: Omit<ToolCatalog.LiveOptions, "naming"> | undefined
  /** Seals session ids; gateways with the same key go on with each other's sessions. Random by default. */
  readonly sessionKey?: string | undefined
  /** How calls of one session stay together where its servers keep state. Default `sticky`. */
  readonly sessions?: SessionMode | undefined
  /** Items in a page of an MCP list. Default 1,000. */
  readonly pageSize?: number | undefined
  /** How long clients may keep lists where a server in them doesn't say. Default 0. */
  readonly listTtl?: Duration.Input | undefined
  /** What is kept of resources for as long as their servers allow, bytes. Default 16 MiB; 0 keeps nothing. */
  readonly resourceCache?: number | undefined
  /** Whether results say in `_meta` how they were routed. Default true. */
  readonly showRouting?: boolean | undefined
  /** How long a client has to answer what a server asks of it. Default 10 min. */
  readonly inputTimeout?: Duration.Input | undefined
  /** Time after which a session has to be begun anew. Default 24 h. */
  readonly sessionLifetime?: Duration.Input | undefined
  /** Time without a request and without a stream after which a session is no longer kept. Default 30 min. */
  readonly sessionIdleTimeout?: Duration.Input | undefined
  /** How much clients may have at the same time. */
  readonly limits?: ClientLimits | undefined
  /** Connections to servers. */
  readonly upstreams?: Upstreams.LiveOptions | undefined
}

/**
 * How much clients may have at the same time.
 *
 * @category models
 * @since 0.2.0
 */
export interface ClientLimits {
  /** Sessions that are kept; where there are more, the one idle longest makes room. Default 10,000. */
  readonly sessions?: number | undefined
  /** Those of one client. Default 1,000. */
  readonly sessionsPerClient?: number | undefined
  /** Requests; further ones are refused. Default 10,000. */
  readonly requests?: number | undefined
  /** Those of one session. Default 256. */
  readonly requestsPerSession?: number | undefined
  /** Open event streams; further ones are refused. Default 10,000. */
  readonly streams?: number | undefined
  /** Resources that one session, or one stream of the stateless era, may watch. Default 1,000. */
  readonly subscriptions?: number | undefined
  /** Calls that wait for a client to come back with what their server asked of it. Default 1,000. */
  readonly parked?: number | undefined
  /** Those of one client. Default 64. */
  readonly parkedPerClient?: number | undefined
  /** Bytes kept of a session's events for a client that lost its stream. Default 256 KiB; 0 keeps none. */
  readonly replay?: number | undefined
}

/**
 * Layer that connects to every announced MCP server and serves what they offer.
 *
 * **Example** (Serving the servers of a registry)
 *
 * ```ts
 * const Main = Gateway.layer({ port: 7420 }).pipe(
 *   Layer.provideMerge(FileRegistry.layer({ path: "./services.json" })),
 *   Layer.provideMerge(Portolan.layer())
 * )
 * Layer.launch(Main).pipe(NodeRuntime.runMain)
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: GatewayOptions = {}
): Layer.Layer<
  Gateway | McpEndpoint.McpEndpoint | ToolCatalog.ToolCatalog | Upstreams.Upstreams,
  ListenError,
  Balancer | Discovery | Health | Registries | Router
> =>
  Layer.provideMerge(options.listen === false ? layerNowhere(options) : layerListener(options), layerEndpoint(options))

/** Nobody asks it for metrics, but they are exported. */
const layerNowhere = (options: GatewayOptions) =>
  Layer.effect(
    Gateway,
    Effect.as(
      Effect.provideService(Metrics.make, About, aboutOf(options, () => true)),
      Gateway.of({ host: "", port: 0, url: "stdio:", ready: () => true, reconfigure: () => Effect.void })
    )
  )

const layerEndpoint = (
  options: GatewayOptions = {}
): Layer.Layer<
  McpEndpoint.McpEndpoint | ToolCatalog.ToolCatalog | Upstreams.Upstreams,
  never,
  Discovery | Health | Registries | Router
> =>
  McpEndpoint.layer({
    serverInfo: { name: "portolan", version: options.version ?? "0.1.0" },
    ...liveOptionsOf(options)
  }).pipe(
    Layer.provideMerge(
      ToolCatalog.layer({
        ...options.catalog,
        naming: { naming: options.naming ?? "prefix", separator: options.separator ?? "__" }
      })
    ),
    Layer.provideMerge(McpHealthCheck.layer),
    Layer.provideMerge(Upstreams.layer(options.upstreams))
  )
