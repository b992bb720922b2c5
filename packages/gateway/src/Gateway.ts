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
import { Discovery } from "@portolan/core/Discovery"
import type { Health } from "@portolan/core/Health"
import type { Registries } from "@portolan/core/Registries"
import type { Router } from "@portolan/core/Router"
import type { NamingOptions } from "@portolan/mcp/catalog/Naming"
import * as ToolCatalog from "@portolan/mcp/catalog/ToolCatalog"
import * as McpEndpoint from "@portolan/mcp/relay/McpEndpoint"
import * as McpHealthCheck from "@portolan/mcp/upstream/McpHealthCheck"
import * as Upstreams from "@portolan/mcp/upstream/Upstreams"
import * as ByteSize from "effect/ByteSize"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { About } from "./About.ts"
import * as Api from "./Api.ts"
import * as access from "./internal/access.ts"
import * as Metrics from "./Metrics.ts"
import { Views } from "./Views.ts"

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
  /** Largest body of a request, bytes. Default 4 MiB. */
  readonly bodyLimit?: number | undefined
  /** Longest wait for calls in flight when the layer is released. Default 10 s. */
  readonly shutdownTimeout?: Duration.Input | undefined
  /** Shown to clients. */
  readonly version?: string | undefined
}

/**
 * Error raised when the gateway can't listen.
 *
 * @category errors
 * @since 0.1.0
 */
export class ListenError extends Schema.TaggedError<ListenError>()("ListenError", {
  host: Schema.String,
  port: Schema.Int,
  code: Schema.String
}) {
  override get message(): string {
    switch (this.code) {
      case "EADDRINUSE":
        return `port ${this.port} on ${this.host} is in use: stop what listens there, or choose another port`
      case "EACCES":
        return `port ${this.port} on ${this.host} needs more rights: choose one above 1023`
      case "EADDRNOTAVAIL":
      case "ENOTFOUND":
        return `${this.host} is no address of this machine: choose another host`
      default:
        return `can't listen on ${this.host}:${this.port}: ${this.code}`
    }
  }
}

