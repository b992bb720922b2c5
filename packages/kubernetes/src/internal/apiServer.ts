/**
 * What is known of an API server whatever connection asks it: where it is, who we are there, and how long it wants to be
 * left alone.
 *
 * **Details**: the official client reads kubeconfigs and service accounts, renews tokens from files once a minute and
 * runs credential plugins. All of it is read anew after the server refused us or couldn't be reached: a token may have
 * been replaced, an authority renewed, a cluster moved.
 *
 * @since 0.2.0
 */
import type { KubeConfig } from "@kubernetes/client-node"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { Buffer } from "node:buffer"
import { existsSync } from "node:fs"
import type { RequestOptions } from "node:https"
import type { ConnectionOptions } from "node:tls"
import { KubernetesError, oneLine } from "./kubernetesError.ts"

/**
 * Where credentials are looked for.
 *
 * @category models
 * @since 0.2.0
 */
export interface ApiServerOptions {
  /** Path of a kubeconfig. Default: the service account inside a cluster, else what `kubectl` would take. */
  readonly kubeconfig?: string | undefined
  /** Context of the kubeconfig. Default: its current one. */
  readonly context?: string | undefined
  /** Folder below which a pod's service account lies. Default `/`. */
  readonly root?: string | undefined
}

/** What a request needs. */
export interface Access {
  /** Where it came from: the same as long as it wasn't read anew. */
  readonly config: KubeConfig
  /** Address with the path that all others are below; it holds no secret. */
  readonly server: URL
  readonly headers: Readonly<Record<string, string>>
  readonly tls: Pick<ConnectionOptions, "ca" | "cert" | "key" | "rejectUnauthorized" | "servername">
  readonly proxy: string | undefined
  /** Of the service account or of the context. */
  readonly namespace: string
}

/**
 * An API server, and who we are there.
 *
 * @category models
 * @since 0.2.0
 */
export interface ApiServer {
  /** Waits for as long as the server asked for. */
  readonly access: Effect.Effect<Access, KubernetesError>
  /** The next access is read anew. */
  readonly forget: (access: Access) => void
  /** No access for so many seconds. */
  readonly rest: (seconds: number) => Effect.Effect<void>
}

/** How long a credential plugin may take. */
const patience = "30 seconds"

/** Seconds that a server may ask for at most. */
const longestRest = 30

/**
 * Makes what is known of an API server. Nothing is read before it is asked for.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (options: ApiServerOptions): ApiServer => {
  let config: KubeConfig | undefined
  // Whoever makes another context current means his next command, and not us.
  let current: string | undefined
  let restUntil = 0
  // One at a time, as it may run a program that nobody ends.
  let pending: Promise<Access> | undefined
  const read = async () => {
    config ??= await load(options, current)
    const access = await accessOf(config)
    current = config.getCurrentContext()
    return access
  }
  const ask = () => {
    pending ??= read().finally(() => {
      pending = undefined
    })
    return pending
  }
  return {
    access: Effect.gen(function*() {
      // Whoever sets the clock back doesn't set it longer.
      const rest = Math.min(restUntil - (yield* Clock.currentTimeMillis), 1000 * longestRest)
      if (rest > 0) yield* Effect.sleep(rest)
      return yield* Effect.tryPromise({ try: ask, catch: failure }).pipe(Effect.timeoutOrElse({
        duration: patience,
        orElse: () => Effect.fail(new KubernetesError({ reason: `the credential plugin took longer than ${patience}` }))
      }))
    }),
    forget: (access) => {
      if (access.config === config) config = undefined
    },
    rest: (seconds) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        restUntil = now + 1000 * Math.min(seconds, longestRest)
      })
  }
}

/** Of the context that is named, else of the one before. */
const load = async (
  { context: named, kubeconfig, root = "" }: ApiServerOptions,
  before: string | undefined
): Promise<KubeConfig> => {
  // Loaded where it is used: it brings the whole API with it.
  const { KubeConfig } = await import("@kubernetes/client-node")
  const config = new KubeConfig()
  if (kubeconfig !== undefined) config.loadFromFile(kubeconfig)
  else if (named === undefined && isInPod(root)) config.loadFromCluster(root)
  else config.loadFromDefault()
  // What the client makes up where it finds nothing.
  if (config.getCurrentContext() === "loaded-context") {
    throw new KubernetesError({ reason: "there is neither a service account nor a kubeconfig: set kubeconfig" })
  }
  const context = named ?? before
  if (context !== undefined) {
    if (config.getContextObject(context) === null) {
      const names = config.getContexts().map(({ name }) => name).join(", ")
      throw new KubernetesError({
        reason: `context: "${context}" is none of the kubeconfig's: ${names || "it has none"}`
      })
    }
    config.setCurrentContext(context)
  }
  if (!config.getCurrentContext()) {
    throw new KubernetesError({ reason: "kubeconfig: it has no current context: set context" })
  }
  // Of an http address it wants to be told that there is no certificate to check.
  config.clusters = config.clusters.map((cluster) =>
    cluster.server.startsWith("http:") ? { ...cluster, skipTLSVerify: true } : cluster
  )
  return config
}

const isInPod = (root: string): boolean =>
  process.env["KUBERNETES_SERVICE_HOST"] !== undefined &&
  existsSync(`${root}/var/run/secrets/kubernetes.io/serviceaccount/token`)

const accessOf = async (config: KubeConfig): Promise<Access> => {
  const cluster = config.getCurrentCluster()
  const server = URL.parse(cluster?.server ?? "")
  if (cluster === null || server === null) {
    throw new KubernetesError({ reason: `kubeconfig: context "${config.getCurrentContext()}" has no cluster` })
  }
  const options: RequestOptions = {}
  await config.applyToHTTPSOptions(options)
  const { auth, ca, cert, key, rejectUnauthorized, servername } = options
  const headers = Object.entries(options.headers ?? {}).map(([name, value]) => [name, String(value).trim()])
  if (typeof auth === "string") headers.push(["Authorization", `Basic ${Buffer.from(auth).toString("base64")}`])
  server.username = server.password = server.search = ""
  return {
    config,
    server,
    headers: Object.fromEntries(headers),
    tls: Object.fromEntries(
      Object.entries({ ca, cert, key, rejectUnauthorized, servername }).filter(([, value]) => value !== undefined)
    ),
    proxy: cluster.proxyUrl,
    namespace: config.getContextObject(config.getCurrentContext())?.namespace?.trim() || "default"
  }
}

const failure = (cause: unknown): KubernetesError => {
  if (cause instanceof KubernetesError) return cause
  // Its message would quote what a plugin said.
  if (cause instanceof SyntaxError) return new KubernetesError({ reason: "the credential plugin's answer is no JSON" })
  const said = cause instanceof Error ? oneLine(cause.message) : ""
  return new KubernetesError({ reason: `credentials: ${said === "" ? "the credential plugin failed" : said}` })
}
