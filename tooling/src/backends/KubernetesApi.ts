/**
 * A stand-in for the API server of Kubernetes, in the process of the test: what clients read, watch and write of Services,
 * EndpointSlices, Pods, Deployments with their scale, Leases and Namespaces.
 *
 * **Mental model**: one store with one revision, as etcd keeps it, and HTTP before it. Requests pass authentication,
 * access rights and validation, and are answered as a server of Kubernetes 1.36 answers them. Edits of the test (`apply`,
 * `remove`) are those of the cluster's own controllers: they pass none of that, and nothing stops them while the server
 * is down. No controller runs: nobody makes slices for a Service, and nobody deletes what belonged to one.
 *
 * **Gotchas**: the namespace `default` holds the Service `kubernetes` and its slice, as in every cluster. Time is the
 * machine's, not that of the test.
 *
 * **Example** (A Service with one endpoint)
 *
 * ```ts
 * const api = yield* KubernetesApi.make()
 * for (const object of KubernetesApi.exposing({ name: "weather", addresses: ["10.0.0.1"], port: 3000 })) {
 *   yield* api.apply(object)
 * }
 * ```
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Certificates from "./Certificates.ts"
import * as Cluster from "./kubernetes-api/Cluster.ts"
import * as Credentials from "./kubernetes-api/Credentials.ts"
import * as Faults from "./kubernetes-api/Faults.ts"
import * as Handler from "./kubernetes-api/Handler.ts"
import * as Listener from "./kubernetes-api/Listener.ts"
import * as Log from "./kubernetes-api/Log.ts"
import * as Objects from "./kubernetes-api/Objects.ts"
import * as Store from "./kubernetes-api/Store.ts"
import * as Watching from "./kubernetes-api/Watching.ts"
import * as Writing from "./kubernetes-api/Writing.ts"
import * as Server from "./Server.ts"

/**
 * An object as one writes it in a manifest. Without a namespace it goes to `default`; `apiVersion` may be left out.
 *
 * @category models
 * @since 0.2.0
 */
export type Manifest = Objects.Manifest

/**
 * A Service, and the slices that the controller makes for it.
 *
 * @category constructors
 * @since 0.2.0
 */
export const exposing: (exposed: Objects.Exposed) => ReadonlyArray<Manifest> = Objects.exposing

/**
 * A request as it was answered.
 *
 * @category models
 * @since 0.2.0
 */
export type ApiRequest = Log.ApiRequest

/**
 * Which requests are meant: those that have all of these, such as `{ verb: "list", resource: "services" }`.
 *
 * @category models
 * @since 0.2.0
 */
export type Which = Partial<Faults.Asked>

/**
 * How the server differs from one that speaks HTTP to whoever has the token.
 *
 * @category models
 * @since 0.2.0
 */
export interface KubernetesApiOptions {
  /** Address of this machine that it listens on. Default 127.0.0.1. */
  readonly host?: string | undefined
  /** Serves HTTPS, with a certificate of an authority of its own. Clients inside a cluster insist on it. */
  readonly tls?: boolean | undefined
  /** What the kubeconfig carries; a certificate needs `tls`. Default `token`. */
  readonly credentials?: "token" | "certificate" | undefined
  /** Whom the credentials name. Default `portolan`. */
  readonly user?: string | undefined
  /** That exist beside `default` and `kube-system`; the first is that of the credentials. Default `mcp`. */
  readonly namespaces?: ReadonlyArray<string> | undefined
  /** Clients may write endpoints at loopback addresses, which Kubernetes refuses. */
  readonly allowLoopback?: boolean | undefined
  /** Milliseconds between bookmarks of a watch; one more comes two seconds before its time is over. Default 60,000. */
  readonly bookmarkEvery?: number | undefined
}

/**
 * A running server.
 *
 * @category models
 * @since 0.2.0
 */
export interface KubernetesApi extends Cluster.Cluster {
  readonly url: string
  readonly host: string
  readonly port: number
  /** Path of a kubeconfig for it. */
  readonly kubeconfig: string
  /** Folder that stands for `/`: below it lies what a pod has at `/var/run/secrets/kubernetes.io/serviceaccount`. */
  readonly podRoot: string
  /** PEM text of the authority behind its certificate, where it has one. */
  readonly ca: string | undefined
  /** The newest token that it takes. */
  readonly token: Effect.Effect<string>

  /** Listens again, with the data it has. */
  readonly start: Effect.Effect<void>
  /** Closes every connection; nothing listens. */
  readonly stop: Effect.Effect<void>
  /** Connections stay open and new ones are taken, but nothing is answered. */
  readonly pause: Effect.Effect<void>
  /** Answers what waited. */
  readonly resume: Effect.Effect<void>
  /** Resets every connection; new ones are served. */
  readonly cut: Effect.Effect<void>
  /**
   * Ends it and starts it without its objects. The revision goes on and the history is forgotten, as etcd's restore does
   * it for Kubernetes; `anew` counts from the beginning, so that revisions that clients hold lie in the future.
   */
  readonly restartEmpty: (revision?: "anew") => Effect.Effect<void>