/**
 * Service that tells where the gateway listens.
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
}>()("@portolan/gateway/Gateway") {}

// Who can't send its head within this time holds a connection for nothing.
const headTimeout = 10_000
const requestTimeout = 60_000
const checkInterval = 5000
// Longer than proxies and agents keep theirs, so that we are not the side that closes under a request.
const keepAliveTimeout = 65_000
const readyTimeout = Duration.seconds(5)

const plain = (status: number, text: string) => HttpServerResponse.text(`${text}\n`, { status })

const routes = Layer.unwrap(Effect.gen(function*() {
  const about = yield* About
  const metrics = yield* Metrics.make
  // Three megabytes that most gateways never show: loaded by the first reader.
  const docs = yield* Effect.cached(
    Effect.promise(() => import("effect/http-api/HttpApiScalar")).pipe(
      Effect.flatMap((HttpApiScalar) => HttpRouter.toHttpEffect(HttpApiScalar.layer(Api.Api, { path: "/api/docs" }))),
      Scope.provide(yield* Effect.scope)
    )
  )
  return Layer.mergeAll(
    HttpRouter.add("GET", "/api/docs", Effect.flatten(docs)),
    HttpRouter.add("GET", "/", plain(200, "portolan: MCP at /mcp, REST at /api/docs")),
    HttpRouter.add("GET", "/healthz", plain(200, "ok")),
    HttpRouter.add("GET", "/readyz", Effect.sync(() => about.ready() ? plain(200, "ready") : plain(503, "not ready"))),
    HttpRouter.add(
      "GET",
      "/metrics",
      Effect.sync(() => HttpServerResponse.text(metrics(), { contentType: "text/plain; version=0.0.4; charset=utf-8" }))
    ),
    HttpRouter.add("*", "/*", (request) =>
      Effect.succeed(
        HttpServerResponse.jsonUnsafe(
          {
            type: "about:blank",
            status: 404,
            title: "Not found",
            detail: `nothing answers ${request.method} ${pathOf(request.url)}`
          },
          { status: 404, contentType: "application/problem+json" }
        )
      )),
    Api.layer
  )
}))

const pathOf = (url: string): string => {
  const mark = url.indexOf("?")
  return mark === -1 ? url : url.slice(0, mark)
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void

const listen = (
  host: string,
  port: number,
  handler: Handler,
  drain: Effect.Effect<void>
): Effect.Effect<Server, ListenError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Server, ListenError>((resume) => {
      const server = createServer(
        { headersTimeout: headTimeout, requestTimeout, keepAliveTimeout, connectionsCheckingInterval: checkInterval },
        handler
      )
      server.once("error", (error: NodeJS.ErrnoException) =>
        resume(Effect.fail(new ListenError({ host, port, code: error.code ?? error.message }))))
      server.listen(port, host, () =>
        resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.andThen(
        drain,
        Effect.callback<void>((resume) => {
          server.close(() =>
            resume(Effect.void)
          )
          server.closeIdleConnections()
          // What is still open now had its time.
          const rest = setTimeout(() => server.closeAllConnections(), 250)
          server.once("close", () => clearTimeout(rest))
        })
      )
  )

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
  Discovery | Health | ToolCatalog.ToolCatalog | Upstreams.Upstreams | McpEndpoint.McpEndpoint
> =>
  Layer.effect(
    Gateway,
    Effect.gen(function*() {
      const endpoint = yield* McpEndpoint.McpEndpoint
      const discovery = yield* Discovery
      const host = options.host ?? "127.0.0.1"
      const shutdownTimeout = Duration.fromInputUnsafe(options.shutdownTimeout ?? Duration.seconds(10))
      let state: "starting" | "ready" | "draining" = "starting"

      yield* discovery.ready.pipe(
        Effect.timeoutOption(readyTimeout),
        Effect.andThen(Effect.sync(() => {
          if (state === "starting") state = "ready"
        })),
        Effect.forkScoped
      )

      const about = About.of({ version: options.version ?? "0.1.0", ready: () => state === "ready" })
      const surface = yield* HttpRouter.toHttpEffect(
        routes.pipe(Layer.provide(Views.layer), Layer.provide(Layer.succeed(About, about)))
      )
      const handler = yield* NodeHttpServer.makeHandler(surface, { scope: yield* Effect.scope })
      const refused = access.make({ ...options, host })

      const server = yield* listen(
        host,
        options.port ?? 7420,
        (request, response) => {
          const refusal = refused(request)
          if (refusal !== undefined) return access.problem(response, 403, refusal.title, refusal.detail)
          if (access.share(request, response)) return
          if (pathOf(request.url ?? "") === "/mcp") endpoint.handle(request, response)
          else handler(request, response)
        },
        Effect.suspend(() => {
          state = "draining"
          return Effect.asVoid(Effect.timeoutOption(endpoint.drain, shutdownTimeout))
        })
      )

      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : options.port ?? 7420
      const name = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host
      return Gateway.of({
        host,
        port,
        url: options.publicUrl?.replace(/\/+$/, "") ?? `http://${name}:${port}`,
        ready: about.ready
      })
    })
  ).pipe(
    Layer.provide(NodeHttpServer.layerHttpServices),
    Layer.provide(
      Layer.succeed(HttpIncomingMessage.MaxBodySize, ByteSize.bytes(options.bodyLimit ?? 4 * 1024 * 1024))
    )
  )

/**
 * Settings of the whole gateway.
 *
 * @category models
 * @since 0.1.0
 */
export interface GatewayOptions extends ListenerOptions {
  /** How public names are made. Default `prefix`. */
  readonly naming?: NamingOptions["naming"] | undefined
  /** Between service and name. Default `__`. */
  readonly separator?: string | undefined
  /** Seals session ids; gateways with the same key go on with each other's sessions. Random by default. */
  readonly sessionKey?: string | undefined
  /** Items in a page of an MCP list. Default 1,000. */
  readonly pageSize?: number | undefined
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
  Discovery | Health | Registries | Router
> =>
  layerListener(options).pipe(
    Layer.provideMerge(McpEndpoint.layer({
      serverInfo: { name: "portolan", version: options.version ?? "0.1.0" },
      sessionKey: options.sessionKey === undefined ? undefined : Redacted.make(options.sessionKey),
      pageSize: options.pageSize,
      maxBody: options.bodyLimit
    })),
    Layer.provideMerge(
      ToolCatalog.layer({ naming: { naming: options.naming ?? "prefix", separator: options.separator ?? "__" } })
    ),
    Layer.provideMerge(McpHealthCheck.layer),
    Layer.provideMerge(Upstreams.layer())
  )
