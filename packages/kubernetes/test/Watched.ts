/** What tests of reading look at: objects as controllers write them, and the catalog that a registry makes of them. */
import * as Discovery from "@portolan/core/Discovery"
import * as Registries from "@portolan/core/Registries"
import * as KubernetesRegistry from "@portolan/kubernetes/KubernetesRegistry"
import type * as KubernetesApi from "@portolan/tooling/backends/KubernetesApi"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Stream from "effect/Stream"

export const service = (
  name: string,
  { annotations = {}, labels = {}, namespace = "mcp", ports = [{ name: "mcp", port: 80 }], ...spec }: {
    readonly annotations?: Record<string, string>
    readonly labels?: Record<string, string>
    readonly namespace?: string
    readonly ports?: ReadonlyArray<{ readonly name?: string; readonly port: number; readonly protocol?: string }>
    readonly ipFamilies?: ReadonlyArray<string>
  } = {}
): KubernetesApi.Manifest => ({
  kind: "Service",
  metadata: { name, namespace, labels, annotations },
  spec: { ports, ...spec }
})

export interface Endpoint {
  readonly address: string
  readonly pod?: string
  readonly ready?: boolean
  readonly serving?: boolean
  readonly terminating?: boolean
  readonly zone?: string
}

export const slice = (
  name: string,
  service: string,
  endpoints: ReadonlyArray<Endpoint>,
  { addressType = "IPv4", annotations = {}, namespace = "mcp", ports = [{ name: "mcp", port: 3000 }] }: {
    readonly addressType?: string
    readonly annotations?: Record<string, string>
    readonly namespace?: string
    readonly ports?: ReadonlyArray<{ readonly name?: string; readonly port?: number; readonly appProtocol?: string }>
  } = {}
): KubernetesApi.Manifest => ({
  kind: "EndpointSlice",
  metadata: { name, namespace, labels: { "kubernetes.io/service-name": service }, annotations },
  addressType,
  endpoints: endpoints.map(({ address, pod, zone, ...conditions }) => ({
    addresses: [address],
    conditions,
    ...(pod === undefined ? {} : { targetRef: { kind: "Pod", name: pod, namespace } }),
    ...(zone === undefined ? {} : { zone })
  })),
  ports
})

export const discovered = (options: KubernetesRegistry.KubernetesRegistryOptions) =>
  Layer.build(
    KubernetesRegistry.layer(options).pipe(
      Layer.provideMerge(Discovery.layer({ debounce: 0 })),
      Layer.provideMerge(Registries.layer)
    )
  ).pipe(
    Effect.map(Context.get(Discovery.Discovery)),
    // That a registry is lost is what the tests are about, no news.
    Effect.provideService(References.MinimumLogLevel, "Error")
  )

type Watched = Discovery.Discovery["Service"]

/** Every instance, with its status where that isn't up. */
export const shown = (discovery: Watched) =>
  Array.from(
    HashMap.values(discovery.catalog().entries),
    ({ instance: { id, status } }) => status === "up" ? id : `${id} ${status}`
  ).sort()

export const source = (discovery: Watched) => discovery.catalog().sources.get("kubernetes")

export const until = (discovery: Watched, holds: () => boolean, limit: Duration.Input = "10 seconds") =>
  discovery.updates.pipe(
    Stream.filter(holds),
    Stream.runHead,
    Effect.timeoutOrElse({
      duration: limit,
      orElse: () => Effect.die(new Error(`at last: ${shown(discovery).join(", ")}; ${source(discovery)?.lastError}`))
    })
  )

export const untilShown = (discovery: Watched, ...ids: ReadonlyArray<string>) =>
  until(discovery, () => shown(discovery).join() === ids.toSorted().join())

/** Every change of the catalog from now on, in order. */
export const changes = Effect.fnUntraced(function*(discovery: Watched) {
  const seen: Array<string> = []
  yield* discovery.updates.pipe(
    // What is there at first is no change.
    Stream.drop(1),
    Stream.runForEach(({ changes }) =>
      Effect.sync(() => void seen.push(...changes.map(({ _tag, entry }) => `${_tag} ${entry.instance.id}`)))
    ),
    Effect.forkScoped({ startImmediately: true })
  )
  return seen
})

/** Waits for what nobody announces. */
export const eventually = <E, R>(holds: Effect.Effect<boolean, E, R>, limit: Duration.Input = "10 seconds") =>
  Effect.gen(function*() {
    while (!(yield* holds)) yield* Effect.sleep(20)
  }).pipe(Effect.timeout(limit))

/** Verb and resource of what was asked since the last call. Questions how far the server is are left out. */
export const asking = (api: KubernetesApi.KubernetesApi) => {
  let from = 0
  return Effect.map(api.requests, (requests) => {
    const asked = requests.slice(from)
    from = requests.length
    return asked.filter(({ query }) => query["limit"] !== "1").map(({ resource, verb }) => `${verb} ${resource}`)
  })
}