  /** Refuses the next requests, or with `times: Infinity` all of them until `heal`; watches that are open stay. */
  readonly refuse: (refusal: {
    readonly status: 400 | 401 | 403 | 404 | 410 | 429 | 500 | 502 | 503 | 504
    /** Default 1. */
    readonly times?: number | undefined
    /** Seconds of `Retry-After`. */
    readonly retryAfter?: number | undefined
    /** Default: every request. */
    readonly which?: Which | undefined
  }) => Effect.Effect<void>
  /** Takes the right to such requests away, until `heal`. */
  readonly deny: (which: Which) => Effect.Effect<void>
  /** Ends `refuse`, `deny`, `chunks` and `watchSeconds`. */
  readonly heal: Effect.Effect<void>
  /** Takes no token any more, until `rotate`. Watches that are open stay, as in Kubernetes. */
  readonly revoke: Effect.Effect<void>
  /** Writes a new token where clients find it, and takes it; from then on the old one isn't taken any more. */
  readonly rotate: Effect.Effect<string>
  /** How events of watches reach the network: one by one, each in two pieces, or by pairs in one piece. */
  readonly chunks: (how: "whole" | "split" | "joined") => Effect.Effect<void>
  /** Ends every watch opened from now on after this time, as a server that is short of it does. */
  readonly watchSeconds: (seconds: number) => Effect.Effect<void>
  /** Ends the watches that are open, in order. */
  readonly endWatches: Effect.Effect<void>
  /** Writes this into the watches that are open. */
  readonly inject: (text: string) => Effect.Effect<void>
  /** Sends a bookmark to the watches that asked for them. */
  readonly bookmark: Effect.Effect<void>

  /** What was asked so far: the last 10,000. */
  readonly requests: Effect.Effect<ReadonlyArray<ApiRequest>>
  /** The next such request that is answered. */
  readonly next: (which: Which) => Effect.Effect<ApiRequest>
  /** Watches that are open. */
  readonly watches: Effect.Effect<number>
}

/**
 * Starts a server until the scope closes.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = Effect.fnUntraced(function*(
  options: KubernetesApiOptions = {}
): Effect.fn.Return<KubernetesApi, Server.ServerError, Scope.Scope> {
  const { host = "127.0.0.1", namespaces = ["mcp"], user = "portolan" } = options
  const [port = 0] = yield* Server.freePorts(1, host)
  const authority = options.tls === true ? yield* Certificates.authority("kubernetes-ca") : undefined
  const tls = authority && { ca: authority.cert, ...yield* authority.issue("kubernetes", [host]) }
  const credentials = yield* Credentials.make({
    url: `${tls === undefined ? "http" : "https"}://${host}:${port}`,
    user,
    namespace: namespaces[0] ?? "default",
    ca: tls?.ca,
    certificate: options.credentials === "certificate" && authority !== undefined
      ? yield* authority.issue(user)
      : undefined
  })

  const store = Store.make()
  const writing = Writing.make(store, { allowLoopback: options.allowLoopback ?? false })
  const watching = Watching.make(store, options.bookmarkEvery ?? 60_000)
  const faults = Faults.make()

  const { wipe, ...cluster } = Cluster.make(store, writing, namespaces)
  const log = Log.make()
  let revoked = false
  let longest: number | undefined
  const handle = Handler.make({
    store,
    writing,
    watching,
    faults,
    user,
    takes: (token) => !revoked && credentials.takes(token),
    longest: () => longest,
    answered: log.add
  })

  let paused = false
  // What came while it was paused.
  const waiting = new Set<() => void>()
  const listener = Listener.make({ host, port }, tls, (request, response) => {
    const proceed = () => void handle(request, response)
    if (!paused) return proceed()
    waiting.add(proceed)
    response.on("close", () => waiting.delete(proceed))
  })
  const resume = Effect.sync(() => {
    paused = false
    watching.resume()
    for (const proceed of waiting) proceed()
    waiting.clear()
  })
  const stop = Effect.andThen(listener.stop, resume)

  yield* Effect.acquireRelease(listener.start, () => stop)

  return {
    url: credentials.url,
    host,
    port,
    kubeconfig: credentials.kubeconfig,
    podRoot: credentials.podRoot,
    ca: tls?.ca,
    token: Effect.sync(credentials.token),

    ...cluster,

    start: listener.start,
    stop,
    pause: Effect.sync(() => {
      paused = true
      watching.pause()
    }),
    resume,
    cut: listener.cut,
    restartEmpty: (revision) =>
      Effect.gen(function*() {
        yield* stop
        yield* wipe(revision)
        yield* listener.start
      }),

    refuse: (refusal) => Effect.sync(() => faults.refuse(refusal)),
    deny: (which) => Effect.sync(() => faults.deny(which)),
    heal: Effect.sync(() => {
      faults.heal()
      watching.chunks("whole")
      longest = undefined
    }),
    revoke: Effect.sync(() => {
      revoked = true
    }),
    rotate: Effect.tap(credentials.rotate, () =>
      Effect.sync(() => {
        revoked = false
      })),
    chunks: (how) => Effect.sync(() => watching.chunks(how)),
    watchSeconds: (seconds) =>
      Effect.sync(() => {
        longest = seconds
      }),
    endWatches: Effect.sync(watching.endAll),
    inject: (text) => Effect.sync(() => watching.inject(text)),
    bookmark: Effect.sync(watching.bookmark),

    requests: log.requests,
    next: log.next,
    watches: Effect.sync(watching.count)
  }
})
