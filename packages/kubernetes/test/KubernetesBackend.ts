/**
 * The stand-in for an API server, behind proxies that break connections, as a backend of the laws. Most records lie there
 * as the cluster's own controllers leave them, some as they are announced.
 */
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as KubernetesManifest from "@portolan/kubernetes/KubernetesManifest"
import { annotations } from "@portolan/kubernetes/KubernetesRecord"
import * as FaultProxy from "@portolan/testkit/FaultProxy"
import type * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as HttpFaults from "@portolan/tooling/backends/HttpFaults"
import * as KubernetesApi from "@portolan/tooling/backends/KubernetesApi"
import type { ServerError } from "@portolan/tooling/backends/Server"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

type Instance = ServiceInstance.ServiceInstance
type Manifest = KubernetesApi.Manifest

const namespace = "mcp"

/** The nth record as Kubernetes gives it back: at an address of its own, and where nobody announces it, known by that. */
export const instance = (n: number, base: Instance): Instance => {
  const place = `10.77.${n >> 8}.${n & 255}:3000`
  const isAnnounced = n % 5 === 0 || n % 5 === 4
  return ServiceInstance.make({
    ...base,
    id: isAnnounced ? base.id : `${namespace}/${place}`,
    endpoint: { transport: "streamable-http", url: `http://${place}/mcp` }
  })
}

const isAnnounced = ({ id }: Instance): boolean => !id.startsWith(`${namespace}/`)

const addressOf = ({ endpoint }: Instance): string =>
  endpoint.transport === "streamable-http" ? new URL(endpoint.url).hostname : ""

const nameOf = (instance: Instance): string => `found-${addressOf(instance).replaceAll(".", "-")}`

/** A Service and the slice of its endpoints, which have all but their addresses from it. */
const found = (first: Instance, ...others: ReadonlyArray<Instance>): ReadonlyArray<Manifest> => {
  const name = nameOf(first)
  return [
    {
      kind: "Service",
      metadata: {
        name,
        namespace,
        labels: { "app.kubernetes.io/name": first.service, "app.kubernetes.io/version": first.version },
        annotations: { "portolan.dev/metadata.seq": String(first.metadata["seq"]) }
      },
      spec: { ports: [{ name: "mcp", port: 80 }] }
    },
    {
      kind: "EndpointSlice",
      metadata: { name, namespace, labels: { "kubernetes.io/service-name": name } },
      addressType: "IPv4",
      endpoints: [first, ...others].map((one) => ({ addresses: [addressOf(one)], conditions: { ready: true } })),
      ports: [{ name: "mcp", port: 3000 }]
    }
  ]
}

/** As another process announces it, with a lease that no law sees the end of. */
const announced = (instance: Instance): ReadonlyArray<Manifest> => {
  const lease = { incarnation: "neighbour", ttl: 3_600_000, renewed: "once" }
  const { service, slice } = Result.getOrThrow(KubernetesManifest.write(instance, namespace, lease))
  return [service, slice].map((manifest) => JSON.parse(JSON.stringify(manifest)))
}

const objectsOf = (instance: Instance): ReadonlyArray<Manifest> =>
  isAnnounced(instance) ? announced(instance) : found(instance)

/** With what can't be read: in an announced slice the record, in a Service a list. */
const corrupted = ({ metadata, ...rest }: Manifest): Manifest => {
  const said = JSON.parse(JSON.stringify(metadata["annotations"] ?? {}))
  const wrong = Object.hasOwn(said, annotations.record) ? { [annotations.record]: "{" } : { "portolan.dev/tools": "[" }
  return { ...rest, metadata: { ...metadata, annotations: { ...said, ...wrong } } }
}

export interface KubernetesBackend extends RegistryLaws.Controls {
  readonly api: KubernetesApi.KubernetesApi
  /** Path of one that leads through the proxies. */
  readonly kubeconfig: string
}

/** A kubeconfig with a token for a server. */
const configured = (server: string, token: string): string =>
  JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "here",
    contexts: [{ name: "here", context: { cluster: "here", user: "here", namespace } }],
    clusters: [{ name: "here", cluster: { server } }],
    users: [{ name: "here", user: { token } }]
  })

/** A new server for each law. */
export const make: Effect.Effect<
  KubernetesBackend,
  FaultProxy.FaultProxyError | ServerError,
  Scope.Scope
> = Effect.gen(function*() {
  const api = yield* KubernetesApi.make()
  const http = yield* HttpFaults.make({ host: api.host, port: api.port })
  const proxy = yield* FaultProxy.make({ host: "127.0.0.1", port: http.port })
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(join(tmpdir(), "portolan-kubernetes-"))),
    (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true }))
  )
  const kubeconfig = join(folder, "config")
  fs.writeFileSync(kubeconfig, configured(`http://127.0.0.1:${proxy.port}`, yield* api.token))

  const apply = (manifests: ReadonlyArray<Manifest>) => Effect.forEach(manifests, api.apply, { discard: true })
  const write = (instance: Instance) => apply(objectsOf(instance))
  const remove = ({ id, ...rest }: Instance) =>
    Effect.forEach(["EndpointSlice", "Service"] as const, (kind) =>
      Effect.all([
        api.remove({ kind, namespace, name: nameOf({ id, ...rest }) }),
        kind === "EndpointSlice" ? api.remove({ kind, namespace, name: KubernetesManifest.nameOf(id) }) : Effect.void
      ]), { discard: true })
  return {
    api,
    kubeconfig,
    add: write,
    update: write,
    remove,
    batch: ([first, ...others]) => first === undefined ? Effect.void : apply(found(first, ...others)),
    corrupt: (instance) => apply(objectsOf(instance).map(corrupted)),
    outside: (instance) =>
      apply(
        objectsOf(instance).map(({ kind, metadata, ...rest }) => ({
          ...rest,
          kind,
          metadata: { ...metadata, namespace: `${namespace}-other` }
        }))
      ),
    wipeBackend: api.restartEmpty(),
    stopBackend: proxy.refuse,
    startBackend: proxy.restore,
    restartBackend: Effect.andThen(api.stop, api.start),
    cutConnections: proxy.cut,
    pauseConnections: proxy.halfOpen(),
    resumeConnections: proxy.restore,
    // A write is up to three requests, and each is delayed on its way there and back.
    slowWrites: (time) => proxy.delay(Duration.toMillis(time) / 6),
    garble: http.answer({ status: 200, body: "<html>" }),
    ungarble: http.pass,
    revoke: http.answer({ status: 401, body: "{\"kind\":\"Status\",\"message\":\"Unauthorized\",\"code\":401}" }),
    grant: http.pass,
    requests: http.requests,
    open: Effect.sync(() => proxy.connections().open)
  }
})
